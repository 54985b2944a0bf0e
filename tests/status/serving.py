"""The real server on a real socket, and a client that sends bytes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import attrs
import trio
from quart_trio import QuartTrio

from quantlab_collector.status.options import StatusOptions
from quantlab_collector.status.serve import serve_status

ANY_PORT = StatusOptions(port=0)


@attrs.frozen
class Server:
    url: str
    stop: trio.Event
    stopped: trio.Event

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def send(self, *pieces: bytes) -> bytes:
        """Everything that comes back on a connection of its own until the server closes it."""
        async with await self.connect() as stream:
            for piece in pieces:
                await stream.send_all(piece)
            return await read_all(stream)

    async def get(self, path: str, method: str = "GET", headers: str = "") -> bytes:
        return await self.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode())

    async def stop_and_wait(self) -> float:
        """Seconds that the stop took."""
        began = time.monotonic()
        self.stop.set()
        with trio.fail_after(10):
            await self.stopped.wait()
        return time.monotonic() - began


async def read_all(stream: trio.SocketStream) -> bytes:
    answer = b""
    with trio.fail_after(10):
        try:
            while data := await stream.receive_some(65536):
                answer += data
        except trio.BrokenResourceError:
            pass
    return answer


async def read_answer(stream: trio.SocketStream) -> bytes:
    """One answer of a connection that stays open."""
    answer, wanted = b"", 1
    with trio.fail_after(10):
        while len(answer) < wanted:
            data = await stream.receive_some(65536)
            assert data, "the connection was closed"
            answer += data
            head, end, _ = answer.partition(b"\r\n\r\n")
            body = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) if end else 1
            wanted = len(head) + len(end) + body
    return answer


@asynccontextmanager
async def serving(app: QuartTrio, options: StatusOptions = ANY_PORT) -> AsyncIterator[Server]:
    stop, stopped = trio.Event(), trio.Event()

    async def run(*, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as inner:
            task_status.started(await inner.start(serve_status, app, options, stop))
        stopped.set()

    async with trio.open_nursery() as nursery:
        url = await nursery.start(run)
        yield Server(url, stop, stopped)
        stop.set()
