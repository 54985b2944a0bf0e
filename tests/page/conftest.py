"""A browser, and a service whose state the test moves by hand while the real server shows it."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from page.chromium import PROGRAM, chromium, connected
from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.health import Health
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.notices import Notices
from quantlab_collector.runtime.recent_trades import RecentTrades
from quantlab_collector.runtime.state import ConnectionState, ServiceState
from quantlab_collector.status.app import create_app
from quantlab_collector.status.options import StatusOptions
from quantlab_collector.status.serve import serve_status
from quantlab_collector.status.watch import run_watch

BBO, TRADE, MARK = StreamType.BBO, StreamType.TRADE, StreamType.MARK_PRICE
MINUTE_NS = 60 * 1_000_000_000


@pytest.fixture(scope="session")
def devtools(tmp_path_factory):
    """One browser for all tests; each gets a tab of its own."""
    if PROGRAM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with chromium(tmp_path_factory.mktemp("chromium")) as address:
        yield address


@pytest.fixture
async def page(devtools):
    async with connected(devtools) as browser:
        page = await browser.new_page()
        yield page
        await browser.send("Target.closeTarget", {"targetId": page.target})


class NoLog:
    def log(self, level, event, **fields):
        pass


class Service:
    """The state of a service, its watch, and its real HTTP server."""

    def __init__(self, *, symbols=("BTCUSDT", "ETHUSDT"), instance="a"):
        now = time.monotonic()
        self.state = ServiceState(
            instance, "0.1.0", time.time_ns() - 60 * 10**9, now - 60, queue_capacity=1000, trades=RecentTrades()
        )
        for seconds in range(60, 0, -5):
            self.state.sample(now - seconds, 50_000_000)
        self.notices = Notices(self.state, NoLog())
        self.health = Health(self.state.started_ns)
        self.topics = [Topic("binance", stream, symbol) for stream in (BBO, TRADE, MARK) for symbol in symbols]
        self.connection = ConnectionState("binance", "public-0", "wss://exchange.example", tuple(self.topics))
        self.state.connections.append(self.connection)
        self.url = None

    def connect(self, ago_ns=0):
        """Open the connection, and say that it delivers."""
        for to in (State.CONNECTING, State.CONNECTED, State.SUBSCRIBING, State.ACTIVE):
            self.connection.lifecycle.move(to, time.time_ns() - ago_ns)
        self.connection.connects += 1
        self.connection.seen = {}

    def deliver(self, *topics):
        """Something has just come for these topics; for all if none is named."""
        now = time.time_ns()
        for topic in topics or self.topics:
            self.connection.seen.setdefault(topic.stream, {})[topic.symbol] = now
            self.state.books.receive(topic.exchange, topic.stream, kept=1, dropped=0, reason="")
        self.connection.frames += 1
        self.connection.last_frame_ns = now

    @asynccontextmanager
    async def serving(self, port=0):
        stop = trio.Event()
        options = StatusOptions(port=port)
        app = create_app(lambda: self.state.snapshot(time.monotonic()), lambda: self.health.standing, options)
        async with trio.open_nursery() as watching:
            await watching.start(partial(run_watch, self.state, self.notices, self.health))
            async with trio.open_nursery() as serving:
                self.url = await serving.start(serve_status, app, options, stop)
                yield self
                stop.set()
            watching.cancel_scope.cancel()


@pytest.fixture
async def service():
    service = Service()
    service.connect()
    service.deliver()
    async with service.serving():
        yield service
