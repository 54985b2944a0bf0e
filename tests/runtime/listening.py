"""Connections without sockets: what arrives is written where decoding writes it, and looked at once a second."""

from __future__ import annotations

from collections.abc import Iterable

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.registry import EXCHANGES
from quantlab_collector.runtime.freshness import Changes, Freshness
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.silence_options import SilenceOptions
from quantlab_collector.runtime.state import ConnectionState

SECOND = 1_000_000_000
START_NS = 1_767_280_000 * SECOND


class Line:
    """One connection that a test brings data on."""

    def __init__(self, exchange: str, topics: Iterable[Topic], name: str = "public-0") -> None:
        self.state = ConnectionState(exchange, name, "wss://localhost", tuple(topics), rhythms=EXCHANGES[exchange].rhythms)

    def open(self, now: float) -> None:
        """Connected, or connected again."""
        state = self.state
        if state.connects:
            state.lifecycle.move(State.RECONNECTING, at(now), "lost")
        for to in (State.CONNECTING, State.CONNECTED, State.SUBSCRIBING):
            state.lifecycle.move(to, at(now))
        state.connects += 1
        state.connected_ns = at(now)
        state.seen = {stream: {} for stream in StreamType}

    def bring(self, now: float, *topics: Topic) -> None:
        """Data of these topics."""
        for topic in topics:
            self.state.seen[topic.stream][topic.symbol] = at(now)  # type: ignore[index]
        if topics:
            self.state.last_frame_ns = at(now)


class Listener:
    """Looks at lines, and keeps what was found with the second in which it was."""

    def __init__(self, *lines: Line, options: SilenceOptions | None = None) -> None:
        self.lines = lines
        self.newest: dict[Topic, int] = {}
        self.found: list[tuple[float, Changes]] = []
        self._freshness = Freshness(options or SilenceOptions())

    def look(self, now: float) -> Changes:
        changes = self._freshness.look([line.state for line in self.lines], self.newest, now, at(now))
        if changes != Changes():
            self.found.append((now, changes))
        return changes

    @property
    def mutes(self) -> list[tuple[float, str | None, str | None]]:
        """When which topic was found mute."""
        return [(now, mute.stream, mute.symbol) for now, changes in self.found for mute in changes.muted]

    @property
    def silences(self) -> list[tuple[float, str, str]]:
        return [(now, silence.stream, silence.symbol) for now, changes in self.found for silence in changes.silent]


def at(now: float) -> int:
    """The time in ns, a second of the test being one."""
    return START_NS + round(now * SECOND)


def topics(exchange: str, stream: StreamType, *symbols: str) -> list[Topic]:
    return [Topic(exchange, stream, symbol) for symbol in symbols]
