"""The door of the HTTP interface: who comes in, and what becomes of them at the stop.

It has a number of seats, for the files of the journal come out of the same purse as connections; it lets in only as many a second
as the recording can spare; and an error in one connection stays there. What is said behind it stands in ``conversation``.
"""

from __future__ import annotations

import errno
import logging
from contextlib import AsyncExitStack
from math import inf
from typing import Final

import trio

from quantlab_collector.status.budget import CONNECTION_COST, Budget
from quantlab_collector.status.conversation import App, Conversation, Idle
from quantlab_collector.status.options import StatusOptions

SEATS: Final = 64
"""Connections at the same time; who comes beyond that is shown the door."""

GRACE: Final = 1.0
"""Seconds that open requests have left after the stop."""

_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""No connection can be taken now; it waits with the kernel."""

PAUSE: Final = 0.1
"""Seconds until there may be room again."""

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
    async with trio.open_nursery() as nursery:
        door = Door(app, nursery)
        async with AsyncExitStack() as open_listeners:
            for listener in listeners:
                await open_listeners.enter_async_context(listener)
                nursery.start_soon(door.attend, listener, name="status door")
            task_status.started(_url(listeners[0]))
            await stop.wait()
            door.idle.end()
        nursery.cancel_scope.deadline = trio.current_time() + GRACE


async def _listen(options: StatusOptions) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(options.port, host=options.host)
    except OSError as error:
        place = f"{options.host}:{options.port}"
        raise OSError(error.errno, f"the status page cannot have {place}: {error.strerror}") from error


def _url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Door:
    """Where connections come in."""

    def __init__(self, app: App, nursery: trio.Nursery) -> None:
        self._app = app
        self._nursery = nursery
        self._seats = trio.Semaphore(SEATS)
        self._budget = Budget()
        self.idle = Idle()

    async def attend(self, listener: trio.SocketListener) -> None:
        """Wait for one client, leave the door to the next task, and talk.

        Whoever opens the door talks himself: to call somebody else would take another turn of the loop, which is full.
        """
        stream = None
        with self.idle.waiting(inf):  # with the kernel, at no cost to us, until the budget allows
            await self._budget.wait_turn(CONNECTION_COST)
            stream = await _accept(listener)
        if stream is not None:
            self._nursery.start_soon(self.attend, listener, name="status door")
            await self._let_in(stream)

    async def _let_in(self, stream: trio.SocketStream) -> None:
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


async def _accept(listener: trio.SocketListener) -> trio.SocketStream:
    """A connection, as soon as there is one, and room for it."""
    told = False
    while True:
        try:
            return await listener.accept()
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            if not told:
                _log.error("no room for a connection to the status page: %s", error.strerror)
                told = True
        await trio.sleep(PAUSE)
