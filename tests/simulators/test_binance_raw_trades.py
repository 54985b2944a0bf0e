"""``@trade`` of USD-M: undocumented, on /public, and with rows that are no trades. And symbols that nobody trades."""

from __future__ import annotations

import json
from itertools import pairwise

import httpcore
import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.market import Market
from simulators.support import connect, frame_client, heard, something_heard


def test_fills_make_up_their_trade_and_leave_no_hole():
    values = Market(1, ["BTCUSDT"])["BTCUSDT"]
    ids = []
    for number in range(2000):
        trade, fills = values.trade(number), values.fills(number)
        ids += [fill.fill_id for fill in fills]
        real = [fill for fill in fills if fill.qty is not None]
        assert sum(round(float(fill.qty) * 1000) for fill in real) == round(float(trade.qty) * 1000)
        assert real[0].fill_id == trade.first_fill
        assert real[-1].fill_id == trade.last_fill or float(trade.qty) < 0.003
    assert ids == list(range(ids[0], ids[0] + 6000))


async def test_raw_trades_are_public_and_agree_with_the_aggregates(play):
    simulator = await play(limit=300, symbols=("BTCUSDT",))
    simulator.pause()
    async with (
        frame_client(simulator, "/public/stream?streams=btcusdt@trade") as raw,
        frame_client(simulator, "/market/stream?streams=btcusdt@aggTrade") as aggregated,
    ):
        simulator.resume()
        await raw.read_until(900)
        await aggregated.read_until(300)
        await simulator.wait_quiet()
    fills = [json.loads(message)["data"] for message in raw.messages]
    trades = [json.loads(message)["data"] for message in aggregated.messages]
    assert all(before["t"] + 1 == after["t"] for before, after in pairwise(fills))
    assert {fill["X"] for fill in fills} == {"MARKET", "NA"}
    assert all((fill["X"] == "NA") == (fill["q"] == "0") == (fill["p"] == "0") for fill in fills)
    assert list(fills[0]) == ["e", "E", "T", "s", "t", "p", "q", "X", "m", "st"]
    for trade in trades:
        parts = [fill for fill in fills if trade["f"] <= fill["t"] <= trade["l"] and fill["X"] == "MARKET"]
        assert round(sum(float(part["q"]) for part in parts), 3) == float(trade["q"])
        assert {(part["p"], part["m"], part["T"]) for part in parts} == {(trade["p"], trade["m"], trade["T"])}
    # An entry of the ledger is one trade of the market, however many messages tell it.
    assert simulator.ledger.totals == {(StreamType.TRADE, "BTCUSDT"): 600}


async def test_raw_trades_are_silent_on_the_other_route(play):
    simulator = await play(rate=1000.0)
    async with connect(simulator, "/market/ws/btcusdt@trade") as websocket:
        assert await heard(websocket, 0.08) == []
    async with connect(simulator, "/ws/btcusdt@trade") as websocket:
        assert await something_heard(websocket, 0.08)


async def test_an_idle_symbol_has_a_mark_price_and_nothing_else(play):
    simulator = await play(rate=5000.0, idle_symbols=("ethusdt",))
    names = "btcusdt@bookTicker/ethusdt@bookTicker/ethusdt@trade"
    async with (
        frame_client(simulator, "/public/stream?streams=" + names) as public,
        frame_client(simulator, "/market/stream?streams=ethusdt@aggTrade/ethusdt@markPrice@1s") as market,
        httpcore.AsyncConnectionPool() as http,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(public.read_all)
        await market.read_until(50)
        response = await http.request("GET", simulator.rest_url + "/fapi/v1/exchangeInfo")
        nursery.cancel_scope.cancel()
    assert {json.loads(message)["data"]["s"] for message in public.messages} == {"BTCUSDT"}
    assert {json.loads(message)["data"]["e"] for message in market.messages} == {"markPriceUpdate"}
    assert {each["symbol"]: each["status"] for each in json.loads(response.content)["symbols"]}["ETHUSDT"] == "TRADING"
