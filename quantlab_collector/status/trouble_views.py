"""``/gaps``: what is missing, or seems to be. And how fresh each topic is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from quantlab_collector.contracts.manifest import Gap, Mute, Silence
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.notices import plain_text
from quantlab_collector.runtime.signals import MEMORY, Subject, TroublesView, subject
from quantlab_collector.runtime.state import ConnectionView, Snapshot
from quantlab_collector.status.times import iso, millis

Json: TypeAlias = dict[str, Any]

FRESH, QUIET, SILENT, MUTE = "fresh", "quiet", "silent", "mute"
FRESH_FOR: Final = 10_000_000_000
"""ns since the last message."""

SHOWN: Final = 100
"""Of each kind, unless more are asked for: answers stay small."""


def gaps(snapshot: Snapshot, limit: int = SHOWN) -> Json:
    """Of each kind the open ones first, then the newest that have ended, ``limit`` in all."""
    signals = snapshot.signals
    return {
        "gaps": _shown(signals.gaps, limit),
        "mutes": _shown(signals.mutes, limit),
        "silences": _shown(signals.silences, limit),
        "totals": {
            "gaps": signals.gaps.total,
            "mutes": signals.mutes.total,
            "silences": signals.silences.total,
            "missed_events": _by_stream(signals.missed),
            "repeated_numbers": _by_stream(signals.repeated),
        },
    }


def read_limit(text: str | None) -> int | None:
    """How many are asked for; ``None`` if that cannot be read."""
    if text is None:
        return SHOWN
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MEMORY else None


class Freshness:
    """How each topic of a snapshot does, in one word."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._mute = {subject(mute) for mute in snapshot.signals.mutes.open}
        self._silent = {subject(silence) for silence in snapshot.signals.silences.open}
        self._now_ns = snapshot.started_ns + int(snapshot.uptime * 1e9)

    def word(self, connection: ConnectionView, topic: Topic) -> str:
        """A mute is worse than a silence, and that is worse than being quiet, which many may be."""
        name: Subject = (connection.exchange, connection.name, topic.stream.value, topic.symbol)
        if name in self._mute or (connection.exchange, connection.name, None, None) in self._mute:
            return MUTE
        if name in self._silent:
            return SILENT
        seen_ns = connection.last_seen.get(topic)
        return FRESH if seen_ns is not None and self._now_ns - seen_ns <= FRESH_FOR else QUIET


def last_seen(connection: ConnectionView, topic: Topic) -> int | None:
    """When it last came, on this connection or one before, ms."""
    return millis(connection.last_seen.get(topic, connection.seen_before.get(topic)))


def _shown(troubles: TroublesView[Any], limit: int) -> list[Json]:
    newest = (trouble for group in (troubles.open, troubles.ended) for trouble in reversed(group))
    return [_trouble(trouble) for _, trouble in zip(range(limit), newest, strict=False)]


def _trouble(trouble: Gap | Mute | Silence) -> Json:
    shown: Json = {
        "exchange": trouble.exchange,
        "connection": trouble.connection,
        "stream": trouble.stream,
        "symbol": trouble.symbol,
        "since": iso(trouble.since),
        "to": None if trouble.to is None else iso(trouble.to),
        "seconds": None if trouble.to is None else round((trouble.to - trouble.since) / 1e9, 3),
    }
    if isinstance(trouble, Silence):
        return {**shown, "expected": trouble.expected}
    shown["reason"] = plain_text(trouble.reason)
    return {**shown, "missed": trouble.missed} if isinstance(trouble, Gap) else shown


def _by_stream(counts: Mapping[tuple[str, str], int]) -> Json:
    return {f"{exchange}/{stream}": count for (exchange, stream), count in counts.items()}
