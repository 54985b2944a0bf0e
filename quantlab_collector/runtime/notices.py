"""One class for each thing worth telling. Telling it writes the log line *and* moves the counter, so the two cannot disagree.

A kind that may come in floods is told at most once per second for the same subject; the line that comes next says how many were
passed over. A kind that says nothing new the second time is told once per subject. Counting is never throttled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import ConnectionWindow, Gap
from quantlab_collector.runtime.state import ConnectionState, ServiceState

MAX_TEXT = 300
"""Longer texts of a peer are cut in the log."""

MAX_SUBJECTS = 1000
"""Some subjects are named by a peer, so their number is bounded; those beyond are held back together."""

OTHERS = "other"


class Log(Protocol):
    """As much of structlog as is needed here."""

    def log(self, level: int, event: str, **fields: Any) -> Any:
        """Write one line."""
        ...


DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40


@attrs.frozen
class Notice:
    """Something worth telling."""

    event: ClassVar[str]
    level: ClassVar[int] = INFO
    flood: ClassVar[bool] = False
    """Whether it may come in floods."""
    once: ClassVar[bool] = False
    """Whether only the first of a subject is told."""

    def subject(self) -> object:
        """What it is about: floods are held back, and repetitions passed over, per subject."""
        return None

    def count(self, state: ServiceState) -> None:
        """Move the counters that belong to it."""

    def fields(self) -> dict[str, Any]:
        """What the log line says."""
        return {key: plain(value) for key, value in attrs.asdict(self, recurse=False).items() if value is not None}


def plain(value: object) -> object:
    """What a peer may have written is made fit to be shown, wherever it stands; the rest is left to the renderer."""
    if isinstance(value, bytes):
        # Cut first: a frame may be megabytes, and four bytes are the most that a character takes.
        return plain_text(value[: 4 * MAX_TEXT + 4].decode("utf-8", "replace"))
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return value


def plain_text(text: str) -> str:
    """Cut, and shorn of control characters."""
    shown = text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
    return shown if shown.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)


class Notices:
    """Where notices go."""

    def __init__(self, state: ServiceState, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self.state = state
        self._log = log
        self._clock = clock
        self._told: dict[object, float] = {}
        self._held_back: dict[object, int] = {}

    def tell(self, notice: Notice) -> None:
        """Count it, and write its line unless the same was told already."""
        notice.count(self.state)
        held_back = 0
        if notice.flood or notice.once:
            key = (type(notice), notice.subject())
            if key not in self._told and len(self._told) >= MAX_SUBJECTS:
                key = (type(notice), OTHERS)
            now = self._clock()
            told = self._told.get(key)
            if told is not None and (notice.once or now - told < 1.0):
                self._held_back[key] = self._held_back.get(key, 0) + 1
                return
            self._told[key] = now
            held_back = self._held_back.pop(key, 0)
        fields = notice.fields()
        if held_back:
            fields["held_back"] = held_back
        self._log.log(notice.level, notice.event, **fields)


# ------------------------------------------------------------------------------------------------------- the process


@attrs.frozen
class CollectorStart(Notice):
    """The process is up; what it will do."""

    event: ClassVar[str] = "collector_start"
    version: str
    instance: str
    storage: str
    exchanges: dict[str, int]
    """Topics by exchange."""
    status: str | None = None


@attrs.frozen
class StatusExposed(Notice):
    """The HTTP interface is not bound to this machine alone."""

    event: ClassVar[str] = "status_exposed"
    level: ClassVar[int] = WARNING
    host: str
    text: str = "everyone who reaches this address can read the state; it is not protected by a password"


@attrs.frozen
class CollectorStop(Notice):
    """The process ends."""

    event: ClassVar[str] = "collector_stop"
    reason: str
    exit_code: int
    received: int
    written: int
    dropped: int
    pending: int
    rejected: int


@attrs.frozen
class Stopping(Notice):
    """A signal came: no more is taken in, what is there is shipped."""

    event: ClassVar[str] = "collector_stopping"
    signal: str
    pending: int

    def count(self, state: ServiceState) -> None:
        """From here on the service is not ready."""
        state.stopping = True


@attrs.frozen
class StateChange(Notice):
    """READY, DEGRADED, OFFLINE or ERROR."""

    event: ClassVar[str] = "state_change"
    level: ClassVar[int] = WARNING
    old: str
    new: str
    reasons: tuple[str, ...]


@attrs.frozen
class Pulse(Notice):
    """A sign of life with the most important figures."""

    event: ClassVar[str] = "heartbeat"
    state: str
    queue_pct: float
    events_per_sec: float
    received: int
    written: int
    pending: int
    drops: int
    rejects: int
    reconnects_15m: int
    rss_mb: float


@attrs.frozen
class BooksBroken(Notice):
    """A bug: the accounting identity does not hold."""

    event: ClassVar[str] = "books_broken"
    level: ClassVar[int] = ERROR
    flood: ClassVar[bool] = True
    received: int
    written: int
    dropped: int
    pending: int
    rejected: int


# ------------------------------------------------------------------------------------------------------- connections


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
    """A connection was down for a while; what its streams sent meanwhile is missing."""

    event: ClassVar[str] = "gap_detected"
    level: ClassVar[int] = WARNING
    exchange: str
    connection: str
    since: int
    to: int
    seconds: float
    reason: str

    def count(self, state: ServiceState) -> None:
        """It stands in the next manifest."""
        state.gaps.append(Gap(self.exchange, self.connection, self.since, self.to, self.reason))


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


# ------------------------------------------------------------------------------------------------------------ events


@attrs.frozen
class QueueFullDrop(Notice):
    """The queue was full; the newest events were dropped. The books were moved by the outlet, in one go with what was kept."""

    event: ClassVar[str] = "queue_full_drop"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    exchange: str
    stream: StreamType
    dropped: int

    def subject(self) -> object:
        """Each stream is told."""
        return (self.exchange, self.stream)


@attrs.frozen
class SpoolFullDrop(QueueFullDrop):
    """The spool has reached its limit; events are dropped until there is room."""

    event: ClassVar[str] = "spool_full_drop"
    level: ClassVar[int] = ERROR

    def count(self, state: ServiceState) -> None:
        """Out of the writer's hands."""
        state.books.discard(self.exchange, self.stream, self.dropped, "spool_full")


@attrs.frozen
class FrameRejected(Notice):
    """A message should have been an event and could not be read. The connection lives on."""

    event: ClassVar[str] = "frame_rejected"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    exchange: str
    stream: StreamType | None
    reason: str
    frame: bytes

    def subject(self) -> object:
        """Each reason is told."""
        return (self.exchange, self.reason)

    def count(self, state: ServiceState) -> None:
        """One message received, one rejected."""
        state.books.reject(self.exchange, self.stream, self.reason)


MAX_UNKNOWN_KINDS = 200
"""The exchange chooses the names of kinds, so their number is bounded here; the rest is counted together."""


@attrs.frozen
class UnknownMessage(Notice):
    """A well-formed message of a kind that nobody asked for; told once per kind."""

    event: ClassVar[str] = "unknown_message"
    level: ClassVar[int] = WARNING
    once: ClassVar[bool] = True
    exchange: str
    kind: str

    def subject(self) -> object:
        """Each kind is told."""
        return (self.exchange, self.kind)

    def count(self, state: ServiceState) -> None:
        """By exchange and kind."""
        key = (self.exchange, self.kind)
        if key not in state.unknown and len(state.unknown) >= MAX_UNKNOWN_KINDS:
            key = (self.exchange, OTHERS)
        state.unknown[key] += 1


# ----------------------------------------------------------------------------------------------------------- storage


@attrs.frozen
class SegmentCommitted(Notice):
    """A segment is in the store, and its manifest names its parts."""

    event: ClassVar[str] = "segment_committed"
    segment: str
    rows: int
    parts: int
    bytes: int
    recovered: bool
    seconds: float
    """From sealed to committed."""

    def count(self, state: ServiceState) -> None:
        """Files and segments; the books are moved by stream, where the parts are known."""
        state.writer.files_written += self.parts
        state.writer.segments_committed += 1
        state.writer.storage_fault = None


@attrs.frozen
class SegmentRecovered(Notice):
    """A segment of an earlier process was found and is being shipped."""

    event: ClassVar[str] = "segment_recovered"
    level: ClassVar[int] = WARNING
    segment: str
    rows: int
    holes: tuple[str, ...]


@attrs.frozen
class UploadFailed(Notice):
    """The store did not take a file. It is tried again."""

    event: ClassVar[str] = "upload_failed"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    key: str
    fault: str
    retry_in: float

    def count(self, state: ServiceState) -> None:
        """One failure more, and the reason why nothing is shipped."""
        state.writer.upload_failures += 1
        state.writer.storage_fault = self.fault


@attrs.frozen
class Quarantined(Notice):
    """Something in the spool is not ours or cannot be read. It was put aside, not deleted."""

    event: ClassVar[str] = "spool_quarantine"
    level: ClassVar[int] = WARNING
    path: str
    reason: str
