"""What is missing, or seems to be: the gaps, mutes and silences that are told, and how many there were.

The notices write here. What has ended is kept twice: until a sealed segment tells it, and in a short memory for whoever asks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Final, Generic, TypeAlias, TypeVar

import attrs

from quantlab_collector.contracts.manifest import Gap, Mute, Silence
from quantlab_collector.runtime.windows import Window

MEMORY: Final = 1_000
"""Of what has ended, so many of each kind are remembered."""

MAX_UNTOLD: Final = 10_000
"""More than so many of a kind between two sealed segments are only counted: wild numbers of an exchange must not fill us."""

_Trouble = TypeVar("_Trouble", Gap, Mute, Silence)

Subject: TypeAlias = tuple[str, str, str | None, str | None]
"""What trouble is about: exchange, connection, stream, symbol."""


def subject(trouble: Gap | Mute | Silence) -> Subject:
    """What it is about."""
    return (trouble.exchange, trouble.connection, trouble.stream, trouble.symbol)


@attrs.frozen
class TroublesView(Generic[_Trouble]):
    """One kind of trouble at one instant."""

    total: int = 0
    last_15m: int = 0
    open: tuple[_Trouble, ...] = ()
    ended: tuple[_Trouble, ...] = ()
    """The newest last, as far as they are remembered."""


@attrs.frozen
class SignalsView:
    """What is missing, at one instant."""

    gaps: TroublesView[Gap] = TroublesView()
    mutes: TroublesView[Mute] = TroublesView()
    silences: TroublesView[Silence] = TroublesView()
    missed: Mapping[tuple[str, str], int] = attrs.field(factory=dict)
    """Events that the exchange numbered and that never came, by exchange and stream."""
    repeated: Mapping[tuple[str, str], int] = attrs.field(factory=dict)
    """Events whose number had passed already. They are recorded like any other."""


@attrs.define(eq=False)
class Record(Generic[_Trouble]):
    """One kind of trouble."""

    total: int = 0
    """How many began."""
    open: dict[Subject, _Trouble] = attrs.field(factory=dict)
    untold: list[_Trouble] = attrs.field(factory=list)
    """Ended since the last sealed segment."""
    recent: deque[_Trouble] = attrs.field(factory=lambda: deque(maxlen=MEMORY))
    """The newest last."""
    window: Window = attrs.field(factory=Window)

    def begin(self, trouble: _Trouble) -> None:
        """It has begun."""
        self.total += 1
        self.open[subject(trouble)] = trouble

    def end(self, trouble: _Trouble) -> None:
        """It has ended."""
        self.open.pop(subject(trouble), None)
        self.recent.append(trouble)
        if len(self.untold) < MAX_UNTOLD:
            self.untold.append(trouble)

    @property
    def known(self) -> tuple[_Trouble, ...]:
        """What the next sealed segment tells: what has ended since the last one, and what has not ended."""
        return tuple(self.untold) + tuple(self.open.values())

    def told(self, told: tuple[_Trouble, ...]) -> None:
        """These stand in a sealed segment."""
        del self.untold[: sum(trouble.to is not None for trouble in told)]

    def view(self) -> TroublesView[_Trouble]:
        """At this instant."""
        return TroublesView(self.total, self.window.change(), tuple(self.open.values()), tuple(self.recent))


@attrs.define(eq=False)
class SignalState:
    """What is missing, or seems to be."""

    gaps: Record[Gap] = attrs.field(factory=Record)
    """Open gaps are not here: a connection that is down knows since when."""
    mutes: Record[Mute] = attrs.field(factory=Record)
    silences: Record[Silence] = attrs.field(factory=Record)
    missed: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    repeated: Counter[tuple[str, str]] = attrs.field(factory=Counter)

    def sample(self, now: float) -> None:
        """Feed the windows; called about once a second."""
        for record in (self.gaps, self.mutes, self.silences):
            record.window.sample(now, record.total)

    def view(self, open_gaps: tuple[Gap, ...]) -> SignalsView:
        """At this instant."""
        return SignalsView(
            gaps=attrs.evolve(self.gaps.view(), open=open_gaps),
            mutes=self.mutes.view(),
            silences=self.silences.view(),
            missed=dict(self.missed),
            repeated=dict(self.repeated),
        )
