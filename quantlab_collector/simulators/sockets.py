"""The WebSocket side of a simulator as a server: listeners, handshakes, and a wall around each connection."""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NoReturn

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream
from wsproto.utilities import ProtocolError

from quantlab_collector.simulators.faults import Faults
from quantlab_collector.simulators.line import Line

_HANDSHAKE_TIMEOUT: Final = 10.0
_GOODBYE_TIMEOUT: Final = 2.0
_QUEUE: Final = 64
_MAX_MESSAGE: Final = 1024 * 1024
_READ_SIZE: Final = 65_536
"""Large enough to read an address that is refused as too long."""

_REBIND_TIMEOUT: Final = 5.0
_REBIND_PAUSE: Final = 0.05

Talk = Callable[[WebSocketRequest], Awaitable[None]]


async def serve_sockets(
    talk: Talk,
    host: str,
    port: int,
    ssl_context: ssl.SSLContext | None,
    faults: Faults | None = None,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Run ``talk`` for every client until cancelled; the started value is the address."""
    faults = faults or Faults(None, time.time_ns)
    listeners = await trio.open_tcp_listeners(port, host=host)
    bound = listeners[0].socket.getsockname()[1]
    address = f"ws://{host}:{bound}" if ssl_context is None else f"wss://localhost:{bound}"
    serve = partial(_serve_stream, talk, faults)
    try:
        async with trio.open_nursery() as connections:
            while True:
                async with trio.open_nursery() as listening:
                    listen = partial(trio.serve_listeners, handler_nursery=connections)
                    await listening.start(listen, serve, _secured(listeners, ssl_context))
                    task_status.started(address)
                    task_status = trio.TASK_STATUS_IGNORED
                    await faults.wait_down()
                    listening.cancel_scope.cancel("a restart was ordered")
                await faults.wait_up()
                listeners = await _listen_again(bound, host)
    finally:
        faults.let_go()


def _secured(
    listeners: list[trio.SocketListener], ssl_context: ssl.SSLContext | None
) -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
    if ssl_context is None:
        return listeners
    return [trio.SSLListener(listener, ssl_context, https_compatible=True) for listener in listeners]


async def _listen_again(port: int, host: str) -> list[trio.SocketListener]:
    """Take the same port. While nobody listened, some client may have got it for its own end: that passes."""
    with trio.move_on_after(_REBIND_TIMEOUT):
        while True:
            try:
                return await trio.open_tcp_listeners(port, host=host)
            except OSError:
                await trio.sleep(_REBIND_PAUSE)
    return await trio.open_tcp_listeners(port, host=host)


async def _serve_stream(talk: Talk, faults: Faults, stream: trio.abc.Stream) -> None:
    """One TCP connection. Whatever the network or the peer does wrong stays in here."""
    try:
        # Not serve_websocket(): there an error of the library's reader, such as a ping that meets our close, ends the server.
        async with stream, trio.open_nursery() as nursery:
            if faults.websocket_door.leaves_hanging():
                await trio.sleep_forever()
            line = Line(stream, nursery)
            faults.connected(line)
            try:
                await _serve_line(talk, faults, line, stream, nursery)
            finally:
                faults.disconnected(line)
    except* (ConnectionClosed, ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def _serve_line(talk: Talk, faults: Faults, line: Line, stream: trio.abc.Stream, nursery: trio.Nursery) -> None:
    request = None
    with trio.move_on_after(_HANDSHAKE_TIMEOUT):
        if isinstance(stream, trio.SSLStream):
            await stream.do_handshake()
        request = await wrap_server_stream(nursery, line, _QUEUE, _MAX_MESSAGE, _READ_SIZE)
    if request is not None:
        refusal = faults.websocket_door.refusal()
        if refusal is None:
            await talk(_Request(request, faults, line))
        else:
            headers = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
            await request.reject(refusal.status, extra_headers=headers)
    # The library's reader may still be saying goodbye.
    nursery.cancel_scope.deadline = trio.current_time() + _GOODBYE_TIMEOUT


class _Request(WebSocketRequest):
    """A handshake that tells when it is accepted: from then on the faults can reach the WebSocket by its number."""

    def __init__(self, request: WebSocketRequest, faults: Faults, line: Line) -> None:
        super().__init__(request._connection, request._event)  # noqa: SLF001 - the library has no hook for this
        self._faults = faults
        self._line = line

    async def accept(
        self, *, subprotocol: str | None = None, extra_headers: list[tuple[bytes, bytes]] | None = None
    ) -> WebSocketConnection:
        # The number is taken before anything waits, so that it is the exchange's own.
        self._faults.admit(self._line, self._connection)
        websocket = await super().accept(subprotocol=subprotocol, extra_headers=extra_headers)
        self._faults.admitted(self._line)
        return websocket
