"""A10: what breaks in the window does not reach the recorder, and the window opens again."""

from __future__ import annotations

import errno
from typing import Any

import pytest
import trio
import trio.testing

from quantlab_collector.runtime.notices import Notices
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.status import keep, serve
from quantlab_collector.status.app import StatusApp, create_app
from quantlab_collector.status.keep import keep_serving
from status.serving import ANY_PORT, Server


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def log(self, level: int, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


@pytest.fixture
def app(snapshot, standing) -> StatusApp:
    return create_app(lambda: snapshot, lambda: standing, ANY_PORT)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def notices(state: ServiceState, log: Log) -> Notices:
    return Notices(state, log)


async def test_a10_a_breakdown_is_told_and_the_same_address_serves_again(monkeypatch, app, notices, log, nursery) -> None:
    monkeypatch.setattr(keep, "RETRY", 0.01)
    broken, attend = trio.Event(), serve.Door.attend

    async def breaks_once(door: serve.Door, listener: trio.SocketListener) -> None:
        if broken.is_set():
            await attend(door, listener)
            return
        async with trio.open_nursery() as inner:
            inner.start_soon(attend, door, listener)
            await broken.wait()
            raise RuntimeError("a bug\x1b[2J")

    monkeypatch.setattr(serve.Door, "attend", breaks_once)
    stop = trio.Event()
    url = await nursery.start(keep_serving, app, ANY_PORT, stop, notices)
    server = Server(url, stop, trio.Event())
    assert (await server.get("/health")).startswith(b"HTTP/1.1 200")
    broken.set()
    with trio.fail_after(10):
        while not log.lines:
            await trio.sleep(0.001)
        while True:
            try:
                assert (await server.get("/health")).startswith(b"HTTP/1.1 200")
                break
            except OSError:  # between the breakdown and the new opening
                await trio.sleep(0.01)
    stop.set()

    assert log.lines == [("status_failed", {"fault": "RuntimeError: a bug\\x1b[2J", "retry_in": 0.01})]


async def test_a9_a_port_that_is_taken_at_the_start_is_raised(app, notices, log) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        options = serve.StatusOptions(port=listener.socket.getsockname()[1])
        taken = pytest.RaisesExc(OSError, check=lambda fault: fault.errno == errno.EADDRINUSE)
        with pytest.RaisesGroup(taken, flatten_subgroups=True):
            await keep_serving(app, options, trio.Event(), notices)

    assert log.lines == []


async def test_a_stop_does_not_wait_for_the_next_opening(monkeypatch, app, notices, log, nursery) -> None:
    monkeypatch.setattr(keep, "RETRY", 3600)

    async def breaks(_: serve.Door, __: trio.SocketListener) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(serve.Door, "attend", breaks)
    stop = trio.Event()
    with trio.fail_after(10):
        async with trio.open_nursery() as serving:
            await serving.start(keep_serving, app, ANY_PORT, stop, notices)
            while not log.lines:
                await trio.sleep(0.001)
            stop.set()
