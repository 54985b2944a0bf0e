"""The real server on real sockets: what a test client cannot show."""

from __future__ import annotations

import errno
import logging
import resource
import select
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest
import trio
from quart_trio import QuartTrio

from quantlab_collector.runtime.health import Standing
from quantlab_collector.runtime.state import Snapshot
from quantlab_collector.status import conversation, serve
from quantlab_collector.status.app import HEADERS, create_app
from quantlab_collector.status.options import StatusOptions
from quantlab_collector.status.serve import serve_status
from status.serving import ANY_PORT, Server, read_all, read_answer, serving


@pytest.fixture
def app(snapshot: Snapshot, standing: Standing) -> QuartTrio:
    return create_app(lambda: snapshot, lambda: standing, ANY_PORT)


@pytest.fixture
async def server(app: QuartTrio) -> AsyncIterator[Server]:
    async with serving(app) as server:
        yield server


@pytest.fixture
async def quick(monkeypatch, app: QuartTrio) -> AsyncIterator[Server]:
    """A server that soon closes what is idle, so that a test can read to the end."""
    monkeypatch.setattr(conversation, "IDLE_LIMIT", 0.1)
    async with serving(app) as server:
        yield server


# -------------------------------------------------------------------------------------------------------------- answers


async def test_a_page(server: Server) -> None:
    head, _, body = (await server.get("/health")).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-type: application/json" in head.lower()
    assert b"\r\nserver:" not in head.lower()
    for name, value in HEADERS.items():
        assert head.lower().count(f"\r\n{name}: {value}".lower().encode()) == 1
    assert body.startswith(b'{"status":"ok","uptime":147.82,')


async def test_head_has_the_length_and_no_body(server: Server) -> None:
    answer = await server.get("/metrics", "HEAD")

    length = len((await server.get("/metrics")).partition(b"\r\n\r\n")[2])
    assert answer.endswith(b"\r\n\r\n")
    assert f"content-length: {length}\r\n".encode() in answer.lower()


async def test_a_connection_that_is_to_be_closed_is_closed(server: Server) -> None:
    with trio.fail_after(2):
        assert (await server.get("/health")).startswith(b"HTTP/1.1 200")


async def test_a_scraper_keeps_its_connection(server: Server) -> None:
    async with await server.connect() as stream:
        for _ in range(3):
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAccept: text/plain;version=0.0.4\r\n\r\n")
            answer = await read_answer(stream)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"\nquantlab_events_received_total{" in answer


async def test_an_answer_has_a_date(server: Server) -> None:
    head = (await server.get("/health")).partition(b"\r\n\r\n")[0]
    (line,) = (line for line in head.split(b"\r\n") if line.lower().startswith(b"date: "))
    assert abs(parsedate_to_datetime(line[6:].decode()) - datetime.now(UTC)) < timedelta(minutes=1)


async def test_questions_that_come_together_are_answered_in_order(server: Server) -> None:
    answer = await server.send(
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    first, second, third = answer.split(b"HTTP/1.1 200")[1:]
    assert b'{"status":"ok"' in first
    assert second.endswith(b"\r\n\r\n")
    assert b'{"state":' in third


@pytest.mark.parametrize("body", [b"Content-Length: 4\r\n\r\nbody", b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"])
async def test_who_sends_a_body_is_answered_and_has_to_go(server: Server, body: bytes) -> None:
    """Or what follows could be taken for a question of somebody else, whom a proxy speaks for."""
    answer = await server.send(
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + body + b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in answer.lower()


class _Turns(trio.abc.Instrument):
    """Counts turns of the loop until a client has something to read."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self.count = 0
        self.answered: int | None = None

    def after_io_wait(self, timeout: float) -> None:
        self.count += 1

    def before_io_wait(self, timeout: float) -> None:
        if self.answered is None and select.select([self._client], [], [], 0)[0]:
            self.answered = self.count


async def test_an_answer_takes_one_turn_of_the_loop(server: Server) -> None:
    """Each turn is full of the recording's work, and an answer that takes several waits for all of it."""
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        # Both are there when the loop gets round to them, as under load: nobody has given way since.
        turns = _Turns(client)
        trio.lowlevel.add_instrument(turns)
        with trio.fail_after(10):
            await trio.lowlevel.wait_readable(client)
        trio.lowlevel.remove_instrument(turns)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert turns.answered == 1


async def test_there_may_be_no_room_for_a_connection(server: Server, caplog) -> None:
    """As many files are open as may be: who comes then waits, and is answered when there is room again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client:
        try:
            with socket.socket() as next_one:
                resource.setrlimit(resource.RLIMIT_NOFILE, (next_one.fileno(), hard))
            client.connect(("127.0.0.1", server.port))
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with trio.fail_after(10):
                while not caplog.records:
                    await trio.sleep(0.01)
            await trio.sleep(3 * serve.PAUSE)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with trio.fail_after(10):
            await trio.lowlevel.wait_readable(client)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert [record.getMessage() for record in caplog.records] == [
        "no room for a connection to the status page: Too many open files"
    ]


@pytest.mark.parametrize("path", ["//metrics", "/../metrics", "/%2e%2e/metrics", "/metrics/", "/" + "x" * 8192, "/%00"])
async def test_a7_a_path_is_right_to_the_letter_or_not_there(server: Server, path: str) -> None:
    assert (await server.get(path)).startswith(b"HTTP/1.1 404")


async def test_the_address_is_the_one_it_listens_on(app: QuartTrio) -> None:
    async with serving(app, StatusOptions(host="::1", port=0)) as server:
        assert server.url.startswith("http://[::1]:")


CLOSED = 0
"""No answer, or one that the reset of the connection has overtaken."""

HOST = b"Host: localhost\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "codes"),
    [
        (b"\r\n\r\n\r\n\r\n", (400,)),
        (b"GET\r\n\r\n", (400,)),
        (b"GET /health\r\n\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\n\r\n", (400,)),
        (b"GET /health HTTP/1.0\r\n\r\n", (421,)),
        (b"GET /health HTTP/1.1\r\n" + HOST + HOST + b"\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", (421,)),
        (b"GET http://evil.example/health HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
        (b"GET http://localhost/health HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
        (b"CONNECT localhost:22 HTTP/1.1\r\n" + HOST + b"\r\n", (405,)),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", (405,)),
        (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
        (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", (405,)),
        (b"POST /health HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000000\r\n\r\n", (405,)),
        (b"POST /health HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", (405, 400)),
        (b"POST /health HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5000, (405,)),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n", (400,)),
        (b"GET /hea\x00lth HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
        (b"GET /h\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 70_000 + b"\r\n\r\n", (400, 431, CLOSED)),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"X: x\r\n" * 10_000 + b"\r\n", (400, 431, CLOSED)),
        (b"GET /health HTTP/9.9\r\n" + HOST + b"\r\n", (400, 505)),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", (400, 404)),
        (
            b"GET /health HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            (400,),
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), (400,)),
        (b"\xff" * 1000, (CLOSED,)),
        (
            b"POST /health HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /status HTTP/1.1\r\n" + HOST + b"\r\n",
            (400, 405),
        ),
        (b"\n\n\n", (400, CLOSED)),
        (b"GET /health HTTP/1.1\n" + b"Host: evil.example\n\n", (400, 421)),
        (b"GET  /health HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
        (b"GET\t/health\tHTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
        (b"GET /health http/1.1\r\n" + HOST + b"\r\n", (400,)),
        (b"GET /health\r\n" + HOST + b"\r\n", (400,)),
        (b" GET /health HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"X : y\r\n\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\n" + HOST + b": y\r\n\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Content-Length: 0x10\r\n\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", (400, 501)),
        (b"GET http://evil.example@localhost/health HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
        (b"GET \\health HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
        (b"GET /health HTTP/1.1\r\nHost: localhost\x00.evil.example\r\n\r\n", (400,)),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", (400, 404, 414, 431, CLOSED)),
    ],
)
async def test_a2_nonsense_is_refused(quick: Server, caplog, request_bytes: bytes, codes: tuple[int, ...]) -> None:
    server = quick
    answer = await server.send(request_bytes)

    assert int(answer.split(b" ", 2)[1]) in codes if answer else CLOSED in codes
    assert b"Traceback" not in answer
    assert not caplog.records
    assert (await server.get("/health")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"PRI * HTTP/2.0\r\n\r\nnonsense",
        b"GET /health HTTP/1.1\r\n"
        + HOST
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\n\r\n",
    ],
)
async def test_a2_http_2_gets_nowhere(quick: Server, caplog, request_bytes: bytes) -> None:
    server = quick
    answer = await server.send(request_bytes)

    assert b"uptime" not in answer
    assert not caplog.records
    assert (await server.get("/health")).startswith(b"HTTP/1.1 200")


# ----------------------------------------------------------------------------------------------------------------- stop


async def test_stop_with_idle_connections(monkeypatch, app: QuartTrio) -> None:
    """One that asked and waits, one that never asked, one in the middle of its question: no limit is waited for."""
    monkeypatch.setattr(serve, "GRACE", 60)
    monkeypatch.setattr(conversation, "IDLE_LIMIT", 60)
    async with (
        serving(app) as server,
        await server.connect() as asked,
        await server.connect() as silent,
        await server.connect() as slow,
    ):
        await asked.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await read_answer(asked)
        await slow.send_all(b"GET /health HTTP/1.1\r\nHo")
        await trio.testing.wait_all_tasks_blocked()

        assert await server.stop_and_wait() < 2
        assert await read_all(asked) == await read_all(silent) == b""


async def test_a1_a_client_that_does_not_read_cannot_hold_up_the_stop(monkeypatch, app: QuartTrio) -> None:
    monkeypatch.setattr(conversation, "WRITE_LIMIT", 0.2)
    async with serving(app) as server, await server.connect() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with trio.move_on_after(0.5), suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)

        assert await server.stop_and_wait() < 3


async def test_cancellation_ends_it_too(app: QuartTrio) -> None:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve_status, app, ANY_PORT, trio.Event())
        async with await trio.open_tcp_stream("127.0.0.1", urlsplit(url).port) as stream:
            await stream.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await read_answer(stream)
            nursery.cancel_scope.cancel()


async def test_the_port_is_free_afterwards(app: QuartTrio) -> None:
    async with serving(app) as server:
        await server.get("/health")
        await server.stop_and_wait()
        async with serving(app, StatusOptions(port=server.port)) as again:
            assert again.port == server.port


async def test_a9_a_port_that_is_taken(app: QuartTrio, server: Server) -> None:
    with pytest.raises(
        OSError, match=rf"the status page cannot have 127\.0\.0\.1:{server.port}: Address already in use"
    ) as caught:
        await serve_status(app, StatusOptions(port=server.port), trio.Event())

    assert caught.value.errno == errno.EADDRINUSE


async def test_a_host_that_is_not_there(app: QuartTrio) -> None:
    with pytest.raises(OSError, match=r"the status page cannot have 192\.0\.2\.1:9100: "):
        await serve_status(app, StatusOptions(host="192.0.2.1"), trio.Event())


# --------------------------------------------------------------------------------------------------------------- limits


async def test_a3_there_are_so_many_seats(monkeypatch, app: QuartTrio) -> None:
    monkeypatch.setattr(serve, "SEATS", 2)
    async with serving(app) as server:
        async with await server.connect(), await server.connect():
            await trio.testing.wait_all_tasks_blocked()
            assert await server.get("/health") == b""
        with trio.fail_after(10):
            while not (await server.get("/health")).startswith(b"HTTP/1.1 200"):
                await trio.sleep(0.01)


async def test_who_has_gone_needs_no_seat(monkeypatch, app: QuartTrio) -> None:
    monkeypatch.setattr(serve, "SEATS", 2)
    monkeypatch.setattr(conversation, "IDLE_LIMIT", 60)
    async with serving(app) as server:
        for _ in range(5):
            async with await server.connect() as stream:
                await stream.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await read_answer(stream)).startswith(b"HTTP/1.1 200")
                await trio.testing.wait_all_tasks_blocked(0.01)
            await trio.testing.wait_all_tasks_blocked(0.01)


async def test_a1_who_says_nothing_loses_the_seat(monkeypatch, app: QuartTrio) -> None:
    monkeypatch.setattr(conversation, "IDLE_LIMIT", 0.1)
    async with serving(app) as server:
        async with await server.connect() as silent, await server.connect() as slow, await server.connect() as asked:
            await slow.send_all(b"GET /health HTTP/1.1\r\nHo")
            await asked.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await read_all(asked)).startswith(b"HTTP/1.1 200")
            assert await read_all(silent) == b""
            with trio.fail_after(5), suppress(trio.BrokenResourceError):
                while True:
                    await slow.send_all(b"x")  # a byte now and then is no request either
                    await trio.sleep(0.02)


async def test_a10_an_error_of_one_connection_stays_there(monkeypatch, app: QuartTrio, caplog) -> None:
    async def broken(self, request) -> None:
        raise RuntimeError("a bug")

    async with serving(app) as server:
        with monkeypatch.context() as patch:
            patch.setattr(conversation.Conversation, "_answer", broken)
            assert await server.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
        assert (await server.get("/health")).startswith(b"HTTP/1.1 200")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("quantlab_collector.status.serve", logging.ERROR)
