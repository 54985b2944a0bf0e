"""What the simulated OKX tells over REST, asked by a real HTTP client."""

from __future__ import annotations

import json

import httpcore
import pytest

from simulators.okx_support import hear_all, play, request, talking

BTC, ETH = "BTC-USDT-SWAP", "ETH-USDT-SWAP"
CHANNELS = ("bbo-tbt", "trades", "mark-price", "funding-rate", "open-interest")


class Rest:
    def __init__(self, http, simulator):
        self.http, self.url = http, simulator.rest_url

    async def get(self, path):
        response = await self.http.request("GET", f"{self.url}/api/v5/{path}")
        return response.status, json.loads(response.content)

    async def data(self, path):
        status, body = await self.get(path)
        assert (status, body["code"], body["msg"]) == (200, "0", "")
        return body["data"]


class Clock:
    """A wall clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1_790_757_180_000_000_000

    def __call__(self):
        return self.now


@pytest.fixture
async def http():
    async with httpcore.AsyncConnectionPool() as pool:
        yield pool


async def test_clock_and_universe(nursery, http):
    rest = Rest(http, await play(nursery, wall_clock=Clock()))
    assert await rest.data("public/time") == [{"ts": "1790757180000"}]
    listed = {entry["instId"]: entry for entry in await rest.data("public/instruments?instType=SWAP")}
    assert set(listed) == {BTC, ETH, "XRP-USDT-SWAP"}
    swap = listed[BTC]
    assert (swap["state"], swap["ctType"], swap["settleCcy"], swap["ctValCcy"]) == ("live", "linear", "USDT", "BTC")
    assert (swap["instFamily"], swap["baseCcy"], swap["quoteCcy"], float(swap["tickSz"])) == ("BTC-USDT", "", "", 0.1)


async def test_the_newest_state_is_what_was_sent_last(nursery, http):
    simulator = await play(nursery, limit=3000, rate=20_000.0)
    rest = Rest(http, simulator)
    last, trades = {}, []
    async with talking(simulator) as websocket:
        await websocket.send_message(request(*((channel, name) for channel in CHANNELS for name in (BTC, ETH))))
        await simulator.wait_quiet()
        for message in await hear_all(websocket):
            if "data" in message:
                last[message["arg"]["channel"], message["arg"]["instId"]] = item = message["data"][0]
                if message["arg"] == {"channel": "trades", "instId": BTC}:
                    trades.append(item)
    assert len(last) == 10

    (ticker,) = await rest.data(f"market/ticker?instId={ETH}")
    quote = last["bbo-tbt", ETH]
    assert [[ticker["bidPx"], ticker["bidSz"]], [ticker["askPx"], ticker["askSz"]]] == [
        quote["bids"][0][:2],
        quote["asks"][0][:2],
    ]
    assert ticker["ts"] == quote["ts"]
    assert [each["instId"] for each in await rest.data("market/tickers?instType=SWAP")] == [BTC, ETH, "XRP-USDT-SWAP"]
    for path, channel in (("mark-price", "mark-price"), ("open-interest", "open-interest")):
        assert await rest.data(f"public/{path}?instType=SWAP&instId={ETH}") == [last[channel, ETH]]
        assert (await rest.data(f"public/{path}?instType=SWAP"))[:2] == [last[channel, BTC], last[channel, ETH]]
    assert await rest.data(f"public/funding-rate?instId={ETH}") == [last["funding-rate", ETH]]
    assert (await rest.data("public/funding-rate?instId=ANY"))[:2] == [last["funding-rate", BTC], last["funding-rate", ETH]]

    expected = [{key: trade[key] for key in trade if key not in {"count", "seqId"}} for trade in reversed(trades)]
    assert await rest.data(f"market/trades?instId={BTC}") == expected[:100]
    assert await rest.data(f"market/trades?instId={BTC}&limit=3") == expected[:3]


async def test_before_the_first_event(nursery, http):
    rest = Rest(http, await play(nursery, wall_clock=Clock()))
    assert await rest.data(f"market/trades?instId={BTC}") == []
    assert (await rest.data(f"public/funding-rate?instId={BTC}"))[0]["ts"] == "1790757180000"


UNKNOWN = "Instrument ID, Instrument ID code, or Spread ID doesn't exist."


@pytest.mark.parametrize(
    ("path", "status", "code", "message"),
    [
        ("market/ticker?instId=MATIC-USDT-SWAP", 200, "51001", UNKNOWN),
        ("market/trades?instId=btc-usdt-swap", 200, "51001", UNKNOWN),
        ("public/mark-price?instType=SWAP&instId=BTC-USDT", 200, "51001", UNKNOWN),
        ("market/ticker", 400, "50014", "Parameter instId can not be empty."),
        ("public/funding-rate?instId=", 400, "50014", "Parameter instId can not be empty."),
        ("public/instruments", 400, "50014", "Parameter instType can not be empty."),
        ("market/tickers?instType=SPOT", 400, "51000", "Parameter instType error"),
        (f"market/trades?instId={BTC}&limit=many", 400, "51000", "Parameter limit error"),
        (f"market/trades?instId={BTC}&limit=501", 400, "51000", "Parameter limit error"),
    ],
)
async def test_errors_have_the_exchanges_form(nursery, http, path, status, code, message):
    rest = Rest(http, await play(nursery))
    assert await rest.get(path) == (status, {"code": code, "msg": message, "data": []})


async def test_what_does_not_exist(nursery, http):
    simulator = await play(nursery)
    assert (await http.request("GET", simulator.rest_url + "/api/v5/public/nothing")).status == 404
    assert (await http.request("GET", simulator.rest_url + "/")).status == 404


async def test_a_delisted_instrument_is_off_the_lists(nursery, http):
    simulator = await play(nursery)
    simulator.faults.delist("BTCUSDT")
    rest = Rest(http, simulator)
    assert BTC not in {entry["instId"] for entry in await rest.data("public/instruments?instType=SWAP")}
    assert (await rest.get(f"market/ticker?instId={BTC}"))[1]["code"] == "51001"


async def test_every_path_has_a_limit_of_its_own(nursery, http):
    clock = Clock()
    rest = Rest(http, await play(nursery, wall_clock=clock))
    for _ in range(10):
        await rest.data("public/time")
    assert await rest.get("public/time") == (429, {"code": "50011", "msg": "Too Many Requests", "data": []})
    await rest.data("market/tickers?instType=SWAP")
    clock.now += 2_000_000_000
    await rest.data("public/time")
