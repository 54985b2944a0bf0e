"""A day of three exchanges, second by second: nothing that is quiet by nature alarms, and what falls mute is found in time."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from runtime.listening import Line, Listener

DAY = 86_400
HOUR = 3_600
BBO, TRADE, MARK, FUNDING, OI = StreamType
TRADE_MEANS = (0.2, 0.5, 1, 2, 5, 10, 20, 45, 90, 180, 400, 900, 1_800, 3_600, 7_200)
"""Seconds between two trades of a symbol; one in two hours is the rarest."""

EXCHANGES = ("binance", "bybit", "okx")

Source = Iterator[float]
"""The times at which a topic delivers."""


def poisson(chance: random.Random, mean: float) -> Source:
    now = chance.expovariate(1 / mean)
    while True:
        yield now
        now += chance.expovariate(1 / mean)


def bursts(chance: random.Random, every: float, last: float, mean: float) -> Source:
    """Nothing for a while, then many at once: how most trades are."""
    now = 0.0
    while True:
        end = now + chance.expovariate(1 / last)
        while now < end:
            yield now
            now += chance.expovariate(1 / mean)
        now += chance.expovariate(1 / every)


def daily(chance: random.Random, by_day: float, by_night: float, phase: float) -> Source:
    """Quotes that come ever more rarely as the night goes on: the logarithm of the rate goes up and down once a day."""
    low, high = math.log(1 / by_night), math.log(1 / by_day)
    now = 0.0
    while True:
        bright = (1 + math.cos(2 * math.pi * (now / DAY + phase))) / 2
        now += chance.expovariate(math.exp(low + (high - low) * bright))
        yield now


def periodic(chance: random.Random, every: Callable[[], float]) -> Source:
    """At intervals, a little late or early, and now and then one is lost."""
    now = chance.uniform(0, 1)
    while True:
        if chance.random() > 0.002:
            yield now + chance.uniform(0, 0.3)
        now += every()


def symbol_of(mean: float) -> str:
    """The symbol whose trades are so many seconds apart."""
    return f"S{mean:g}".replace(".", "D") + "USDT"


def sources(chance: random.Random) -> dict[Topic, Source]:
    """What a few symbols do, on each exchange."""
    found: dict[Topic, Source] = {}
    for place, exchange in enumerate(EXCHANGES):
        for mean in TRADE_MEANS[place::3]:
            symbol = symbol_of(mean)
            found[Topic(exchange, TRADE, symbol)] = poisson(chance, mean)
            by_night = min(mean * 20, 600.0)
            found[Topic(exchange, BBO, symbol)] = daily(chance, min(0.1 * mean + 0.05, 5.0), by_night, chance.random() / 10)
            for stream, every in PERIODS[exchange].items():
                found[Topic(exchange, stream, symbol)] = periodic(chance, every(chance, mean))
        for number, (every_, last, mean) in enumerate([(60, 5, 0.05), (600, 60, 0.5), (1_800, 120, 2), (3_600, 300, 1)]):
            found[Topic(exchange, TRADE, f"BURST{number}USDT")] = bursts(chance, every_, last, mean)
    return found


PERIODS: dict[str, dict[StreamType, Callable[[random.Random, float], Callable[[], float]]]] = {
    "binance": {MARK: lambda chance, mean: lambda: 1.0, FUNDING: lambda chance, mean: lambda: 1.0},
    # Only what has changed: the mark price of what is hardly traded keeps still for long.
    "bybit": {
        MARK: lambda chance, mean: lambda: min(chance.expovariate(1 / min(0.5 + mean / 50, 9.0)), 100.0),
        FUNDING: lambda chance, mean: lambda: chance.uniform(60, 8 * HOUR),
        OI: lambda chance, mean: lambda: 3.0 * math.ceil(chance.expovariate(1 / max(mean, 4.0))),
    },
    "okx": {
        MARK: lambda chance, mean: lambda: chance.choice([0.2, 0.4, 1.0, 3.0, 10.0]),
        FUNDING: lambda chance, mean: lambda: chance.uniform(30, 90),
        OI: lambda chance, mean: lambda: 3.0 * math.ceil(chance.expovariate(1 / max(mean, 4.0))),
    },
}


class Day:
    """All sources, played to a listener; some are silenced from a moment on, and some for a while."""

    def __init__(self, seed: int, silenced: dict[Topic, float], until: int = DAY) -> None:
        self.quiet: dict[Topic, float] = {}
        """The longest time between two deliveries, before it was silenced."""
        self.count: dict[Topic, int] = {}
        self.seconds: dict[Topic, int] = {}
        """In how many seconds it delivered."""
        self.flow: dict[str, list[int]] = {exchange: [0] for exchange in EXCHANGES}
        """By second: in how many so far anything came from an exchange."""
        chance = random.Random(seed)
        found = sources(chance)
        lines = {exchange: Line(exchange, [topic for topic in found if topic.exchange == exchange]) for exchange in EXCHANGES}
        self.listener = Listener(*lines.values())
        for line in lines.values():
            line.open(0)
        # Bybit sends all of a ticker, and OKX the newest of everything, right after the subscription.
        for exchange in ("bybit", "okx"):
            lines[exchange].bring(0.5, *(t for t in found if t.exchange == exchange and t.stream is not TRADE))
        last: dict[Topic, float] = {}
        coming = [(next(source), number, topic, source) for number, (topic, source) in enumerate(found.items())]
        heapq.heapify(coming)
        for second in range(1, until + 1):
            arrived: dict[str, list[Topic]] = {}
            while coming[0][0] < second:
                when, number, topic, source = coming[0]
                heapq.heapreplace(coming, (next(source), number, topic, source))
                if when >= silenced.get(topic, math.inf):
                    continue
                arrived.setdefault(topic.exchange, []).append(topic)
                self.quiet[topic] = max(self.quiet.get(topic, 0.0), when - last.get(topic, when))
                self.count[topic] = self.count.get(topic, 0) + 1
                last[topic] = when
            for exchange, flow in self.flow.items():
                flow.append(flow[-1] + (exchange in arrived))
            for exchange, delivered in arrived.items():
                for topic in set(delivered):
                    self.seconds[topic] = self.seconds.get(topic, 0) + 1
                lines[exchange].bring(second - 0.01, *delivered)
            self.listener.look(second)
        self.last = last


def test_a_day_on_which_all_is_well() -> None:
    """Trades that are two hours apart, bursts, quiet nights, late messages: nothing is told of any of it."""
    day = Day(1, {})

    assert sum(day.count.values()) > 3_000_000
    assert {topic for topic in day.count if day.quiet[topic] > HOUR}  # the day itself was a hard one
    assert day.listener.found == []


PLANTED = {
    Topic("binance", TRADE, symbol_of(0.2)): 1 * HOUR,
    Topic("bybit", TRADE, symbol_of(0.5)): 2 * HOUR,
    Topic("okx", TRADE, symbol_of(1)): 9 * HOUR,
    Topic("binance", BBO, symbol_of(2)): 3 * HOUR,
    Topic("bybit", BBO, symbol_of(5)): 23 * HOUR,
    Topic("binance", MARK, symbol_of(180)): 15 * 60,
    Topic("okx", MARK, symbol_of(7_200)): 12 * HOUR,
    Topic("okx", OI, symbol_of(1)): 8 * HOUR,
    Topic("okx", FUNDING, symbol_of(10)): 20 * HOUR,
    Topic("bybit", TRADE, symbol_of(45)): 22 * HOUR,
}
"""What falls mute, and when."""


def test_ten_that_fall_mute_are_found_in_time_and_nobody_else() -> None:
    day = Day(2, PLANTED)

    found = {(stream, symbol): now for now, stream, symbol in day.listener.mutes}
    assert len(day.listener.mutes) == len(PLANTED)
    assert set(found) == {(topic.stream, topic.symbol) for topic in PLANTED}
    busy = {topic for topic in PLANTED if day.seconds[topic] > 0.75 * day.last[topic]}
    assert len(busy) >= 3  # data nearly every second
    for topic in PLANTED:
        flow, now = day.flow[topic.exchange], int(found[topic.stream, topic.symbol])
        assert flow[now] - flow[int(day.last[topic])] <= promised(day, topic) + 2, topic
        assert now - day.last[topic] <= (60 if topic in busy else HOUR), topic
    assert {(stream, symbol) for _, stream, symbol in day.listener.silences} <= set(found)


def promised(day: Day, topic: Topic) -> float:
    """What the model promises, in looks that find something; reckoned from what really came, and a quiet may seem two longer."""
    share = min(day.seconds[topic] / day.last[topic], 1 - 1e-12)
    by_chance = math.log(1e-9) / math.log(1 - share)
    return max(30.0, 6 * (day.quiet[topic] + 2), 1.5 * by_chance)
