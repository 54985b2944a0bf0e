"""A scripted peer on loopback. It does the upgrade by hand and sends what the script says, byte for byte.

It knows nothing of the libraries under test; only its TLS is Trio's, because one ``send_all`` there is one record.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import trio
import trustme

from quantlab_collector.intake.transport import OpenWire, TransportFault, Wire, WireOptions

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

CA = trustme.CA()


def server_tls(*names: str, ca: trustme.CA = CA, **options) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*(names or ("localhost", "127.0.0.1")), **options).configure_cert(context)
    return context


def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


def frame(
    payload: bytes = b"", opcode: int = TEXT, *, fin: bool = True, rsv: int = 0, masked: bool = False, form: int = 0
) -> bytes:
    """A frame as a server sends it, and some that no server should. ``form`` is the least length encoding: 0, 126 or 127."""
    size = len(payload)
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask = 0x80 if masked else 0
    if size > 0xFFFF or form == 127:
        header = struct.pack(">BBQ", first, mask | 127, size)
    elif size > 125 or form == 126:
        header = struct.pack(">BBH", first, mask | 126, size)
    else:
        header = struct.pack(">BB", first, mask | size)
    return header + (b"\0\0\0\0" if masked else b"") + payload


def close_frame(code: int | None = None, reason: str = "") -> bytes:
    return frame(b"" if code is None else struct.pack(">H", code) + reason.encode(), CLOSE)


def accepting(request: bytes) -> bytes:
    """The response that opens the WebSocket."""
    key = next(line.split(b":", 1)[1].strip() for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return UPGRADE + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"


def unmasked(data: bytes, mask: bytes) -> bytes:
    """As one great number: byte by byte takes seconds for a megabyte."""
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")


class Peer:
    """The server's end of one connection."""

    def __init__(self, tcp: trio.SocketStream, stream: trio.abc.Stream) -> None:
        self.tcp = tcp
        self.stream = stream
        self._inbox = bytearray()

    async def read_request(self) -> bytes:
        while b"\r\n\r\n" not in self._inbox:
            chunk = await self.stream.receive_some()
            assert chunk, "the client left"
            self._inbox += chunk
        request, _, rest = bytes(self._inbox).partition(b"\r\n\r\n")
        self._inbox[:] = rest
        return request + b"\r\n\r\n"

    async def accept(self, and_then: bytes = b"") -> None:
        await self.send(accepting(await self.read_request()) + and_then)

    async def send(self, *pieces: bytes) -> None:
        """One write, and with TLS one record, for each piece."""
        for piece in pieces:
            await self.stream.send_all(piece)

    async def _exactly(self, count: int) -> bytes:
        while len(self._inbox) < count:
            chunk = await self.stream.receive_some()
            if not chunk:
                raise EOFError
            self._inbox += chunk
        data = bytes(self._inbox[:count])
        del self._inbox[:count]
        return data

    async def next_frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the client's next frame. Raises ``EOFError`` if there is none."""
        first, second = await self._exactly(2)
        assert first & 0xF0 == 0x80, "final, no extensions"
        assert second & 0x80, "clients mask"
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self._exactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._exactly(8), "big")
        mask = await self._exactly(4)
        data = await self._exactly(size)
        return first & 0x0F, unmasked(data, mask)

    async def next_close(self) -> tuple[int, str]:
        """Code and reason of the client's close frame; what comes before it is skipped."""
        while True:
            opcode, payload = await self.next_frame()
            if opcode == CLOSE:
                return struct.unpack(">H", payload[:2])[0], payload[2:].decode()

    async def wait_for_end(self) -> None:
        """Until the client has closed."""
        with suppress(trio.BrokenResourceError):
            while await self.stream.receive_some():
                pass

    def reset(self) -> None:
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tcp.socket.close()


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@attrs.frozen
class Setting:
    """One wire, over TCP or over TLS."""

    name: str
    open_wire: OpenWire
    secure: bool

    @property
    def is_default(self) -> bool:
        return self.name == "wire"

    @asynccontextmanager
    async def serve(self, script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[str]:
        """Run the script for each connection; what it raises, the test raises."""
        context = (tls or server_tls()) if self.secure else None

        async def handle(tcp: trio.SocketStream) -> None:
            stream: trio.abc.Stream = tcp
            if context is not None:
                stream = trio.SSLStream(tcp, context, server_side=True, https_compatible=True)
                try:
                    await stream.do_handshake()
                except trio.BrokenResourceError:
                    return  # the client's judgement, which is what the test looks at
            await script(Peer(tcp, stream))
            with suppress(trio.BrokenResourceError):
                await stream.aclose()

        async with listening(handle) as port:
            yield f"{'wss' if self.secure else 'ws'}://{host}:{port}/ws?streams=btcusdt@bookTicker"

    @asynccontextmanager
    async def talk(self, script: Script, **options) -> AsyncIterator[Wire]:
        """A wire to a peer that follows the script."""
        with trio.fail_after(10):
            async with self.serve(script) as url, self.open_wire(url, self.options(**options)) as wire:
                yield wire

    def options(self, **changes) -> WireOptions:
        return WireOptions(**{"tls": client_tls() if self.secure else None, "close_timeout": 0.02, **changes})

    async def fault_of(
        self, script: Script, *, server: ssl.SSLContext | None = None, host: str = "127.0.0.1", **options
    ) -> TransportFault:
        """How opening a wire to such a peer fails."""
        with trio.fail_after(10):
            async with self.serve(script, tls=server, host=host) as url:
                return await opening_fault(self.open_wire, url, self.options(**options))


async def opening_fault(open_wire: OpenWire, url: str, options: WireOptions) -> TransportFault:
    try:
        async with open_wire(url, options):
            raise AssertionError("it opened")
    except TransportFault as fault:
        return fault


async def drain(wire: Wire) -> tuple[list[bytes], TransportFault]:
    """All there is, and why there is no more."""
    messages: list[bytes] = []
    try:
        while True:
            messages += await wire.receive()
    except TransportFault as fault:
        return messages, fault


async def take(wire: Wire, count: int) -> list[bytes]:
    messages: list[bytes] = []
    while len(messages) < count:
        messages += await wire.receive()
    assert len(messages) == count
    return messages
