"""The WebSocket side of a simulator as a server: listeners, handshakes, and a wall around each connection."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, wrap_server_stream
from wsproto.utilities import ProtocolError

_HANDSHAKE_TIMEOUT: Final = 10.0
_GOODBYE_TIMEOUT: Final = 2.0
_QUEUE: Final = 64
_MAX_MESSAGE: Final = 1024 * 1024
_READ_SIZE: Final = 65_536
"""Large enough to read an address that is refused as too long."""

Talk = Callable[[WebSocketRequest], Awaitable[None]]


async def serve_sockets(
    talk: Talk,
    host: str,
    port: int,
    ssl_context: ssl.SSLContext | None,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run ``talk`` for every client until cancelled; the started value is the address."""
    listeners = await trio.open_tcp_listeners(port, host=host)
    bound = listeners[0].socket.getsockname()[1]
    serving: Sequence[trio.abc.Listener[trio.abc.Stream]] = listeners
    address = f"ws://{host}:{bound}"
    if ssl_context is not None:
        serving = [trio.SSLListener(listener, ssl_context, https_compatible=True) for listener in listeners]
        address = f"wss://localhost:{bound}"
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, partial(_serve_stream, talk), serving)
        task_status.started(address)


async def _serve_stream(talk: Talk, stream: trio.abc.Stream) -> None:
    """One TCP connection. Whatever the network or the peer does wrong stays in here."""
    try:
        # Not serve_websocket(): there an error of the library's reader, such as a ping that meets our close, ends the server.
        async with stream, trio.open_nursery() as nursery:
            request = None
            with trio.move_on_after(_HANDSHAKE_TIMEOUT):
                if isinstance(stream, trio.SSLStream):
                    await stream.do_handshake()
                request = await wrap_server_stream(nursery, stream, _QUEUE, _MAX_MESSAGE, _READ_SIZE)
            if request is not None:
                await talk(request)
            # The library's reader may still be saying goodbye.
            nursery.cancel_scope.deadline = trio.current_time() + _GOODBYE_TIMEOUT
    except* (ConnectionClosed, ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
        pass
