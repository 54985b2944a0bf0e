"""The door of the HTTP interface: who comes in, and what becomes of them at the stop.

It has a number of seats, for the files of the journal come out of the same purse as connections; it lets in only as many a second
as the recording can spare; and an error in one connection stays there. What is said behind it stands in ``conversation``.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

import trio

from quantlab_collector.status.budget import CONNECTION_COST, Budget
from quantlab_collector.status.conversation import App, Conversation, Idle
from quantlab_collector.status.options import StatusOptions

SEATS: Final = 64
"""Connections at the same time; who comes beyond that is shown the door."""

GRACE: Final = 1.0
"""Seconds that open requests have left after the stop."""

_log = logging.getLogger(__name__)


async def serve_status(
    app: App,
    options: StatusOptions,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until ``stop``; ``started`` gives the address. A port that is taken is an ``OSError`` that says so."""
    listeners = await _listen(options)
    door = _Door(app)
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            budget = Budget()
            in_turn = [_PatientListener(listener, budget) for listener in listeners]
            accept = partial(trio.serve_listeners, door.let_in, in_turn, handler_nursery=connections)
            accepting.start_soon(accept, name="status door")
            task_status.started(_url(listeners[0]))
            await stop.wait()
            accepting.cancel_scope.cancel(reason="stopping")
        door.idle.end()
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

    def __init__(self, app: App) -> None:
        self._app = app
        self._seats = trio.Semaphore(SEATS)
        self.idle = Idle()

    async def let_in(self, stream: trio.SocketStream) -> None:
        """One connection, from the first byte to the last."""
        try:
            self._seats.acquire_nowait()
        except trio.WouldBlock:
            await trio.aclose_forcefully(stream)
            return
        try:
            await Conversation(self._app, stream, self.idle).run()
        except* Exception:  # noqa: BLE001 - whatever it is, the others go on
            _log.exception("a connection to the status page failed")
        finally:
            self._seats.release()


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
