"""One client's connection: requests in, answers out, one after the other, in one task.

h11 reads and writes HTTP/1.1, the application is asked by ASGI, an answer goes out in one piece. What a general server has beyond
that (upgrades, HTTP/2, uploads, tasks that look after each other) nobody needs here, and each of its steps waits for a turn of
the loop, which the recording has filled already.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from email.utils import formatdate
from socket import SHUT_WR
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import h11
import trio

Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[
    [dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
"""An application, as ASGI has it."""

IDLE_LIMIT: Final = 5
"""Seconds for the head of a request to arrive, and between two requests of one connection."""

HEAD_LIMIT: Final = 16 * 1024
"""Bytes of the head of a request."""

READ_SIZE: Final = 8 * 1024

WRITE_LIMIT: Final = 2.0
"""Seconds in which a client must take an answer. It bounds the stop, too."""


class Idle:
    """Who waits for a client or for a request. A stop ends them at once; the others are let finish."""

    def __init__(self) -> None:
        self.stopping = False
        self._waiting: set[trio.CancelScope] = set()

    @contextmanager
    def waiting(self, limit: float) -> Iterator[None]:
        """So many seconds, and no longer than until the stop."""
        with trio.move_on_after(limit) as scope:
            self._waiting.add(scope)
            if self.stopping:
                scope.cancel(reason="stopping")
            try:
                yield
            finally:
                self._waiting.remove(scope)

    def end(self) -> None:
        """Nobody waits from here on."""
        self.stopping = True
        for scope in self._waiting:
            scope.cancel(reason="stopping")


class Conversation:
    """A connection, from the first byte to the last."""

    def __init__(self, app: App, stream: trio.SocketStream, idle: Idle) -> None:
        self._app = app
        self._stream = stream
        self._idle = idle
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)

    async def run(self) -> None:
        """Answer what is asked until the client goes, or is to go."""
        try:
            await self._converse()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # the client has gone, or does not read
        finally:
            with suppress(OSError):
                self._stream.socket.shutdown(SHUT_WR)
            self._stream.socket.close()

    async def _converse(self) -> None:
        try:
            while (request := await self._request()) is not None:
                await self._answer(request)
                if self._idle.stopping or {self._http.our_state, self._http.their_state} != {h11.DONE}:
                    return
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as fault:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self._send(fault.error_status_hint, [(b"content-length", b"0")], b"", last=True)

    async def _request(self) -> h11.Request | None:
        """The head of the next request; ``None`` if none came."""
        with self._idle.waiting(IDLE_LIMIT):
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._receive())
            if isinstance(event, h11.Request):
                return event
        return None

    async def _receive(self) -> bytes:
        """What is there already is taken without giving way: another turn of the loop may take as long as all the rest."""
        with suppress(BlockingIOError):
            return os.read(self._stream.socket.fileno(), READ_SIZE)
        return bytes(await self._stream.receive_some(READ_SIZE))

    async def _answer(self, request: h11.Request) -> None:
        # Nobody reads a body. Who sends one gets an answer, and has to go: what follows could not be told from it.
        last = not isinstance(self._http.next_event(), h11.EndOfMessage)
        answer = _Answer()
        await self._app(self._scope(request), answer.nothing_to_read, answer.take)
        body = b"" if request.method == b"HEAD" else bytes(answer.body)
        await self._send(answer.status, answer.headers, body, last=last)

    def _scope(self, request: h11.Request) -> dict[str, Any]:
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode().upper(),
            "scheme": "http",
            "path": unquote(path.decode()),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": self._stream.socket.getpeername()[:2],
            "server": self._stream.socket.getsockname()[:2],
        }

    async def _send(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, last: bool) -> None:
        headers = [*headers, (b"date", formatdate(time.time(), usegmt=True).encode())]
        if last:
            headers.append((b"connection", b"close"))
        http = self._http
        pieces = (
            http.send(h11.Response(status_code=status, headers=headers)),
            http.send(h11.Data(data=body)),
            http.send(h11.EndOfMessage()),
        )
        with trio.move_on_after(WRITE_LIMIT) as limit:
            await self._stream.send_all(b"".join(piece for piece in pieces if piece))
        if limit.cancelled_caught:
            raise trio.BrokenResourceError("the client does not read")


class _Answer:
    """What the application answers."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()

    async def nothing_to_read(self) -> Message:
        """A request without a body."""
        return {"type": "http.request", "body": b"", "more_body": False}

    async def take(self, message: Message) -> None:
        """The head, or a piece of the body. It is sent when the application has finished."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")
