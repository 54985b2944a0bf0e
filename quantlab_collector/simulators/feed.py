"""The market as it runs: which event happens when, and who hears of it.

One task, ``Feed.run``, lets events happen: it numbers them and puts them on a tape, a ring of what happened last. Every
connection reads the tape at its own place and its own pace. Nothing is copied for a connection that does not read: when the
tape has run round, that connection has missed what was on it, as a real exchange would not wait either.

Three things follow from that, and tests rely on them:

* An event happens once, under one number, and everybody who is subscribed at that time gets it.
* A topic starts at its first subscription with number 0 and goes on for ever, listened to or not, as markets do: who comes back
  after an outage finds a hole in the numbers.
* The order of topics is a shuffle by the seed, repeated; the mix of kinds is exact in every turn.

What a test does to the events, such as muting a topic, is kept in ``Feed.distortions``: ``Faults`` speaks the verbs.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.distortions import Distortions
from quantlab_collector.simulators.market import MAX_DELAY_MS
from quantlab_collector.simulators.mix import Mix

TICK: Final = 0.01
"""Seconds between two bursts."""

CATCH_UP: Final = 1.0
"""When the process was held up, so many seconds of events are made up for, and no more."""

_BURST: Final = 4096
_TAPE: Final = 16_384
_CHUNK: Final = 64

_BEHIND: Final = 1024
_PATIENCE: Final = 0.5
"""The market waits so many seconds for a connection that is this many events behind: when the whole process is too slow for the
rate, the rate falls and nobody misses anything; when one client does not read, the others go on without it."""

_REMEMBERED: Final = 1000
_NS_PER_MS: Final = 1_000_000


class Series:
    """The numbered events of one kind and one symbol."""

    __slots__ = ("kind", "next_number", "symbol", "times")

    def __init__(self, kind: StreamType, symbol: str) -> None:
        self.kind = kind
        self.symbol = symbol
        self.next_number = 0
        self.times: deque[int] = deque(maxlen=_REMEMBERED)
        """The exchange times (ms) of the last events, for who asks by REST."""


class MarketEvent:
    """One event that happened. Its text is made when the first connection sends it, and shared."""

    __slots__ = ("copies", "exchange_ms", "number", "series", "text")

    def __init__(self, series: Series, number: int, exchange_ms: int) -> None:
        self.series = series
        self.number = number
        self.exchange_ms = exchange_ms
        self.copies = 1
        """How often it is delivered: once, unless a test wants it otherwise."""
        self.text: str | None = None


class Listener:
    """One reader's place on the tape."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._taken = self.place = feed.happened
        self.behind_since: float | None = None
        self.missed = 0
        """Events that the tape had forgotten before they were read."""

    async def receive(self) -> list[MarketEvent]:
        """The next events; none when all of them are muted. Asking again says that the ones before are done with."""
        self.place = self._taken
        await trio.lowlevel.checkpoint()
        while self.place == self._feed.happened:
            await self._feed.news.wait()
        oldest = max(self.place, self._feed.happened - _TAPE)
        self.missed += oldest - self.place
        self.place = oldest
        self._taken = min(oldest + _CHUNK, self._feed.happened)
        return self._feed.between(oldest, self._taken)


class Feed:
    """The running market of one exchange."""

    def __init__(
        self,
        symbols: Iterable[str],
        *,
        rate: float,
        seed: int,
        mix: Mix,
        limit: int | None = None,
        wall_clock: Callable[[], int] = time.time_ns,
        idle: Collection[tuple[StreamType, str]] = (),
    ) -> None:
        weights = mix.weights()
        self.series = {(kind, symbol): Series(kind, symbol) for symbol in symbols for kind in weights}
        self.distortions = Distortions()
        self.delisted: set[str] = set()
        """Symbols that were traded once. Nothing happens on them any more, and no list should name them as traded."""
        self.happened = 0
        """Events so far, of all series."""
        self.news = trio.Event()
        self._rate = rate
        self._limit = limit
        self._wall_clock = wall_clock
        self._paused = False
        self._stamp_ms = self._now_ms()
        self._tape: list[MarketEvent | None] = [None] * _TAPE
        self._listeners: set[Listener] = set()
        self._quiet = trio.Event()
        speaking = [series for key, series in self.series.items() if key not in idle]
        self._turn = [series for series in speaking for _ in range(weights[series.kind])]
        random.Random(seed).shuffle(self._turn)  # noqa: S311 - an order that can be repeated, not a secret
        self._open: set[Series] = set()
        self._wheel: list[Series] = []
        self._wheel_is_old = False
        self._spoke = 0

    # ------------------------------------------------------------------------------------------------ who hears

    def open(self, series: Series) -> None:
        """Somebody has subscribed: from now on, and for good, events of this series happen."""
        if series not in self._open:
            self._open.add(series)
            self._wheel_is_old = True

    def delist(self, symbol: str) -> None:
        """Let nothing more happen on a symbol, for good."""
        self.delisted.add(symbol)
        self._turn = [series for series in self._turn if series.symbol != symbol]
        self._wheel = [series for series in self._wheel if series.symbol != symbol]

    def is_mute(self, series: Series) -> bool:
        """Whether nothing of this series is to be told, not even what it said before."""
        return series.symbol in self.delisted or self.distortions.is_muted(series.kind, series.symbol)

    def skip(self, series: Series, count: int) -> None:
        """Let ``count`` events happen at once and unheard: their numbers are used up, and REST knows of them."""
        series.next_number += count
        series.times.extend([self._stamp_ms] * count)

    @contextmanager
    def listen(self) -> Iterator[Listener]:
        """A place on the tape, from now on."""
        listener = Listener(self)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self.forget(listener)

    def forget(self, listener: Listener) -> None:
        """Wait for this one no more."""
        self._listeners.discard(listener)

    def between(self, start: int, end: int) -> list[MarketEvent]:
        """What the tape holds from one place to another, as often as it is to be delivered."""
        events = [event for place in range(start, end) if (event := self._tape[place % _TAPE]) is not None]
        if any(event.copies != 1 for event in events):
            return [event for event in events for _ in range(event.copies)]
        return events

    # ------------------------------------------------------------------------------------------- when it happens

    @property
    def stopped(self) -> bool:
        """Whether nothing more happens, for now or for good."""
        return self._paused or self.happened == self._limit

    def pause(self) -> None:
        """Let nothing more happen. What has happened is still sent: see ``wait_quiet``."""
        self._paused = True

    def resume(self) -> None:
        """Go on. The time of the pause is not made up for."""
        self._paused = False

    async def wait_quiet(self) -> None:
        """Wait until nothing more happens (a pause, the limit) and everything that did has been sent to everybody."""
        if self._quiet.is_set():
            self._quiet = trio.Event()
        await self._quiet.wait()

    async def run(self) -> NoReturn:
        """Let events happen, ``rate`` a second, in bursts of one tick; what a late tick owes is made up for."""
        credit, before = 0.0, trio.current_time()
        while True:
            await trio.sleep(TICK)
            now = trio.current_time()
            credit = min(credit + self._rate * (now - before), max(self._rate * CATCH_UP, 1.0))
            before = now
            if self._wheel_is_old:  # made here and not in open(): thousands of topics are opened between two ticks
                self._wheel = [series for series in self._turn if series in self._open]
                self._wheel_is_old = False
            if self.stopped or not self._wheel:
                credit = 0.0
            elif not self._someone_is_behind(now):
                due = min(int(credit), _BURST)
                if self._limit is not None:
                    due = min(due, self._limit - self.happened)
                credit -= due
                self._happen(due)
            self._stamp_ms = self._now_ms()
            if self.stopped and all(listener.place == self.happened for listener in self._listeners):
                self._quiet.set()

    def _happen(self, count: int) -> None:
        """Put ``count`` events on the tape, spread over the milliseconds since the last tick."""
        start, length = self._stamp_ms, self._now_ms() - self._stamp_ms
        for index in range(count):
            self._spoke = (self._spoke + 1) % len(self._wheel)
            series = self._wheel[self._spoke]
            event = MarketEvent(series, series.next_number, start + length * (index + 1) // count)
            series.next_number += 1
            if self.distortions.active:
                self.distortions.apply(event, series.kind, series.symbol)
            series.times.append(event.exchange_ms)
            self._tape[(self.happened + index) % _TAPE] = event
        self.happened += count
        if count:
            self.news.set()
            self.news = trio.Event()

    def _now_ms(self) -> int:
        # A little in the past: a message may say that it was pushed some milliseconds after the match, and never in the future.
        return self._wall_clock() // _NS_PER_MS - MAX_DELAY_MS

    def _someone_is_behind(self, now: float) -> bool:
        behind = False
        for listener in self._listeners:
            if self.happened - listener.place <= _BEHIND:
                listener.behind_since = None
            elif listener.behind_since is None:
                listener.behind_since = now
                behind = True
            else:
                behind = behind or now - listener.behind_since < _PATIENCE
        return behind
