"""What the rest of the intake knows of a WebSocket: a wire, and one kind of fault.

There are two wires behind this interface, and one suite of tests that both pass. The default one (``wire.py``) reads whole
buffers off the socket and peels frames itself; the other (``wire_trio_websocket.py``) is an independent implementation to
compare with.

This is also the seam where foreign errors end: whatever goes wrong below comes out as a ``TransportFault``.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Protocol

import attrs


class FaultKind(StrEnum):
    """What went wrong, coarse enough to act upon."""

    RESOLVE = "resolve"
    """The name did not resolve."""
    CONNECT = "connect"
    """No TCP connection."""
    TLS = "tls"
    """The peer is not who it says it is, or does not speak TLS."""
    HANDSHAKE = "handshake"
    """The peer answered, and not as a WebSocket server does."""
    REFUSED = "refused"
    """The peer refused the handshake with an HTTP status."""
    TIMEOUT = "timeout"
    """A limit passed while connecting, sending or closing."""
    CLOSED = "closed"
    """The connection ended: by a close frame, or without one (code 1006)."""
    PROTOCOL = "protocol"
    """The peer broke the WebSocket protocol; we closed with ``close_code``."""
    TOO_BIG = "too_big"
    """A message above the limit; we closed with 1009."""
    ANNOUNCED = "announced"
    """The exchange said that it is about to end the connection; told by the connection, not by a wire."""
    IDLE = "idle"
    """No data for too long; told by the connection, not by a wire."""


class TransportFault(Exception):
    """The connection did not come about, or is over."""

    def __init__(
        self,
        kind: FaultKind,
        detail: str = "",
        *,
        status: int | None = None,
        retry_after: float | None = None,
        close_code: int | None = None,
        close_reason: str = "",
    ) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.status = status
        """The HTTP status of a refused handshake."""
        self.retry_after = retry_after
        """Seconds, from the Retry-After header of a refused handshake (delta or date)."""
        self.close_code = close_code
        """1006 when the connection ended without a close frame."""
        self.close_reason = close_reason

    def __str__(self) -> str:
        parts: list[str] = [self.kind.value]
        if self.status is not None:
            parts.append(f"HTTP {self.status}")
        if self.close_code is not None:
            parts.append(f"code {self.close_code}")
        if self.close_reason:
            parts.append(repr(self.close_reason))
        if self.detail:
            parts.append(self.detail)
        return " ".join(parts)


def retry_after_seconds(value: str, now: datetime | None = None) -> float | None:
    """How long a Retry-After header asks to wait: it holds seconds or a date. ``None`` if it holds neither."""
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": the time is UTC, the place is not told
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


@attrs.frozen
class WireOptions:
    """What a wire needs to know besides the address."""

    tls: ssl.SSLContext | None = None
    """Used for ``wss``; one context for the whole process."""
    connect_timeout: float = 10.0
    """For name, TCP, TLS and the WebSocket handshake together."""
    send_timeout: float = 5.0
    """A peer that does not take our bytes for so long is gone."""
    close_timeout: float = 1.0
    """How long to wait for the peer's part of the closing handshake."""
    max_message_bytes: int = 4 * 1024 * 1024
    wall_ns: Callable[[], int] = time.time_ns
    """The clock of ``Wire.ts_recv``."""


class Wire(Protocol):
    """An open WebSocket."""

    @property
    def ts_recv(self) -> int:
        """When the read returned that brought what ``receive`` gave last, ns: before it was decrypted, cut or answered."""
        ...

    async def receive(self) -> list[bytes]:
        """Wait for the peer, then return what one read brought, oldest first; possibly nothing (control frames only).

        Text messages are plain ``bytes``, binary ones ``BinaryMessage``. Pings are answered in here, with their payload.
        Cancelling it loses nothing. Raises ``TransportFault`` when the connection is over; messages that came before the end are
        returned first.
        """
        ...

    async def send(self, message: bytes) -> None:
        """Send one text message. Several tasks may send."""
        ...

    async def start_close(self, code: int = 1000, reason: str = "") -> None:
        """Send our close frame. Whoever wants what the peer had already sent goes on calling ``receive`` until it raises."""
        ...


class OpenWire(Protocol):
    """How a wire is opened: a context manager that owns the socket."""

    def __call__(self, url: str, options: WireOptions) -> AbstractAsyncContextManager[Wire]:
        """Connect, and close at the end."""
        ...
