"""One TCP connection of a client, in a hand that can cut it.

Whatever is done to a line is done to the socket at once. The exchange behind it only finds its connection broken, as a real one
would: it stops sending, and nothing more enters the ledger. What the kernel had taken before is in the ledger, delivered or not:
a reset throws it away on the way.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Final

import trio
from trio_websocket import WebSocketConnection

_GOODBYE_TIMEOUT: Final = 2.0
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: close() throws away what is unsent and sends RST."""


class Line(trio.abc.Stream):
    """The stream under a WebSocket, as it is or as slow as it is told to be."""

    def __init__(self, stream: trio.abc.Stream, nursery: trio.Nursery) -> None:
        transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        if not isinstance(transport, trio.SocketStream):
            raise TypeError(f"not a TCP connection: {stream!r}")
        self._stream = stream
        self._socket = transport.socket
        self._nursery = nursery
        self.number: int | None = None
        """Counted from 1 in the order in which WebSockets are accepted; before that it has none."""
        self.websocket: WebSocketConnection | None = None
        self.bytes_per_second: float | None = None

    # ------------------------------------------------------------------------------------------------- as a stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send at the speed of this line. A frame counts as sent when its last byte is."""
        place = 0
        while (speed := self.bytes_per_second) is not None and place < len(data):
            await self._stream.send_all(data[place : place + 1])
            place += 1
            await trio.sleep(1 / speed)
        if place < len(data) or not data:
            await self._stream.send_all(data[place:] if place else data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream below."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the stream below."""
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """As the stream below."""
        await self._stream.aclose()

    # ------------------------------------------------------------------------------------------------- in our hand

    def cut(self) -> None:
        """End the connection without a close frame: FIN, and nobody is there any more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._socket.close()

    def reset(self) -> None:
        """End the connection with RST. What is still on its way is lost."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.close()

    def freeze(self) -> trio.socket.SocketType | None:
        """Neither read nor send from now on, and send no FIN: what is given back must be kept for as long."""
        try:
            held = self._socket.dup()
        except OSError:
            return None  # closed already
        self._socket.close()  # our end only: the copy keeps the connection
        return held

    def close(self, code: int, reason: str) -> None:
        """Say good-bye with a close frame, behind the frame that is being sent; who does not answer is cut off."""
        if self.websocket is not None:
            self._nursery.start_soon(self._say_goodbye, self.websocket, code, reason)

    def say(self, message: str | bytes) -> None:
        """Send a message that is no event, behind the one that is being sent."""
        if self.websocket is not None:
            self._nursery.start_soon(self.websocket.send_message, message)

    async def _say_goodbye(self, websocket: WebSocketConnection, code: int, reason: str) -> None:
        with trio.move_on_after(_GOODBYE_TIMEOUT):
            await websocket.aclose(code, reason)
