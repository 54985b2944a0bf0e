"""What is done to events on their way from the market to the clients: left out, told twice, dated wrongly."""

from __future__ import annotations

from typing import Protocol

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.injection import Injection


class Bendable(Protocol):
    """An event before anybody has heard of it."""

    exchange_ms: int
    copies: int


@attrs.define(eq=False)
class _Bend:
    """One distortion of the events of a kind and a symbol, or of any."""

    injection: Injection
    kind: StreamType | None
    symbol: str | None
    left: int = 0
    copies: int = 0
    shift_ms: int = 0

    def concerns(self, kind: StreamType, symbol: str) -> bool:
        return self.kind in {None, kind} and self.symbol in {None, symbol}


class Distortions:
    """All that is in force. ``active`` is false in the usual case, so that it costs nothing."""

    def __init__(self) -> None:
        self.active = False
        self._mutes: list[_Bend] = []
        self._bends: list[_Bend] = []

    def mute(self, injection: Injection, kind: StreamType | None, symbol: str | None) -> None:
        """Deliver nothing of these."""
        self._mutes.append(_Bend(injection, kind, symbol))
        self.active = True

    def unmute(self, kind: StreamType | None, symbol: str | None) -> int:
        """Take back the same mute; tells how many there were."""
        before = len(self._mutes)
        self._mutes = [mute for mute in self._mutes if (mute.kind, mute.symbol) != (kind, symbol)]
        return before - len(self._mutes)

    def repeat(self, injection: Injection, count: int, kind: StreamType | None, symbol: str | None) -> None:
        """Deliver the next ``count`` of these once more."""
        self._bends.append(_Bend(injection, kind, symbol, left=count, copies=1))
        self.active = True

    def shift(self, injection: Injection, ms: int, count: int, kind: StreamType | None, symbol: str | None) -> None:
        """Move the exchange time of the next ``count`` of these."""
        self._bends.append(_Bend(injection, kind, symbol, left=count, shift_ms=ms))
        self.active = True

    def is_muted(self, kind: StreamType, symbol: str) -> bool:
        """For exchanges that repeat the last state by a clock of their own."""
        return any(mute.concerns(kind, symbol) for mute in self._mutes)

    def apply(self, event: Bendable, kind: StreamType, symbol: str) -> None:
        """Bend one event. What is muted uses up nothing of the rest."""
        for mute in self._mutes:
            if mute.concerns(kind, symbol):
                mute.injection.hit()
                event.copies = 0
                return
        for bend in self._bends:
            if bend.left and bend.concerns(kind, symbol):
                bend.left -= 1
                bend.injection.hit()
                event.copies += bend.copies
                event.exchange_ms += bend.shift_ms
        self._bends = [bend for bend in self._bends if bend.left]
        self.active = bool(self._mutes or self._bends)
