"""What is worth telling of the process."""

from __future__ import annotations

from typing import ClassVar

import attrs

from quantlab_collector.runtime.notices.telling import ERROR, WARNING, Notice
from quantlab_collector.runtime.state import ServiceState


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
class StatusFailed(Notice):
    """The HTTP interface broke down. The recording does not depend on it; it is opened again."""

    event: ClassVar[str] = "status_failed"
    level: ClassVar[int] = ERROR
    flood: ClassVar[bool] = True
    fault: str
    retry_in: float


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
    waiting_segments: int = 0
    """In the spool; the next start ships them."""
    waiting_bytes: int = 0


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
    silence_15m: int
    mutes: int
    """Topics that do not deliver now."""
    rss_mb: float
    upload_lag: float
    """Seconds since the oldest segment was sealed that is not in the store."""


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
