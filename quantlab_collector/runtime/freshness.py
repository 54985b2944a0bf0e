"""Which topics still deliver: looked at about once a second, from the times that decoding notes anyway.

Three questions are asked of each topic. Has it ever delivered on this connection? Is it silent for longer than its exchange ever
is? And has it stopped, against its own habit (``habit.py``)? Time is counted in looks at which something came on the connection:
what a whole connection does not bring is the idle timeout's business, and a gap afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import attrs
import msgspec

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import Mute, Silence
from quantlab_collector.contracts.rhythms import NO_RHYTHM
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.habit import ASK_AGAIN, HALF_LIFE, PATIENCE, REMEMBERED, Habit
from quantlab_collector.runtime.lifecycle import UP
from quantlab_collector.runtime.silence_options import SilenceOptions
from quantlab_collector.runtime.state import ConnectionState

CLOCKS_AGREE: Final = 60_000_000_000
"""ns: a trade was missed if the exchange dates it so long after the connection was opened. Clocks may differ by less."""

NEVER: Final = "never delivered"
STOPPED: Final = "stopped, against its habit"
NOTHING_AT_ALL: Final = "connected, and nothing was ever delivered"


@attrs.frozen
class Changes:
    """What a look has found."""

    muted: list[Mute] = attrs.field(factory=list)
    unmuted: list[Mute] = attrs.field(factory=list)
    silent: list[Silence] = attrs.field(factory=list)
    unsilent: list[Silence] = attrs.field(factory=list)


class Freshness:
    """All connections."""

    def __init__(self, options: SilenceOptions) -> None:
        self._options = options
        self._watched: dict[ConnectionState, _Connection] = {}

    def look(self, connections: Iterable[ConnectionState], newest: Mapping[Topic, int], now: float, now_ns: int) -> Changes:
        """Look at all of them; ``newest`` is what REST has told of the newest events, ``now`` is on the monotonic clock."""
        changes = Changes()
        for state in connections:
            watched = self._watched.get(state)
            if watched is None:
                watched = self._watched[state] = _Connection(state, self._options)
            watched.look(newest, now, now_ns, changes)
        return changes


class _Connection:
    """One connection, through all its reconnects."""

    def __init__(self, state: ConnectionState, options: SilenceOptions) -> None:
        self._state = state
        self._options = options
        self._streams = [
            _Stream(state, stream, topics, options)
            for stream in StreamType
            if (topics := [topic for topic in state.topics if topic.stream is stream])
        ]
        self._looks = 0
        """That found something."""
        self._weight = 0.0
        """The same, the old ones counting less."""
        self._frame_ns: int | None = None
        self._connects = 0
        self._refused = 0
        self._opened: tuple[float, int] | None = None
        """When it was open for the first time, on both clocks."""
        self._mute: Mute | None = None

    def look(self, newest: Mapping[Topic, int], now: float, now_ns: int, changes: Changes) -> None:
        state = self._state
        if self._connects != state.connects:
            self._connects = state.connects
            self._opened = self._opened or (now, now_ns)
            for stream in self._streams:
                stream.begin(self._looks)
        if self._refused != len(state.refused):
            self._refused = len(state.refused)
            for stream in self._streams:
                stream.excuse(now_ns, changes)
        if state.last_frame_ns is None:
            self._watch_for_anything(now, changes)
        elif state.last_frame_ns != self._frame_ns and state.lifecycle.state in UP:
            self._frame_ns = state.last_frame_ns
            if self._mute is not None:
                changes.unmuted.append(msgspec.structs.replace(self._mute, to=state.last_frame_ns))
                self._mute = None
            self._look_at_topics(newest, changes)

    def _look_at_topics(self, newest: Mapping[Topic, int], changes: Changes) -> None:
        self._looks += 1
        self._weight += 1.0
        for stream in self._streams:
            stream.look(float(self._looks), self._weight, newest, changes)
        if self._looks % HALF_LIFE == 0:
            self._weight /= 2.0
            for stream in self._streams:
                stream.half_forget(next_day=self._looks % (REMEMBERED * HALF_LIFE) == 0)

    def _watch_for_anything(self, now: float, changes: Changes) -> None:
        """Connected, and nothing came, perhaps again and again: that is one mute, not one for each topic."""
        if self._opened is None or self._mute is not None:
            return
        opened, opened_ns = self._opened
        if now - opened >= self._options.first_message:
            self._mute = Mute(self._state.exchange, self._state.name, None, None, opened_ns, None, NOTHING_AT_ALL)
            changes.muted.append(self._mute)


class _Stream:
    """The topics of one stream on one connection."""

    def __init__(self, state: ConnectionState, stream: StreamType, topics: Iterable[Topic], options: SilenceOptions) -> None:
        self._state = state
        self._stream = stream
        self._options = options
        self._habits = {topic.symbol: Habit(topic) for topic in topics}
        self._waiting: dict[str, Habit] = {}
        """Those that have not delivered on the present connection."""
        rhythm = state.rhythms.get(stream, NO_RHYTHM)
        self._expected = rhythm.every or 0.0
        self._silence_after = math.inf if rhythm.every is None else max(options.factor * rhythm.every, options.shortest)
        self._doubt_after = min(self._silence_after, options.shortest_mute)
        self._first_after = max(options.first_message, rhythm.first)
        if stream is StreamType.TRADE:
            self._first_after = options.first_trade

    def begin(self, looks: float) -> None:
        """The connection has been opened, and nothing of before counts against anyone."""
        self._waiting = dict(self._habits)
        for habit in self._waiting.values():
            habit.quiet_since = looks
            habit.check_at = looks + min(self._doubt_after, self._first_after)

    def look(self, looks: float, weight: float, newest: Mapping[Topic, int], changes: Changes) -> None:
        """The loop over all topics: what is done in it costs a core many thousand times a second."""
        seen, habits, doubt_after = self._state.seen.get(self._stream, {}), self._habits, self._doubt_after
        if len(seen) + len(self._waiting) != len(habits):
            self._greet(seen, looks, weight)
        for symbol, ns in seen.items():
            habit = habits[symbol]
            if ns != habit.seen_ns:
                quiet = looks - habit.quiet_since
                habit.seen_ns, habit.quiet_since, habit.check_at = ns, looks, looks + doubt_after
                habit.hits += 1.0
                if habit.mute is not None or habit.silence is not None:
                    _relieve(habit, quiet, changes)
                elif quiet > habit.longest:
                    habit.longest = quiet
            elif looks >= habit.check_at:
                self._doubt(habit, looks, weight, changes)
        for habit in self._waiting.values():
            if looks >= habit.check_at:
                self._doubt_waiting(habit, looks, weight, newest, changes)

    def half_forget(self, *, next_day: bool) -> None:
        """A half-life has passed."""
        for habit in self._habits.values():
            habit.half_forget()
            if next_day:
                habit.next_day()

    def excuse(self, now_ns: int, changes: Changes) -> None:
        """What the exchange will not or can not deliver has been told by name: it is no mute."""
        for habit in self._habits.values():
            if habit.mute is not None and str(habit.topic) in self._state.refused:
                changes.unmuted.append(msgspec.structs.replace(habit.mute, to=now_ns))
                habit.mute = None

    def _greet(self, seen: Mapping[str, int], looks: float, weight: float) -> None:
        """Some have delivered for the first time on this connection, or ever."""
        for symbol in self._waiting.keys() & seen.keys():
            habit = self._waiting.pop(symbol)
            if not habit.seen_ns:
                habit.first, habit.base = looks, weight - 1.0
                # How long it took to come is the exchange's doing, and says nothing of what follows.
                habit.quiet_since = math.inf

    def _doubt(self, habit: Habit, looks: float, weight: float, changes: Changes) -> None:
        """It is quiet for as long as could mean something."""
        quiet, topic = looks - habit.quiet_since, habit.topic
        if quiet >= self._silence_after and habit.silence is None:
            habit.silence = Silence(
                topic.exchange, self._state.name, topic.stream.value, topic.symbol, habit.seen_ns, None, self._expected
            )
            changes.silent.append(habit.silence)
        limit = habit.limit(weight, self._options)
        if limit is not None and quiet >= limit:
            self._mute(habit, habit.seen_ns, STOPPED, changes)
        self._ask_again(habit, looks, limit)

    def _doubt_waiting(self, habit: Habit, looks: float, weight: float, newest: Mapping[Topic, int], changes: Changes) -> None:
        """It has not delivered on this connection. Before, it may have."""
        quiet, topic = looks - habit.quiet_since, habit.topic
        opened_ns = self._state.connected_ns or 0
        limit = habit.limit(weight, self._options)
        if limit is not None and quiet >= limit:
            self._mute(habit, opened_ns, STOPPED, changes)
        elif quiet >= max(self._first_after, PATIENCE * habit.longest_quiet) and (
            topic.stream is not StreamType.TRADE or newest.get(topic, 0) > opened_ns + CLOCKS_AGREE
        ):
            self._mute(habit, opened_ns, NEVER, changes)
        self._ask_again(habit, looks, limit)

    def _mute(self, habit: Habit, since_ns: int, reason: str, changes: Changes) -> None:
        topic = habit.topic
        if habit.mute is None and str(topic) not in self._state.refused:
            habit.mute = Mute(topic.exchange, self._state.name, topic.stream.value, topic.symbol, since_ns, None, reason)
            changes.muted.append(habit.mute)

    def _ask_again(self, habit: Habit, looks: float, limit: float | None) -> None:
        """When something new can be said of it, if nothing comes."""
        marks = (self._silence_after, self._first_after, math.inf if limit is None else limit)
        coming = (mark for mark in (habit.quiet_since + mark for mark in marks) if mark > looks)
        habit.check_at = min((looks + ASK_AGAIN, *coming))


def _relieve(habit: Habit, quiet: float, changes: Changes) -> None:
    """It delivers again."""
    if habit.mute is not None:
        changes.unmuted.append(msgspec.structs.replace(habit.mute, to=habit.seen_ns))
        habit.mute = None
        habit.learn(quiet)
    if habit.silence is not None:
        changes.unsilent.append(msgspec.structs.replace(habit.silence, to=habit.seen_ns))
        habit.silence = None
