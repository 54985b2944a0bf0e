"""The spot venue of Binance: one address, quotes without a time, and rules of its own."""

from __future__ import annotations

import json

import httpcore
import pytest
import trio
from trio_websocket import ConnectionClosed

from quantlab_collector.contracts.events import SELL, Bbo, StreamType, Trade
from quantlab_collector.simulators.binance import SPOT, BinanceOptions
from quantlab_collector.simulators.binance_connection import parse_path
from quantlab_collector.simulators.binance_control import Subscriptions
from quantlab_collector.simulators.binance_spot import SpotMessages
from quantlab_collector.simulators.market import Market
from simulators.support import ask, closed, connect, frame_client, heard, in_ledger, something_heard, status_of, streams

MS = 1_790_757_176_000
BOTH = ("bookTicker", "trade")


@pytest.fixture
def spot(play):
    async def start(**options):
        return await play(venue=SPOT, **options)

    return start


def told(simulator, payload):
    """Kind, symbol and number of a message."""
    values = simulator.market[payload["s"]]
    if "e" in payload:
        return StreamType.TRADE, payload["s"], values.number_of_trade(payload["t"])
    return StreamType.BBO, payload["s"], values.number_of_quote(float(payload["B"]))


def test_an_event_says_the_same_for_ever():
    messages = SpotMessages(Market(7, ["BTCUSDT"]))
    assert messages.text(StreamType.BBO, "BTCUSDT", 0, MS) == (
        '{"u":11701103237674,"s":"BTCUSDT","b":"83646.50","B":"0.001","a":"83646.60","A":"13.084"}'
    )
    assert messages.text(StreamType.TRADE, "BTCUSDT", 0, MS) == (
        '{"e":"trade","E":1790757176001,"s":"BTCUSDT","t":3103237674,"p":"83646.60","q":"1.224","T":1790757176000,"m":true,"M":true}'
    )


def test_the_oracle():
    messages = SpotMessages(Market(1, ["BTCUSDT"]))
    for n in range(100):
        quote = json.loads(messages.text(StreamType.BBO, "BTCUSDT", n, MS))
        prices = [float(quote[key]) for key in "bBaA"]
        row = messages.raw(StreamType.BBO, "BTCUSDT", n, MS, ts_recv=5)
        assert row == Bbo(5, 5, "binance-spot", "BTCUSDT", *prices)  # the time of the message is that of its arrival
        assert messages.number(row) == n
        trade = json.loads(messages.text(StreamType.TRADE, "BTCUSDT", n, MS))
        row = messages.raw(StreamType.TRADE, "BTCUSDT", n, MS, ts_recv=5)
        assert row == Trade(
            MS * 10**6,
            5,
            "binance-spot",
            "BTCUSDT",
            float(trade["p"]),
            float(trade["q"]),
            SELL if trade["m"] else 1,
            str(trade["t"]),
        )
        assert messages.number(row) == n
    for stream in (StreamType.MARK_PRICE, StreamType.FUNDING, StreamType.OPEN_INTEREST):
        with pytest.raises(ValueError, match=f"binance-spot has no stream of {stream.value}"):
            messages.raw(stream, "BTCUSDT", 0, MS)


def test_one_host_and_no_routes():
    assert parse_path("/ws/btcusdt@trade", SPOT) is not None
    assert parse_path("/stream?streams=btcusdt@trade", SPOT) is not None
    for path in ("/public/ws", "/market/stream", "/", "/wss"):
        assert parse_path(path, SPOT) is None


@pytest.mark.parametrize("identity", ["1", '"a word"', '""', "null", "-7", '"' + "x" * 36 + '"'])
def test_a_request_may_be_named_anything(identity):
    request = f'{{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":{identity}}}'
    assert Subscriptions(any_identity=True).answer(request) == f'{{"result":null,"id":{identity}}}'


@pytest.mark.parametrize("identity", ["1.5", "true", "[]", '"' + "x" * 37 + '"'])
def test_or_nearly(identity):
    request = f'{{"method":"SUBSCRIBE","params":[],"id":{identity}}}'
    assert json.loads(Subscriptions(any_identity=True).answer(request))["error"]["code"] == 2


async def test_the_ledger_is_what_the_client_received(spot):
    simulator = await spot(limit=2000)
    simulator.pause()
    async with frame_client(simulator, "/stream?streams=" + streams(simulator, *BOTH)) as client:
        simulator.resume()
        await client.read_until(2000)
        await simulator.wait_quiet()
    payloads = [json.loads(message)["data"] for message in client.messages]
    assert sorted(told(simulator, payload) for payload in payloads) == sorted(event[:3] for event in in_ledger(simulator))
    assert 300 < sum("e" in payload for payload in payloads) < 600
    assert all("T" not in payload and "E" not in payload for payload in payloads if "e" not in payload)


async def test_raw_and_silent_streams(spot):
    simulator = await spot(rate=1000.0)
    async with connect(simulator, "/ws") as websocket:
        silent = ["btcusdt@aggTrade", "btcusdt@markPrice@1s", "nosuchusdt@trade", "BTCUSDT@trade"]
        assert await ask(websocket, "SUBSCRIBE", silent) == {"result": None, "id": 1}
        assert await heard(websocket, 0.08) == []
        await ask(websocket, "SUBSCRIBE", ["ethusdt@trade"])
        trades = await something_heard(websocket, 0.08)
        assert {trade["s"] for trade in trades} == {"ETHUSDT"}
    assert await status_of(simulator, "/public/ws/btcusdt@bookTicker") == 404


async def test_five_messages_a_second_are_fine_and_six_are_too_many(spot):
    simulator = await spot(rate=100.0)
    async with connect(simulator, "/ws/btcusdt@trade") as websocket:
        for n in range(5):
            await ask(websocket, "LIST_SUBSCRIPTIONS", None, n)
        with pytest.raises(ConnectionClosed) as end:
            await ask(websocket, "LIST_SUBSCRIPTIONS", None, 6)
    assert end.value.reason.code == 1008
    assert await closed(simulator, 1) == (1008, "Too many requests")


async def test_a_ping_every_twenty_seconds_and_a_minute_to_answer(spot):
    options = BinanceOptions(venue=SPOT)
    assert (options.ping_interval, options.pong_timeout, options.max_lifetime) == (20, 60, 86_400)
    simulator = await spot(rate=100.0, time_scale=200.0)
    start = trio.current_time()
    async with frame_client(simulator, "/ws/btcusdt@trade", answer_pings=False) as client:
        await client.read_all()
    assert client.protocol.close_reason == "Pong timeout"
    assert trio.current_time() - start == pytest.approx(0.4, abs=0.1)


async def test_rest(spot):
    simulator = await spot(limit=1000)
    async with (
        frame_client(simulator, "/stream?streams=" + streams(simulator, *BOTH)) as client,
        httpcore.AsyncConnectionPool() as http,
    ):

        async def get(path):
            response = await http.request("GET", f"{simulator.rest_url}/api/v3/{path}")
            return response.status, json.loads(response.content or b"null"), dict(response.headers)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.read_all)
            await simulator.wait_quiet()
            status, info, headers = await get("exchangeInfo")
            assert (status, headers[b"x-mbx-used-weight-1m"]) == (200, b"20")
            listings = {each["symbol"]: each for each in info["symbols"]}
            assert {symbol: each["status"] for symbol, each in listings.items()} == {
                "BTCUSDT": "TRADING", "ETHUSDT": "TRADING", "XRPUSDT": "TRADING", "MATICUSDT": "BREAK",
            }  # fmt: skip
            assert listings["BTCUSDT"]["filters"][0]["tickSize"] == "0.10"
            assert "contractType" not in listings["BTCUSDT"]
            assert "serverTime" in (await get("time"))[1]

            symbol = "BTCUSDT"
            _, ticker, _ = await get("ticker/bookTicker?symbol=BTCUSDT")
            last = simulator.feed.series[StreamType.BBO, symbol].next_number - 1
            quote = simulator.market[symbol].quote(last)
            assert ticker == {
                "symbol": symbol, "bidPrice": quote.bid_price, "bidQty": quote.bid_qty,
                "askPrice": quote.ask_price, "askQty": quote.ask_qty,
            }  # fmt: skip
            assert len((await get("ticker/bookTicker"))[1]) == 3

            _, trades, _ = await get("trades?symbol=BTCUSDT&limit=7")
            sent = simulator.ledger.sent(StreamType.TRADE, symbol)[-7:]
            first = simulator.market[symbol].first_trade
            assert [(trade["id"] - first, trade["time"]) for trade in trades] == [entry[:2] for entry in sent]
            assert set(trades[0]) == {"id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"}
            assert (await get("trades?symbol=MATICUSDT"))[0:2] == (400, {"code": -1121, "msg": "Invalid symbol."})
            for elsewhere in ("premiumIndex?symbol=BTCUSDT", "../../fapi/v1/time"):
                assert (await get(elsewhere))[0] == 404
            nursery.cancel_scope.cancel()


async def test_a_delisted_symbol_breaks(spot):
    simulator = await spot(rate=1000.0)
    simulator.faults.delist("ETHUSDT")
    async with httpcore.AsyncConnectionPool() as http:
        response = await http.request("GET", simulator.rest_url + "/api/v3/exchangeInfo")
    assert {each["symbol"]: each["status"] for each in json.loads(response.content)["symbols"]}["ETHUSDT"] == "BREAK"
