"""What is worth telling of connections and exchanges."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from quantlab_collector.contracts.manifest import ConnectionWindow, Gap
from quantlab_collector.runtime.notices.telling import DEBUG, WARNING, Notice
from quantlab_collector.runtime.state import ConnectionState, ServiceState

MISSING: Final = "numbers are missing"
MISSING_ACROSS: Final = "numbers are missing across an outage"
"""Of one symbol; the outage is a gap of its own, and counts once."""


@attrs.frozen
class WsConnect(Notice):
    """A socket is open."""

    event: ClassVar[str] = "ws_connect"
    exchange: str
    connection: str
    url: str
    topics: int


@attrs.frozen
class WsDisconnect(Notice):
    """A socket is lost, or an attempt failed."""

    event: ClassVar[str] = "ws_disconnect"
    level: ClassVar[int] = WARNING
    exchange: str
    connection: str
    fault: str
    attempts: int
    retry_in: float | None
    """Seconds; none when it is given up."""


@attrs.frozen
class GapDetected(Notice):
    """A connection was down for a while, and what its streams sent meanwhile is missing; or numbers of events are."""

    event: ClassVar[str] = "gap_detected"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    exchange: str
    connection: str
    since: int
    to: int
    seconds: float
    reason: str
    stream: str | None = None
    symbol: str | None = None
    missed: int | None = None

    def subject(self) -> object:
        """Each stream is told; the symbols stand in the manifest."""
        return (self.exchange, self.connection, self.stream)

    def count(self, state: ServiceState) -> None:
        """It stands in the next manifest."""
        signals = state.signals
        signals.gaps.total += self.reason != MISSING_ACROSS
        signals.gaps.end(
            Gap(self.exchange, self.connection, self.since, self.to, self.reason, self.stream, self.symbol, self.missed)
        )
        if self.stream is not None and self.missed is not None:
            signals.missed[self.exchange, self.stream] += self.missed


@attrs.frozen
class NumberRepeated(Notice):
    """An event came with a number that had passed. It is recorded: RAW does not judge."""

    event: ClassVar[str] = "number_repeated"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    exchange: str
    connection: str
    stream: str
    symbol: str
    number: int

    def subject(self) -> object:
        """Each stream is told."""
        return (self.exchange, self.connection, self.stream)

    def count(self, state: ServiceState) -> None:
        """By exchange and stream."""
        state.signals.repeated[self.exchange, self.stream] += 1


@attrs.frozen
class ConnectionEnded(Notice):
    """How long a connection lasted; its window stands in the next manifest."""

    event: ClassVar[str] = "ws_window"
    level: ClassVar[int] = DEBUG
    connection: ConnectionState
    to: int
    reason: str

    def count(self, state: ServiceState) -> None:
        """It stands in the next manifest."""
        state.windows_closed.append(
            ConnectionWindow(
                self.connection.exchange, self.connection.name, self.connection.connected_ns or self.to, self.to, self.reason
            )
        )

    def fields(self) -> dict[str, Any]:
        """Names only."""
        return {"exchange": self.connection.exchange, "connection": self.connection.name, "to": self.to, "reason": self.reason}


@attrs.frozen
class AlignmentFailed(Notice):
    """REST could not be asked for the newest times. The recording does not depend on it."""

    event: ClassVar[str] = "alignment_failed"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    exchange: str
    connection: str
    fault: str

    def subject(self) -> object:
        """Each exchange is told."""
        return self.exchange


@attrs.frozen
class SymbolUnlisted(Notice):
    """The exchange does not have a symbol that is wanted. Everything else is recorded."""

    event: ClassVar[str] = "symbol_unlisted"
    level: ClassVar[int] = WARNING
    exchange: str
    symbol: str


@attrs.frozen
class InstrumentsUnknown(Notice):
    """The exchange's list of instruments could not be had; whether it has the wanted symbols, only data will tell."""

    event: ClassVar[str] = "instruments_unknown"
    level: ClassVar[int] = WARNING
    exchange: str
    fault: str


@attrs.frozen
class SubscribeRefused(Notice):
    """The exchange would not subscribe something."""

    event: ClassVar[str] = "subscribe_refused"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    exchange: str
    connection: str
    topic: str | None
    code: int | str | None
    text: str

    def subject(self) -> object:
        """Each topic is told."""
        return (self.exchange, self.connection, self.topic)


@attrs.frozen
class ExchangeNotice(Notice):
    """The exchange told us something."""

    event: ClassVar[str] = "exchange_notice"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    exchange: str
    connection: str
    kind: str
    text: str

    def subject(self) -> object:
        """Each kind is told."""
        return (self.exchange, self.kind)
