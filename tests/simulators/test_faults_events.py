"""What can be done to events on their way, seen by a client, and what the ledger says afterwards."""

from __future__ import annotations

import json
import time
from collections import Counter
from itertools import pairwise

import httpcore
import pytest
import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.faults import Faults
from quantlab_collector.simulators.feed import Feed
from quantlab_collector.simulators.mix import Mix
from simulators.support import about, frame_client, in_ledger, streams

BBO, TRADE = StreamType.BBO, StreamType.TRADE


def paths(simulator):
    return [
        "/public/stream?streams=" + streams(simulator, "bookTicker"),
        "/market/stream?streams=" + streams(simulator, "aggTrade", "markPrice@1s"),
    ]


async def everything(simulator, disturb, limit):
    """What two clients get of ``limit`` events, the first of which happen after ``disturb``."""
    simulator.pause()
    async with (
        frame_client(simulator, paths(simulator)[0]) as quotes,
        frame_client(simulator, paths(simulator)[1]) as trades,
        trio.open_nursery() as nursery,
    ):
        injections = disturb(simulator.faults)
        nursery.start_soon(quotes.read_all)
        nursery.start_soon(trades.read_all)
        simulator.resume()
        with trio.fail_after(5):
            await simulator.wait_quiet()
        assert simulator.feed.happened == limit
        await trio.sleep(0.05)  # the clients read what is sent
        nursery.cancel_scope.cancel()
    got = [about(simulator, json.loads(text)["data"]) for client in (quotes, trades) for text in client.messages]
    assert sorted(got) == sorted(in_ledger(simulator))  # under every verb the ledger is what was sent
    return injections, got


async def test_a_muted_topic_goes_on_unheard(play):
    simulator = await play(limit=3000)
    mute, got = await everything(simulator, lambda faults: faults.mute(TRADE, "ETHUSDT"), 3000)
    unheard = simulator.feed.series[TRADE, "ETHUSDT"].next_number
    assert unheard == mute.hits == 200
    assert len(got) == 2800
    assert (TRADE, "ETHUSDT") not in {event[:2] for event in got}
    async with httpcore.AsyncConnectionPool() as http:  # REST knows what nobody was told
        response = await http.request("GET", simulator.rest_url + "/fapi/v1/aggTrades?symbol=ETHUSDT&limit=1")
    assert json.loads(response.content)[0]["a"] == simulator.market["ETHUSDT"].first_trade + unheard - 1


async def test_all_is_muted_but_the_connection_lives(play):
    simulator = await play(rate=5000.0, ping_interval=0.05)
    async with frame_client(simulator, paths(simulator)[0]) as client:
        await client.read_until(50)
        simulator.faults.mute()
        with trio.move_on_after(0.1):
            await client.read_all()
        heard, pings = len(client.messages), len(client.pings)
        with trio.move_on_after(0.3):
            await client.read_all()
        assert len(client.messages) == heard
        assert len(client.pings) > pings
        unmute = simulator.faults.unmute()
        await client.read_until(heard + 100)
        assert unmute.hits == 1
        numbers = [about(simulator, json.loads(text)["data"])[1:3] for text in client.messages]
        btc = [number for symbol, number in numbers if symbol == "BTCUSDT"]
        assert sum(after != before + 1 for before, after in pairwise(btc)) == 1  # one hole


async def test_the_next_events_come_twice(play):
    simulator = await play(limit=1000)
    duplicate, got = await everything(simulator, lambda faults: faults.duplicate(25, TRADE), 1000)
    twice = [event for event, times in Counter(got).items() if times == 2]
    assert len(got) == 1025
    assert len(twice) == duplicate.hits == 25
    assert {event[0] for event in twice} == {TRADE}
    assert max(Counter(in_ledger(simulator)).values()) == 2


async def test_trade_ids_are_skipped(play):
    simulator = await play(limit=1000)
    skip, got = await everything(simulator, lambda faults: faults.skip("BTCUSDT", 5), 1000)
    numbers = [number for kind, symbol, number, _ in got if (kind, symbol) == (TRADE, "BTCUSDT")]
    assert numbers == list(range(5, 5 + len(numbers)))
    assert skip.hits == 5
    async with httpcore.AsyncConnectionPool() as http:  # and can be asked for
        first = simulator.market["BTCUSDT"].first_trade
        response = await http.request("GET", f"{simulator.rest_url}/fapi/v1/aggTrades?symbol=BTCUSDT&fromId={first}&limit=6")
    assert [trade["a"] - first for trade in json.loads(response.content)] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("ms", [86_400_000, -60_000])
async def test_the_next_events_are_dated_wrongly(play, ms):
    simulator = await play(limit=1000)
    old, got = await everything(simulator, lambda faults: faults.old(ms, 10, BBO, "XRPUSDT"), 1000)
    now = time.time_ns() // 10**6
    wrong = [event for event in got if abs(now - event[3]) > 30_000]
    assert len(wrong) == old.hits == 10
    assert {event[:2] for event in wrong} == {(BBO, "XRPUSDT")}
    assert all(abs(now - ms - event[3]) < 20_000 for event in wrong)
    assert [event[2] for event in wrong] == list(range(10))


async def test_distortions_add_up_and_a_mute_uses_up_nothing(play):
    def disturb(faults):
        faults.mute(BBO)
        return faults.duplicate(3), faults.old(10_000, 2), faults.duplicate(1)

    simulator = await play(limit=500)
    (three, old, one), got = await everything(simulator, disturb, 500)
    assert (three.hits, old.hits, one.hits) == (3, 2, 1)
    assert [times for _, times in Counter(got).most_common(4)] == [3, 2, 2, 1]
    assert not simulator.feed.distortions._bends


async def test_a_delisted_symbol_is_silent_and_off_the_lists(play):
    simulator = await play(rate=5000.0)

    async def symbols(http, path):
        response = await http.request("GET", f"{simulator.rest_url}/fapi/v1/{path}")
        body = json.loads(response.content)
        if path == "exchangeInfo":
            return {listing["symbol"]: listing["status"] for listing in body["symbols"]}
        return {each["symbol"] for each in body}

    async with frame_client(simulator, paths(simulator)[0]) as client, httpcore.AsyncConnectionPool() as http:
        await client.read_until(50)
        simulator.faults.delist("ETHUSDT")
        await client.read_until(len(client.messages) + 1000)
        last = [json.loads(text)["data"]["s"] for text in client.messages[-800:]]
        assert set(last) == {"BTCUSDT", "XRPUSDT"}
        assert await symbols(http, "ticker/bookTicker") == {"BTCUSDT", "XRPUSDT"}
        assert (await symbols(http, "exchangeInfo"))["ETHUSDT"] == "SETTLING"
        response = await http.request("GET", simulator.rest_url + "/fapi/v1/premiumIndex?symbol=ETHUSDT")
        assert response.status == 400
    async with frame_client(simulator, "/market/ws/ethusdt@aggTrade") as client:  # acknowledged, and that is all
        with trio.move_on_after(0.1):
            await client.read_all()
        assert client.messages == []


async def test_the_last_symbol_may_be_delisted(play):
    simulator = await play(symbols=("BTCUSDT",), rate=1000.0)
    async with frame_client(simulator, paths(simulator)[0]) as client:
        await client.read_until(5)
        simulator.faults.delist("BTCUSDT")
        await trio.sleep(0.05)
        simulator.pause()
        await simulator.wait_quiet()


async def test_every_order_is_kept(play):
    simulator = await play()
    faults = simulator.faults
    before = time.time_ns()
    orders = [
        faults.refuse(503, retry_after=1, count=1), faults.ban(1), faults.hang(), faults.half_open(), faults.close(), faults.cut(),
        faults.reset(), faults.freeze(), faults.slow_loris(), faults.say("x"), faults.mute(), faults.unmute(), faults.duplicate(),
        faults.old(5), faults.skip("BTCUSDT"), faults.delist("XRPUSDT"), faults.restart(0.01, code=None),
    ]  # fmt: skip
    assert [order for order in faults.injected if order in orders] == orders
    assert all(before <= order.ordered_ns <= time.time_ns() for order in orders)
    # Nobody was there: what needs a connection or an event has not struck, and says so.
    assert {order.verb for order in orders if order.hits} == {"unmute", "skip", "delist", "restart"}
    assert all((order.first_ns is None) == (order.hits == 0) for order in orders)


def test_without_a_market_there_is_nothing_to_mute():
    with pytest.raises(ValueError, match="no market here"):
        Faults(None, time.time_ns).mute()


async def test_what_is_unheard_is_the_same_for_everybody_and_for_each_seed(autojump_clock):
    async def heard(seed):
        feed = Feed(
            ["A", "B"], rate=1000.0, seed=seed, mix=Mix(), wall_clock=lambda: 10**18 + int(trio.current_time() * 1e9), limit=500
        )
        faults = Faults(feed, time.time_ns)
        faults.mute(TRADE, "B")
        faults.duplicate(7, BBO)
        faults.skip("A", 3)
        for series in feed.series.values():
            feed.open(series)
        events = []
        async with trio.open_nursery() as nursery:
            with feed.listen() as one:
                nursery.start_soon(feed.run)
                while feed.happened < 500 or one.place < 500:
                    with trio.move_on_after(0.1):
                        events += await one.receive()
                nursery.cancel_scope.cancel()
        return [(event.series.kind, event.series.symbol, event.number) for event in events]

    assert await heard(1) == await heard(1)
    assert await heard(1) != await heard(2)
