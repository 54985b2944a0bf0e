"""What the simulated exchange tells over REST, asked by a real HTTP client."""

from __future__ import annotations

import json

import httpcore
import pytest
import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.binance import BinanceSimulator
from simulators.support import frame_client, streams


class Rest:
    def __init__(self, http: httpcore.AsyncConnectionPool, simulator: BinanceSimulator) -> None:
        self.http = http
        self.url = simulator.rest_url

    async def get(self, path: str) -> tuple[int, object, dict[str, str]]:
        response = await self.http.request("GET", f"{self.url}/fapi/v1/{path}")
        headers = {name.decode().lower(): value.decode() for name, value in response.headers}
        return response.status, json.loads(response.content), headers

    async def body(self, path: str) -> object:
        status, body, _ = await self.get(path)
        assert status == 200
        return body


class Clock:
    """A wall clock that stands still, at the beginning of a minute."""

    def __init__(self) -> None:
        self.now = 1_790_757_180_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
async def http():
    async with httpcore.AsyncConnectionPool() as pool:
        yield pool


async def test_clock_and_universe(play, http):
    rest = Rest(http, await play(wall_clock=Clock()))
    assert await rest.body("time") == {"serverTime": 1_790_757_180_000}
    listed = {entry["symbol"]: entry for entry in (await rest.body("exchangeInfo"))["symbols"]}
    assert {symbol: (entry["status"], entry["contractType"]) for symbol, entry in listed.items()} == {
        "BTCUSDT": ("TRADING", "PERPETUAL"),
        "ETHUSDT": ("TRADING", "PERPETUAL"),
        "XRPUSDT": ("TRADING", "PERPETUAL"),
        "MATICUSDT": ("SETTLING", "PERPETUAL"),
    }
    filters = {each["filterType"]: each for each in listed["BTCUSDT"]["filters"]}
    assert float(filters["PRICE_FILTER"]["tickSize"]) == 0.1


async def test_the_newest_state_is_what_was_sent_last(play, http):
    simulator = await play(limit=3000, rate=20_000.0)
    rest = Rest(http, simulator)
    simulator.pause()
    async with (
        frame_client(simulator, "/public/ws/" + streams(simulator, "bookTicker")) as public,
        frame_client(simulator, "/market/ws/" + streams(simulator, "aggTrade", "markPrice@1s")) as market,
    ):
        simulator.resume()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(public.read_until, 2100)
            nursery.start_soon(market.read_until, 900)
        await simulator.wait_quiet()
    last: dict[tuple[str, str], dict] = {}
    trades = []
    for message in public.messages + market.messages:
        payload = json.loads(message)
        last[payload["e"], payload["s"]] = payload
        if payload["e"] == "aggTrade" and payload["s"] == "BTCUSDT":
            trades.append(payload)

    quote, mark = last["bookTicker", "ETHUSDT"], last["markPriceUpdate", "ETHUSDT"]
    assert await rest.body("ticker/bookTicker?symbol=ETHUSDT") == {
        "symbol": "ETHUSDT",
        "bidPrice": quote["b"],
        "bidQty": quote["B"],
        "askPrice": quote["a"],
        "askQty": quote["A"],
        "time": quote["T"],
    }
    assert await rest.body("premiumIndex?symbol=ETHUSDT") == {
        "symbol": "ETHUSDT",
        "markPrice": mark["p"],
        "indexPrice": mark["i"],
        "estimatedSettlePrice": mark["P"],
        "lastFundingRate": mark["r"],
        "interestRate": "0.00010000",
        "nextFundingTime": mark["T"],
        "time": mark["E"],
    }
    interest = await rest.body("openInterest?symbol=ETHUSDT")
    assert (set(interest), interest["symbol"], interest["time"]) == ({"openInterest", "symbol", "time"}, "ETHUSDT", mark["E"])
    assert float(interest["openInterest"]) > 0
    assert [each["symbol"] for each in await rest.body("ticker/bookTicker")] == list(simulator.options.symbols)
    assert [each["symbol"] for each in await rest.body("premiumIndex")] == list(simulator.options.symbols)

    expected = [{key: trade[key] for key in ("a", "p", "q", "nq", "f", "l", "T", "m")} for trade in trades]
    assert await rest.body("aggTrades?symbol=BTCUSDT") == expected[-500:]
    assert await rest.body("aggTrades?symbol=BTCUSDT&limit=3") == expected[-3:]
    assert await rest.body(f"aggTrades?symbol=BTCUSDT&fromId={trades[10]['a']}&limit=5") == expected[10:15]
    assert await rest.body(f"aggTrades?symbol=BTCUSDT&fromId={trades[-1]['a']}") == expected[-1:]
    assert await rest.body(f"aggTrades?symbol=BTCUSDT&fromId={trades[-1]['a'] + 1}") == []
    assert simulator.ledger.sent(StreamType.TRADE, "BTCUSDT")[-1][1] == expected[-1]["T"]


async def test_before_the_first_event(play, http):
    rest = Rest(http, await play(wall_clock=Clock()))
    assert await rest.body("aggTrades?symbol=BTCUSDT") == []
    assert (await rest.body("premiumIndex?symbol=BTCUSDT"))["time"] == 1_790_757_180_000


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("openInterest?symbol=NOSUCHUSDT", -1121, "Invalid symbol."),
        ("ticker/bookTicker?symbol=btcusdt", -1121, "Invalid symbol."),
        ("premiumIndex?symbol=MATICUSDT", -1121, "Invalid symbol."),
        ("aggTrades?symbol=NOSUCHUSDT", -1121, "Invalid symbol."),
        ("aggTrades", -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("openInterest?symbol=", -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("aggTrades?symbol=BTCUSDT&limit=many", -1130, "Data sent for parameter 'limit' is not valid."),
    ],
)
async def test_errors_have_the_exchanges_form(play, http, path, code, message):
    rest = Rest(http, await play())
    status, body, headers = await rest.get(path)
    assert (status, body) == (400, {"code": code, "msg": message})
    assert "x-mbx-used-weight-1m" in headers


async def test_what_does_not_exist(play, http):
    simulator = await play()
    assert (await http.request("GET", simulator.rest_url + "/fapi/v1/nothing")).status == 404
    assert (await http.request("GET", simulator.rest_url + "/")).status == 404
    assert (await http.request("POST", simulator.rest_url + "/fapi/v1/time")).status == 405


async def test_weights_add_up_until_the_minute_is_over(play, http):
    clock = Clock()
    rest = Rest(http, await play(wall_clock=clock))
    used = []
    for path in ("time", "ticker/bookTicker?symbol=BTCUSDT", "ticker/bookTicker", "premiumIndex", "aggTrades?symbol=BTCUSDT"):
        _, _, headers = await rest.get(path)
        used.append(int(headers["x-mbx-used-weight-1m"]))
    assert used == [1, 3, 8, 18, 38]
    for _ in range(118):
        await rest.get("aggTrades?symbol=BTCUSDT")
    status, _, headers = await rest.get("ticker/bookTicker?symbol=BTCUSDT")
    assert (status, headers["x-mbx-used-weight-1m"]) == (200, "2400")
    clock.now += 20_000_000_000
    status, body, headers = await rest.get("time")
    assert (status, body["code"], headers["retry-after"]) == (429, -1003, "41")
    clock.now += 40_000_000_000
    status, _, headers = await rest.get("time")
    assert (status, headers["x-mbx-used-weight-1m"]) == (200, "1")
