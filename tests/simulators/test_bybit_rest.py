"""What the simulated exchange tells over REST, asked by a real HTTP client."""

from __future__ import annotations

import json

import httpcore
import pytest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.bybit import BybitOptions, serve_bybit
from quantlab_collector.simulators.bybit_rest import BybitRest
from simulators.bybit_client import client_of, topics

NOW = 1_790_757_180_123_456_789


@pytest.fixture
async def http():
    async with httpcore.AsyncConnectionPool() as pool:
        yield pool


@pytest.fixture
def play(nursery, http):
    async def start(**options):
        options = {"symbols": ("BTCUSDT", "ETHUSDT", "XRPUSDT"), "rate": 5000.0} | options
        simulator = await nursery.start(serve_bybit, BybitOptions(**options))

        async def get(path):
            response = await http.request("GET", f"{simulator.rest_url}/v5/market/{path}")
            return response.status, json.loads(response.content)

        async def result(path):
            status, body = await get(path)
            assert (status, body["retCode"], body["retMsg"]) == (200, 0, "OK")
            return body["result"]

        return simulator, get, result

    return start


async def test_the_clock(play):
    _, get, _ = await play(wall_clock=lambda: NOW)
    assert (await get("time"))[1] == {
        "retCode": 0,
        "retMsg": "OK",
        "result": {"timeSecond": "1790757180", "timeNano": "1790757180123456789"},
        "retExtInfo": {},
        "time": 1790757180123,
    }


async def test_linear_instruments_come_in_pages_and_spot_ones_at_once(play):
    symbols = tuple(f"S{n}USDT" for n in range(7))
    simulator, _, result = await play(symbols=symbols)
    simulator.faults.delist("S3USDT")
    found, cursor, pages = [], "", 0
    while True:
        page = await result(f"instruments-info?category=linear&limit=2&cursor={cursor}")
        found += [entry["symbol"] for entry in page["list"]]
        cursor, pages = page["nextPageCursor"], pages + 1
        if not cursor:
            break
    assert (found, pages) == ([symbol for symbol in symbols if symbol != "S3USDT"], 3)
    (entry,) = (await result("instruments-info?category=linear&symbol=S1USDT"))["list"]
    assert (entry["contractType"], entry["settleCoin"], entry["status"]) == ("LinearPerpetual", "USDT", "Trading")
    _, _, result = await play(market="spot", symbols=symbols)
    spot = await result("instruments-info?category=spot&limit=2")
    assert [entry["symbol"] for entry in spot["list"]] == list(symbols)
    assert "nextPageCursor" not in spot


@pytest.mark.parametrize("market", ["linear", "spot"])
async def test_the_newest_state_is_what_was_sent_last(play, market):
    simulator, _, result = await play(market=market, limit=1500)
    simulator.pause()
    async with client_of(simulator) as client:
        assert (await client.ask("subscribe", *topics(simulator)))["success"]
        simulator.resume()
        await client.read_all_that_was_sent()
    told = [message for message in client.data() if message["topic"].endswith("ETHUSDT")]
    book = [message for message in told if message["topic"].startswith("orderbook")][-1]
    answer = await result(f"orderbook?category={market}&symbol=ETHUSDT&limit=1")
    assert (answer["s"], answer["b"], answer["a"]) == ("ETHUSDT", book["data"]["b"], book["data"]["a"])
    assert (answer["ts"], answer["cts"]) == (book["ts"], book["cts"])

    trades = [item for message in told if message["topic"].startswith("publicTrade") for item in message["data"]]
    recent = (await result(f"recent-trade?category={market}&symbol=ETHUSDT&limit=5"))["list"]
    assert [
        (item["execId"], item["price"], item["size"], item["side"], int(item["time"]), int(item["seq"])) for item in recent
    ] == [(item["i"], item["p"], item["v"], item["S"], item["T"], item["seq"]) for item in reversed(trades[-5:])]
    everything = (await result(f"recent-trade?category={market}&symbol=ETHUSDT&limit=1000"))["list"]
    assert len(everything) == (len(trades) if market == "linear" else 60)

    (ticker,) = (await result(f"tickers?category={market}&symbol=ETHUSDT"))["list"]
    assert [[ticker["bid1Price"], ticker["bid1Size"]]] == book["data"]["b"]
    if market == "linear":
        state = {}
        for message in told:
            if message["topic"].startswith("tickers"):
                state |= message["data"]
        for field in ("markPrice", "indexPrice", "fundingRate", "nextFundingTime", "openInterest"):
            assert ticker[field] == state[field]
    assert len((await result(f"tickers?category={market}"))["list"]) == 3
    last = simulator.ledger.sent(StreamType.TRADE, "ETHUSDT")[-1]
    assert last[1] == trades[-1]["T"]


async def test_before_the_first_event(play):
    _, _, result = await play(wall_clock=lambda: NOW)
    assert (await result("recent-trade?category=linear&symbol=BTCUSDT"))["list"] == []
    assert (await result("orderbook?category=linear&symbol=BTCUSDT"))["cts"] == 1790757180123


@pytest.mark.parametrize(
    "path",
    [
        "tickers",
        "tickers?category=spot",
        "tickers?category=linear&symbol=MATICUSDT",
        "orderbook?category=linear",
        "orderbook?category=linear&symbol=btcusdt",
        "recent-trade?category=linear&symbol=BTCUSDT&limit=many",
        "instruments-info?category=linear&limit=0",
    ],
)
async def test_errors_have_the_exchanges_form(play, path):
    _, get, _ = await play()
    status, body = await get(path)
    assert (status, body["retCode"], body["result"]) == (200, 10001, {})


async def test_what_does_not_exist(play, http):
    simulator, _, _ = await play()
    assert (await http.request("GET", simulator.rest_url + "/v5/market/nothing")).status == 404
    assert (await http.request("GET", simulator.rest_url + "/")).status == 404


async def test_six_hundred_requests_in_five_seconds(play):
    now = NOW
    simulator, get, _ = await play(wall_clock=lambda: now)
    answers = [await get("time") for _ in range(3)]
    assert {status for status, _ in answers} == {200}
    rest = BybitRest(simulator.messages, simulator.feed, "linear", lambda: now)
    assert [rest.answer("/v5/market/time", {}).status for _ in range(601)] == [200] * 600 + [403]
    now += 5_000_000_000
    assert rest.answer("/v5/market/time", {}).status == 200
