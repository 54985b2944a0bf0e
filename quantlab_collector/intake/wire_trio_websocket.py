"""The other wire: the same interface over trio-websocket, an independent implementation to compare with.

Where it differs from the default wire, its library does. Text that is no UTF-8 ends the connection; when the peer breaks the
protocol no close frame is sent; messages behind our own close frame are lost; the message limit counts what has come in, not what
the header claims; a refusal without a Content-Length is only known as a handshake that ended.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias, cast
from urllib.parse import SplitResult, urlsplit

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from quantlab_collector.exchanges.protocol import BinaryMessage
from quantlab_collector.intake.tls import tls_detail
from quantlab_collector.intake.transport import FaultKind, TransportFault, Wire, WireOptions, retry_after_seconds
from quantlab_collector.intake.wire import default_tls, open_tcp

_Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]

_READ_BYTES = 64 * 1024

_QUEUED_MESSAGES = 1024
"""The library reads nothing while its queue is full, and answers no pings."""

_BROKEN_BY_PEER = (1002, 1007)
"""The library tells its own verdict like a close frame; a peer's close frame with such a code is taken for one."""

_TOO_BIG = "Exceeded maximum message size"
"""So begins the library's own reason for a close with 1009."""


@asynccontextmanager
async def open_wire(url: str, options: WireOptions) -> AsyncIterator[Wire]:
    """Connect, and close at the end. Raises ``TransportFault``."""
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        reader = _Reader(nursery)
        try:
            wire = await _connect(url, options, reader)
            try:
                yield wire
            finally:
                with trio.move_on_after(options.close_timeout, shield=True):
                    await wire.say_goodbye()
                wire.hang_up()
        except BaseException as error:  # noqa: BLE001 - raised again behind the nursery, which would make a group of it
            failure = error
        reader.scope.cancel()
    if failure is not None:
        raise failure


class _Reader:
    """Runs the library's reading task, and keeps its end, good or bad, from being anybody else's.

    It stands in for the nursery that the library wants. The library itself waits for a handshake even if its reader is gone: the
    end of the reader ends ``opening``, the scope of that wait.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.scope = trio.CancelScope(shield=True)  # the last frames go through it when all else is cancelled
        self.opening = trio.CancelScope()
        self.error: Exception | None = None

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._run, task)

    async def _run(self, task: Callable[[], Awaitable[None]]) -> None:  # noqa: ASYNC910 - the library's reader has them
        with self.scope:
            try:
                await task()
            except Exception as error:  # noqa: BLE001 - whatever it is, the wire makes a fault of it
                self.error = error
        self.opening.cancel()


async def _connect(url: str, options: WireOptions, reader: _Reader) -> LibraryWire:
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    host = parts.hostname or ""
    try:
        with trio.fail_after(options.connect_timeout):
            tcp = await open_tcp(host, parts.port or (443 if secure else 80))
            try:
                stream = await _secure(tcp, host, options.tls or default_tls()) if secure else tcp
                connection = await _upgrade(stream, parts, options, reader)
            except BaseException:
                tcp.socket.close()
                raise
    except trio.TooSlowError:
        raise TransportFault(FaultKind.TIMEOUT, f"not connected within {options.connect_timeout:g} s") from None
    return LibraryWire(connection, tcp, reader, options)


async def _secure(tcp: trio.SocketStream, host: str, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    # The library would leave the handshake to its reader, which takes a failure for a lost connection and waits on.
    stream = trio.SSLStream(tcp, context, server_hostname=host, https_compatible=True)
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        raise TransportFault(FaultKind.TLS, tls_detail(cause) if isinstance(cause, OSError) else str(error)) from error
    return stream


async def _upgrade(stream: _Stream, parts: SplitResult, options: WireOptions, reader: _Reader) -> WebSocketConnection:
    with reader.opening:
        return await wrap_client_stream(
            cast("trio.Nursery", reader),
            stream,
            parts.netloc.rpartition("@")[2],
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            message_queue_size=_QUEUED_MESSAGES,
            max_message_size=options.max_message_bytes,
            receive_buffer_size=_READ_BYTES,
        )
    raise _handshake_fault(reader.error)


class LibraryWire:
    """A ``Wire`` over a connection of the library."""

    def __init__(self, connection: WebSocketConnection, tcp: trio.SocketStream, reader: _Reader, options: WireOptions) -> None:
        self._connection = connection
        self._tcp = tcp
        self._reader = reader
        self._options = options
        self._broken: TransportFault | None = None
        """What we did to the connection ourselves; the library knows the rest."""
        self.ts_recv = 0
        """See ``Wire``; here it is the time at which a message came out of the library's queue."""

    async def receive(self) -> list[bytes]:
        """See ``Wire``. One message at a time: the library has no other way."""
        try:
            message = await self._connection.get_message()
            self.ts_recv = self._options.wall_ns()
        except ConnectionClosed:
            raise self._fault() from None
        return [message.encode() if isinstance(message, str) else BinaryMessage(message)]

    async def send(self, message: bytes) -> None:
        """See ``Wire``. A send that is cancelled may have torn a frame: it is the last."""
        if self._broken is not None:
            raise self._broken
        try:
            with trio.fail_after(self._options.send_timeout):
                await self._connection.send_message(message.decode())
        except trio.TooSlowError:
            self._broken = TransportFault(FaultKind.TIMEOUT, "the peer does not take what we send")
            raise self._broken from None
        except trio.Cancelled:
            self._broken = TransportFault(FaultKind.CLOSED, "a message was cut off", close_code=1006)
            raise
        except (ConnectionClosed, LocalProtocolError):
            raise self._fault() from None

    async def start_close(self, code: int = 1000, reason: str = "") -> None:
        """See ``Wire``. The library waits for the answer in here, and discards what comes before it."""
        with trio.move_on_after(self._options.close_timeout) as limit:
            await self._close(code, reason)
        if limit.cancelled_caught:
            self._broken = TransportFault(FaultKind.TIMEOUT, "the peer did not answer our close frame")

    async def say_goodbye(self) -> None:  # noqa: ASYNC910 - nothing to say, nothing to wait for
        """Close, and give the peer a moment to answer."""
        if self._broken is None:
            await self._close(1000, None)

    def hang_up(self) -> None:
        """Close the socket, as it is."""
        self._tcp.socket.close()

    async def _close(self, code: int, reason: str | None) -> None:  # noqa: ASYNC910 - the library's aclose() is a checkpoint
        with suppress(LocalProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            await self._connection.aclose(code, reason or None)

    def _fault(self) -> TransportFault:
        if self._broken is not None:
            return self._broken
        closed = self._connection.closed
        if closed is None:
            kind = FaultKind.PROTOCOL if isinstance(self._reader.error, RemoteProtocolError) else FaultKind.CLOSED
            return TransportFault(kind, repr(self._reader.error), close_code=1006)
        reason = closed.reason or ""
        if closed.code in _BROKEN_BY_PEER:
            return TransportFault(FaultKind.PROTOCOL, reason, close_code=closed.code)
        if reason.startswith(_TOO_BIG):
            return TransportFault(FaultKind.TOO_BIG, reason, close_code=closed.code)
        return TransportFault(FaultKind.CLOSED, close_code=closed.code, close_reason=reason)


def _handshake_fault(error: Exception | None) -> TransportFault:
    if isinstance(error, ConnectionRejected):
        waits = (value.decode("latin-1") for name, value in error.headers if name.lower() == b"retry-after")
        return TransportFault(FaultKind.REFUSED, status=error.status_code, retry_after=retry_after_seconds(next(waits, "")))
    return TransportFault(FaultKind.HANDSHAKE, str(error) if error else "the peer closed during the handshake")
