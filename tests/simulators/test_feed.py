"""The market as it runs, on a virtual clock and without sockets."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.feed import Feed, Listener, MarketEvent
from quantlab_collector.simulators.mix import Mix

SYMBOLS = [f"S{n}USDT" for n in range(5)]


def a_feed(**options) -> Feed:
    # The wall clock is Trio's, and so is virtual too.
    settings = {"rate": 1000.0, "seed": 1, "mix": Mix(), "wall_clock": lambda: 10**18 + int(trio.current_time() * 1e9)} | options
    return Feed(SYMBOLS, **settings)


def open_all(feed: Feed) -> None:
    for series in feed.series.values():
        feed.open(series)


async def read(listener: Listener, into: list[MarketEvent]) -> None:
    while True:
        into.extend(await listener.receive())


def names(events: list[MarketEvent]) -> list[tuple[StreamType, str, int]]:
    return [(event.series.kind, event.series.symbol, event.number) for event in events]


async def played(seconds: float, **options) -> list[MarketEvent]:
    events: list[MarketEvent] = []
    feed = a_feed(**options)
    open_all(feed)
    async with trio.open_nursery() as nursery:
        with feed.listen() as listener:
            nursery.start_soon(feed.run)
            nursery.start_soon(read, listener, events)
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()
    return events


async def test_it_keeps_the_rate(autojump_clock):
    assert len(await played(20, rate=1000.0)) == pytest.approx(20_000, rel=0.002)


async def test_it_keeps_a_very_low_rate(autojump_clock):
    assert len(await played(40, rate=0.25)) == pytest.approx(10, abs=1)


async def test_each_series_is_numbered_from_zero_without_holes(autojump_clock):
    events = await played(5)
    for series in {event.series for event in events}:
        numbers = [event.number for event in events if event.series is series]
        assert numbers == list(range(len(numbers)))


async def test_the_mix_is_exact_in_every_turn_and_no_symbol_is_left_out(autojump_clock):
    events = await played(5)
    turn = 10 * len(SYMBOLS)
    for start in range(0, 10 * turn, turn):
        some = events[start : start + turn]
        assert Counter(event.series.kind for event in some) == {
            StreamType.BBO: 35,
            StreamType.TRADE: 10,
            StreamType.MARK_PRICE: 5,
        }
        assert {event.series.symbol for event in some} == set(SYMBOLS)


async def test_the_order_is_the_seeds(autojump_clock):
    first, again, other = [names(await played(2, seed=seed))[:1500] for seed in (1, 1, 2)]
    assert first == again
    assert first != other


async def test_times_go_forward_and_are_a_little_in_the_past(autojump_clock):
    events = await played(5)
    assert all(before.exchange_ms <= after.exchange_ms for before, after in pairwise(events))
    assert len({event.exchange_ms for event in events}) > 4000  # spread over the milliseconds, not stamped tick by tick


async def test_a_topic_starts_at_its_first_subscription_and_then_goes_on(autojump_clock):
    feed = a_feed()
    btc, eth = feed.series[StreamType.TRADE, "S0USDT"], feed.series[StreamType.TRADE, "S1USDT"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        await trio.sleep(1)
        assert feed.happened == 0
        feed.open(btc)
        await trio.sleep(1)
        assert btc.next_number == pytest.approx(1000, abs=20)
        assert eth.next_number == 0
        feed.open(eth)
        await trio.sleep(1)
        assert eth.next_number == pytest.approx(500, abs=20)
        assert btc.next_number == pytest.approx(1500, abs=40)
        nursery.cancel_scope.cancel()


async def test_the_limit_is_exact(autojump_clock):
    events: list[MarketEvent] = []
    feed = a_feed(limit=777)
    open_all(feed)
    async with trio.open_nursery() as nursery:
        with feed.listen() as listener:
            nursery.start_soon(feed.run)
            nursery.start_soon(read, listener, events)
            await feed.wait_quiet()
            assert len(events) == feed.happened == 777
            await trio.sleep(5)
            assert len(events) == 777
            nursery.cancel_scope.cancel()


async def test_a_pause_is_not_made_up_for(autojump_clock):
    feed = a_feed()
    open_all(feed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        await trio.sleep(1)
        feed.pause()
        await feed.wait_quiet()
        so_far = feed.happened
        await trio.sleep(60)
        assert feed.happened == so_far
        feed.resume()
        await trio.sleep(1)
        assert feed.happened - so_far == pytest.approx(1000, abs=30)
        nursery.cancel_scope.cancel()


async def test_it_is_not_quiet_before_everybody_has_had_everything(autojump_clock):
    feed = a_feed(limit=100)
    open_all(feed)
    async with trio.open_nursery() as nursery:
        with feed.listen() as listener:
            nursery.start_soon(feed.run)
            await trio.sleep(1)
            taken = 0
            while taken < 100:
                taken += len(await listener.receive())
            with trio.move_on_after(5) as waiting:  # the last ones are taken, but not done with
                await feed.wait_quiet()
            assert waiting.cancelled_caught
            nursery.start_soon(listener.receive)
            with trio.fail_after(1):
                await feed.wait_quiet()
            nursery.cancel_scope.cancel()


async def test_who_does_not_read_misses_something_and_holds_up_nobody(autojump_clock):
    feed = a_feed(rate=10_000.0)
    open_all(feed)
    events: list[MarketEvent] = []
    async with trio.open_nursery() as nursery:
        with feed.listen() as sleeper, feed.listen() as reader:
            nursery.start_soon(feed.run)
            nursery.start_soon(read, reader, events)
            await trio.sleep(4)
            assert len(events) > 30_000  # half a second of patience, no more
            assert reader.missed == 0
            late = await sleeper.receive()
            assert sleeper.missed == feed.happened - 16_384
            assert late[0].number > 0
            nursery.cancel_scope.cancel()


async def test_when_everybody_is_too_slow_the_rate_falls_and_nobody_misses_anything(autojump_clock):
    async def slowly(listener: Listener) -> None:
        while True:
            await trio.sleep(0.1 * len(await listener.receive()) / 64)  # 640 a second

    feed = a_feed(rate=1_000_000.0)
    open_all(feed)
    async with trio.open_nursery() as nursery:
        with feed.listen() as listener:
            nursery.start_soon(feed.run)
            nursery.start_soon(slowly, listener)
            await trio.sleep(0.4)
            assert feed.happened == 4096  # one burst, and then it waits
            assert listener.missed == 0
            nursery.cancel_scope.cancel()
