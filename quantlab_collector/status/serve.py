"""The HTTP server: Hypercorn speaks HTTP, and the door is ours.

Hypercorn's own accept loop has three habits that a recorder cannot afford. It takes any number of connections, and the files of
the journal come out of the same purse. It shields its writes without a limit, so that a client who does not read can hold up a
stop. And an error in one connection ends the server, and with it whoever runs the server. So the door has a number of seats, a
limit for every write, and keeps the errors of a connection to that connection.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Final, cast

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from hypercorn.utils import wrap_app

from quantlab_collector.status.app import StatusApp
from quantlab_collector.status.budget import CONNECTION_COST, Budget
from quantlab_collector.status.options import StatusOptions

SEATS: Final = 64
"""Connections at the same time; who comes beyond that is shown the door."""

IDLE_LIMIT: Final = 5
"""Seconds for the head of a request to arrive, and between two requests of one connection."""

READ_SIZE: Final = 8 * 1024
"""The head of a request may have 16 KiB. Hypercorn looks at that only between two reads, and would read 64 KiB at once."""

WRITE_LIMIT: Final = 2.0
"""Seconds in which a client must take an answer. It bounds the stop, too."""

GRACE: Final = 1.0
"""Seconds that open requests have left after the stop."""

_log = logging.getLogger(__name__)


async def serve_status(
    app: StatusApp,
    options: StatusOptions,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until ``stop``; ``started`` gives the address. A port that is taken is an ``OSError`` that says so."""
    listeners = await _listen(options)
    context = WorkerContext(None)
    door = _Door(app, context)
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            budget = Budget()
            in_turn = [_PatientListener(listener, budget) for listener in listeners]
            accept = partial(trio.serve_listeners, door.let_in, in_turn, handler_nursery=connections)
            accepting.start_soon(accept, name="status door")
            task_status.started(_url(listeners[0]))
            await stop.wait()
            accepting.cancel_scope.cancel(reason="stopping")
        await context.terminated.set()  # idle connections end now
        connections.cancel_scope.deadline = trio.current_time() + GRACE


async def _listen(options: StatusOptions) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(options.port, host=options.host)
    except OSError as error:
        place = f"{options.host}:{options.port}"
        raise OSError(error.errno, f"the status page cannot have {place}: {error.strerror}") from error


def _url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Door:
    """Where connections come in."""

    def __init__(self, app: StatusApp, context: WorkerContext) -> None:
        self._app = wrap_app(cast(ASGIFramework, app), 0, "asgi")
        self._context = context
        self._config = _config()
        self._seats = trio.Semaphore(SEATS)

    async def let_in(self, stream: trio.SocketStream) -> None:
        """One connection, from the first byte to the last."""
        try:
            self._seats.acquire_nowait()
        except trio.WouldBlock:
            await trio.aclose_forcefully(stream)
            return
        try:
            await _Connection(self._app, self._config, self._context, ConnectionState({}), cast(Any, _LimitedStream(stream)))
        except* Exception:  # noqa: BLE001 - whatever it is, the others go on
            _log.exception("a connection to the status page failed")
        finally:
            self._seats.release()


def _config() -> Config:
    config = Config()
    config.accesslog = config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = IDLE_LIMIT
    config.read_timeout = IDLE_LIMIT  # some ways through Hypercorn (a refused upgrade, HTTP/2) lose the timer above
    return config


class _Connection(TCPServer):
    """A peer that has gone is not idle: Hypercorn would keep its socket, and so its seat, until the limit."""

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()


class _PatientListener(trio.abc.Listener[trio.SocketStream]):
    """Takes connections only as fast as the budget allows; the others wait with the kernel, at no cost to us."""

    def __init__(self, listener: trio.SocketListener, budget: Budget) -> None:
        self._listener = listener
        self._budget = budget

    async def accept(self) -> trio.SocketStream:
        await self._budget.wait_turn(CONNECTION_COST)
        return await self._listener.accept()

    async def aclose(self) -> None:
        await self._listener.aclose()


class _LimitedStream(trio.abc.HalfCloseableStream):
    """A socket whose peer must read. Hypercorn shields its writes from cancellation; the limit stands inside that shield."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with trio.move_on_after(WRITE_LIMIT) as limit:
            await self._stream.send_all(data)
        if limit.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError("the client does not read")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(min(max_bytes or READ_SIZE, READ_SIZE))

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()
