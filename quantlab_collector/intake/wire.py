"""The default wire: one read of the socket for a whole buffer of messages.

TLS (``tls.py``) and WebSocket (``fastlane.py``) know nothing of sockets; here they meet one. Between a frame, its record and the
buffer of what is to be sent there is no ``await``, so all keep their order, whoever else sends. Bytes leave that buffer as the
kernel takes them: a cancelled send tears no frame, its rest stays in front.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from math import inf

import trio

from quantlab_collector.intake.fastlane import Lane
from quantlab_collector.intake.tls import Tls, tls_detail
from quantlab_collector.intake.transport import FaultKind, TransportFault, Wire, WireOptions

_READ_BYTES = 64 * 1024


@asynccontextmanager
async def open_wire(url: str, options: WireOptions) -> AsyncIterator[Wire]:
    """Connect, and close at the end. Raises ``TransportFault``."""
    lane = Lane(url, options.max_message_bytes)
    try:
        with trio.fail_after(options.connect_timeout):
            wire = await _connect(lane, options)
    except trio.TooSlowError:
        raise TransportFault(FaultKind.TIMEOUT, f"not connected within {options.connect_timeout:g} s") from None
    try:
        yield wire
    finally:
        with trio.move_on_after(options.close_timeout, shield=True):
            await wire.say_goodbye()
        wire.hang_up()


async def _connect(lane: Lane, options: WireOptions) -> SocketWire:
    stream = await open_tcp(lane.host, lane.port)
    try:
        wire = SocketWire(stream.socket, lane, options)
        if lane.secure:
            await wire.secure()
        await wire.upgrade()
    except BaseException:
        stream.socket.close()
        raise
    return wire


async def open_tcp(host: str, port: int) -> trio.SocketStream:
    """Resolve the name in a thread and try its addresses, the next one soon after the one before. Small sends are not delayed."""
    try:
        return await trio.open_tcp_stream(host, port)
    except (socket.gaierror, UnicodeError) as error:
        raise TransportFault(FaultKind.RESOLVE, f"{host}: {error}") from error
    except OSError as error:
        several = error.__cause__
        failures = several.exceptions if isinstance(several, ExceptionGroup) else (error,)
        raise TransportFault(FaultKind.CONNECT, "; ".join(map(str, failures))) from error


@cache
def default_tls() -> ssl.SSLContext:
    """The system's authorities, host names checked, TLS 1.2 or later. Made once: it reads files."""
    return ssl.create_default_context()


class SocketWire:
    """A ``Wire``, from a connected socket on."""

    def __init__(self, connected: trio.socket.SocketType, lane: Lane, options: WireOptions) -> None:
        self._socket = connected
        self._lane = lane
        self._options = options
        self._tls: Tls | None = None
        # One buffer for all reads: a new one for each would be fetched from the system and given back, page by page.
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._arrived: list[bytes] = []
        """Messages that nobody has got yet: they came with the handshake."""
        self._outgoing = bytearray()
        self._sending = trio.Lock()
        self._fault: TransportFault | None = None
        """Why nothing more will come."""
        self._unheard: TransportFault | None = None
        """Why nothing more can be sent. What the peer said before it left is still to be read."""
        self._reading = trio.CancelScope()
        self.ts_recv = 0
        """See ``Wire``."""
        self._close_by = inf

    # ---------------------------------------------------------------------------------------------------------- connecting

    async def secure(self) -> None:  # noqa: ASYNC910 - a handshake has to receive something
        """Do the TLS handshake. There is no way round it: whatever goes wrong is a fault."""
        tls = Tls(self._options.tls or default_tls(), self._lane.host)
        data = b""
        try:
            while not tls.shake_hands(data):
                self._outgoing += tls.data_to_send()
                await self._flush()
                data = await self._socket.recv(_READ_BYTES)
                if not data:
                    raise TransportFault(FaultKind.TLS, "the peer closed during the handshake")
        except OSError as error:  # ssl.SSLError is one
            raise TransportFault(FaultKind.TLS, tls_detail(error)) from error
        self._outgoing += tls.data_to_send()
        self._tls = tls

    async def upgrade(self) -> None:  # noqa: ASYNC910 - and so has this one
        """Do the WebSocket handshake."""
        self._queue()
        while not self._lane.accepted:
            if self._fault is not None:
                raise self._fault
            await self._flush()
            self._arrived = await self._read()

    # ------------------------------------------------------------------------------------------------------------ the wire

    async def receive(self) -> list[bytes]:
        """See ``Wire``.

        What came is given before the ping that came with it is answered: to send gives way to other connections, and what they
        read meanwhile would overtake it.
        """
        if not self._arrived and self._outgoing:
            await self._flush()
        if self._arrived or self._fault is not None:
            await trio.lowlevel.checkpoint()
        else:
            self._arrived = await self._read()
        if self._arrived:
            messages, self._arrived = self._arrived, []
            return messages
        if self._outgoing:
            await self._flush()
        if self._fault is not None:
            raise self._fault
        return []

    async def send(self, message: bytes) -> None:
        """See ``Wire``."""
        if (fault := self._fault or self._unheard) is not None:
            raise fault
        self._lane.send_text(message)
        self._queue()
        await self._flush()
        if self._unheard is not None:
            raise self._unheard

    async def start_close(self, code: int = 1000, reason: str = "") -> None:
        """See ``Wire``. The peer has ``close_timeout`` to answer; then ``receive`` raises."""
        if self._lane.is_open:
            self._lane.start_close(code, reason)
            self._queue()
            self._close_by = self._reading.deadline = trio.current_time() + self._options.close_timeout
        await self._flush()

    async def say_goodbye(self) -> None:  # noqa: ASYNC910 - nothing to say, nothing to wait for
        """Tell the peer if it still listens, but wait for no answer."""
        if self._fault is None:
            await self.start_close()

    def hang_up(self) -> None:
        """Close the socket, as it is."""
        self._socket.close()

    # ----------------------------------------------------------------------------------------------------------- the socket

    async def _read(self) -> list[bytes]:
        how = ""
        with trio.CancelScope(deadline=self._close_by) as self._reading:
            try:
                data = await self._arriving()
                self.ts_recv = self._options.wall_ns()
            except (OSError, trio.ClosedResourceError) as error:  # a reset is an end like any other, after what came before it
                data, how = b"", str(error)
            return self._understand(data, how)  # noqa: ASYNC910 - recv() is a checkpoint, also when it raises
        self._fault = TransportFault(FaultKind.TIMEOUT, "the peer did not answer our close frame")
        return []

    async def _arriving(self) -> bytes:
        """What comes next. To wait first and read then takes less than the socket's own ``recv``, which tries first."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            with suppress(BlockingIOError):
                count = os.readv(self._socket.fileno(), (self._buffer,))
                return bytes(self._buffer[:count])

    def _understand(self, data: bytes, how: str) -> list[bytes]:
        ended = not data
        error = None
        if self._tls is not None:
            data = self._tls.decrypt(data)
            ended = ended or self._tls.ended
            error = self._tls.error
        messages = self._lane.receive(data)
        fault = self._lane.fault
        if fault is None and error is not None:
            fault = TransportFault(FaultKind.TLS, tls_detail(error))
        elif fault is None and ended:
            self._lane.receive_eof(how)
            fault = self._lane.fault
        self._fault = self._fault or fault
        self._queue()
        return messages

    def _queue(self) -> None:
        data = self._lane.data_to_send()
        if self._tls is not None:
            self._tls.encrypt(data)
            data = self._tls.data_to_send()
        self._outgoing += data

    async def _flush(self) -> None:  # noqa: ASYNC910 - what there is to send may be sent already
        try:
            with trio.fail_after(self._options.send_timeout):
                async with self._sending:
                    while self._outgoing:
                        sent = await self._socket.send(self._outgoing)
                        del self._outgoing[:sent]
        except trio.TooSlowError:
            self._unheard = TransportFault(FaultKind.TIMEOUT, "the peer does not take what we send")
            self._fault = self._fault or self._unheard
        except (OSError, trio.ClosedResourceError) as error:
            self._unheard = TransportFault(FaultKind.CLOSED, str(error), close_code=1006)
            self._outgoing.clear()
