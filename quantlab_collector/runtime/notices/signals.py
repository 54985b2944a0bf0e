"""What is worth telling of topics that do not deliver.

Many topics may fall mute in one second, for one reason: those of a stream on a connection are told in one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, ClassVar, Final, TypeVar

import attrs

from quantlab_collector.contracts.manifest import Mute, Silence
from quantlab_collector.runtime.notices.telling import WARNING, Notice
from quantlab_collector.runtime.state import ServiceState

MAX_NAMED: Final = 20
"""Of more symbols a line says only how many they are. The manifest and ``/gaps`` have them all."""

_Trouble = TypeVar("_Trouble", Mute, Silence)


@attrs.frozen
class StreamMute(Notice):
    """Topics should deliver, and do not."""

    event: ClassVar[str] = "stream_mute"
    level: ClassVar[int] = WARNING
    mutes: tuple[Mute, ...]

    def count(self, state: ServiceState) -> None:
        """They stand in the next manifest, and in those after it until they end."""
        for mute in self.mutes:
            state.signals.mutes.begin(mute)

    def fields(self) -> dict[str, Any]:
        """Who, since when, and how it was found out."""
        return {**_named(self.mutes), "reason": self.mutes[0].reason}


@attrs.frozen
class StreamMuteEnded(Notice):
    """They deliver again, or it is known now why they do not."""

    event: ClassVar[str] = "stream_mute_ended"
    mutes: tuple[Mute, ...]

    def count(self, state: ServiceState) -> None:
        """They stand in the next manifest for the last time."""
        for mute in self.mutes:
            state.signals.mutes.end(mute)

    def fields(self) -> dict[str, Any]:
        """Who, and for how long."""
        return {**_named(self.mutes), "seconds": _longest(self.mutes)}


@attrs.frozen
class SilenceDetected(Notice):
    """Topics are quiet for longer than their exchange ever is."""

    event: ClassVar[str] = "silence_detected"
    level: ClassVar[int] = WARNING
    silences: tuple[Silence, ...]

    def count(self, state: ServiceState) -> None:
        """They stand in the next manifest, and in those after it until they end."""
        for silence in self.silences:
            state.signals.silences.begin(silence)

    def fields(self) -> dict[str, Any]:
        """Who, since when, and what was expected."""
        return {**_named(self.silences), "expected": self.silences[0].expected}


@attrs.frozen
class SilenceEnded(Notice):
    """They deliver again."""

    event: ClassVar[str] = "silence_ended"
    silences: tuple[Silence, ...]

    def count(self, state: ServiceState) -> None:
        """They stand in the next manifest for the last time."""
        for silence in self.silences:
            state.signals.silences.end(silence)

    def fields(self) -> dict[str, Any]:
        """Who, and for how long."""
        return {**_named(self.silences), "seconds": _longest(self.silences)}


def together(troubles: Sequence[_Trouble]) -> list[tuple[_Trouble, ...]]:
    """Those that go into one line."""
    return [tuple(group) for _, group in groupby(sorted(troubles, key=_line), key=_line)]


def _line(trouble: Mute | Silence) -> tuple[str, str, str, str]:
    why = trouble.reason if isinstance(trouble, Mute) else ""
    return (trouble.exchange, trouble.connection, trouble.stream or "", why)


def _named(troubles: Sequence[Mute | Silence]) -> dict[str, Any]:
    first = troubles[0]
    named: dict[str, Any] = {"exchange": first.exchange, "connection": first.connection}
    if first.stream is not None:
        named["stream"] = first.stream
    if len(troubles) > 1:
        named |= {"topics": len(troubles), "symbols": tuple(trouble.symbol for trouble in troubles[:MAX_NAMED])}
    elif first.symbol is not None:
        named["symbol"] = first.symbol
    return {**named, "since": min(trouble.since for trouble in troubles)}


def _longest(troubles: Sequence[Mute | Silence]) -> float:
    return round(max((trouble.to or trouble.since) - trouble.since for trouble in troubles) / 1e9, 3)
