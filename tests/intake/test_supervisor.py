"""Connections that fail are connected again; those beside them do not notice. On a clock of our own, with wires of our own."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
from attrs import evolve

from quantlab_collector.contracts.units import Seconds
from quantlab_collector.exchanges.protocol import Endpoints, Wanted
from quantlab_collector.exchanges.registry import EXCHANGES
from quantlab_collector.intake.connection import Connecting
from quantlab_collector.intake.options import AfterMaxAttempts, IntakeOptions, ReconnectOptions
from quantlab_collector.intake.outlet import Outlet, open_queue
from quantlab_collector.intake.supervisor import run_exchange
from quantlab_collector.intake.transport import FaultKind, TransportFault, WireOptions
from quantlab_collector.runtime.account import account
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.notices import Notices
from quantlab_collector.runtime.state import ServiceState
from writer.workbench import Log

BINANCE = EXCHANGES["binance"]
PLANS = BINANCE.plan(Wanted(("BTCUSDT",), BINANCE.streams, Endpoints("wss://x", "https://x")))


def frame(n, kind="bookTicker"):
    values = {"b": "1", "B": str(n), "a": "2", "A": "1"} if kind == "bookTicker" else {"a": n, "p": "1", "q": "1", "m": True}
    return json.dumps({"stream": "s", "data": {"e": kind, "s": "BTCUSDT", "T": 1, **values}}).encode()


class FakeWire:
    """Plays what a script says: lists of messages, seconds to wait, and at the end a fault."""

    def __init__(self, script):
        self.script = list(script)
        self.sent = []
        self.closing = False
        self.options = WireOptions()

    @property
    def ts_recv(self):
        return self.options.wall_ns()

    async def receive(self):
        await trio.lowlevel.checkpoint()
        while True:
            if not self.script or self.closing:
                if self.closing:
                    raise TransportFault(FaultKind.CLOSED, close_code=1000)
                await trio.sleep_forever()
            step = self.script.pop(0)
            if isinstance(step, TransportFault):
                raise step
            if isinstance(step, list):
                return step
            await trio.sleep(step)

    async def send(self, message):
        await trio.lowlevel.checkpoint()
        self.sent.append(json.loads(message))

    async def start_close(self, code=1000, reason=""):
        await trio.lowlevel.checkpoint()
        self.closing = True


class Exchange:
    """What each address does, attempt by attempt; the last script is played again and again."""

    def __init__(self, **scripts):
        self.scripts = scripts
        self.attempts = {route: [] for route in scripts}
        self.wires = []

    @asynccontextmanager
    async def open(self, url, options):
        route = url.split("/")[-2]
        number = len(self.attempts[route])
        self.attempts[route].append(trio.current_time())
        script = self.scripts[route][min(number, len(self.scripts[route]) - 1)]
        await trio.lowlevel.checkpoint()
        if isinstance(script, TransportFault):
            raise script
        wire = FakeWire(script)
        wire.options = options
        self.wires.append(wire)
        yield wire


class Run:
    def __init__(self, exchange, reconnect=None, plans=PLANS):
        self.state = ServiceState("a", "0", 0, 0.0, 100_000)
        self.log = Log()
        self.notices = Notices(self.state, self.log, clock=trio.current_time)
        self.exchange = exchange
        self.reconnect = reconnect or ReconnectOptions()
        self.plans = plans
        self.options = IntakeOptions()
        self.tap = None

    async def __call__(self, seconds):
        send, receive = open_queue()
        start = trio.current_time()
        clock = WireOptions(wall_ns=lambda: int((trio.current_time() - start + 1) * 1e9))
        tools = Connecting(
            BINANCE, self.options, clock, self.exchange.open, Outlet(send, self.notices), self.notices, raw_tap=self.tap
        )
        with trio.move_on_after(seconds):
            await run_exchange(self.plans, tools, self.reconnect)
        receive.close()

    @property
    def connections(self):
        return {connection.name: connection for connection in self.state.connections}

    def received(self, stream):
        return self.state.books.account("binance", stream).received


LOST = TransportFault(FaultKind.CLOSED, close_code=1006)
QUIET = [[frame(1)], [frame(2)]]


async def test_subscribe_then_active_with_the_first_data(autojump_clock):
    exchange = Exchange(public=[[1.0, [b'{"result":null,"id":1}'], 1.0, [frame(1)], 1.0, [frame(2), frame(3)]]], market=[[5.0]])
    run = Run(exchange)
    states = []

    async def look():
        while True:
            states.append((run.connections["public-0"].lifecycle.state, run.connections["market-0"].lifecycle.state))
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, 4.5)
        await trio.sleep(0.5)
        nursery.start_soon(look)
        await trio.sleep(3.9)
        nursery.cancel_scope.cancel()
    # An acknowledgement proves nothing; data does.
    assert states == [(State.SUBSCRIBING, State.SUBSCRIBING)] * 2 + [(State.ACTIVE, State.SUBSCRIBING)] * 2
    assert sorted(wire.sent[0]["params"] for wire in exchange.wires) == [
        ["btcusdt@aggTrade", "btcusdt@markPrice@1s"],
        ["btcusdt@bookTicker"],
    ]
    assert run.received("bbo") == 3
    assert {c.lifecycle.state for c in run.state.connections} == {State.STOPPED}


async def test_a_lost_connection_comes_back_and_the_gap_is_told(autojump_clock):
    exchange = Exchange(
        public=[[[frame(1)], 10.0, [frame(2)], 5.0, LOST], [3.0, [frame(3)]]],
        market=[[[frame(1, "aggTrade")]] + [20.0, [frame(2, "aggTrade")]] * 9],
    )
    run = Run(exchange)
    await run(25)
    connection = run.connections["public-0"]
    assert (connection.connects, connection.reconnects, connection.attempts) == (2, 1, 1)
    assert run.connections["market-0"].reconnects == 0
    (lost,) = run.log.told("ws_disconnect")
    assert (lost["connection"], lost["attempts"], lost["fault"]) == ("public-0", 1, "closed code 1006")
    assert 0.5 <= lost["retry_in"] <= 1.0
    (gap,) = run.log.told("gap_detected")
    (known,) = account(run.state).gaps
    # From the last data before to the first data after.
    assert known.since == 11_000_000_000
    assert known.to == pytest.approx((16 + lost["retry_in"] + 3) * 1e9, abs=1e7)
    assert (gap["since"], gap["to"], gap["reason"]) == (known.since, known.to, "closed code 1006")
    assert gap["seconds"] == pytest.approx(8 + lost["retry_in"], abs=0.01)
    windows = sorted((w.connection, w.reason) for w in account(run.state).connections)
    assert windows == [("market-0", "stopped"), ("public-0", "closed code 1006"), ("public-0", "stopped")]


async def test_attempts_are_spaced_and_counted_and_never_given_up(autojump_clock):
    refused = TransportFault(FaultKind.CONNECT, "connection refused")
    exchange = Exchange(public=[refused], market=[QUIET + [20.0, [frame(5, "aggTrade")]] * 500])
    run = Run(exchange)
    await run(3600)
    times = exchange.attempts["public"]
    waits = [later - first for first, later in pairwise(times)]
    assert all(0.5 * min(2.0**n, 30) <= wait <= min(2.0**n, 30) for n, wait in enumerate(waits))
    assert max(waits) <= 30
    assert len(times) > 3600 / 30
    assert run.log.told("ws_disconnect")[-1]["attempts"] == len(times)
    assert run.connections["public-0"].reconnects == 0  # it never was connected
    assert not run.log.told("gap_detected")


async def test_back_off_starts_again_only_after_data_has_flowed_for_a_while(autojump_clock):
    short = [[frame(1)], 1.0, LOST]  # accepts, sends something, drops
    long = [[frame(1)], 20.0, [frame(2)], 15.0, [frame(3)], 1.0, LOST]
    exchange = Exchange(public=[short, short, short, long, short], market=[QUIET + [20.0, [frame(5, "aggTrade")]] * 50])
    run = Run(exchange)
    await run(120)
    attempts = [line["attempts"] for line in run.log.told("ws_disconnect") if line["connection"] == "public-0"]
    assert attempts[:5] == [1, 2, 3, 1, 2]


async def test_no_data_is_a_dead_socket_and_control_messages_are_no_data(autojump_clock):
    acks = [[b'{"result":null,"id":1}'], 4.0] * 100
    exchange = Exchange(public=[[[frame(1)], *acks]], market=[QUIET + [20.0, [frame(5, "aggTrade")]] * 50])
    run = Run(exchange)
    await run(50)
    lost = run.log.told("ws_disconnect")
    assert [line["fault"] for line in lost] == ["idle no data for 30 s"]
    assert run.connections["public-0"].connects == 2


async def test_probe_keeps_trying_in_error(autojump_clock):
    exchange = Exchange(public=[TransportFault(FaultKind.CONNECT)] * 12 + [[[frame(1)], 10.0, [frame(2)]]], market=[QUIET])
    run = Run(exchange, ReconnectOptions(max_attempts=3, cap=Seconds(4.0)))
    seen = set()

    async def look():
        while True:
            await trio.sleep(0.1)
            seen.add(run.connections["public-0"].lifecycle.state)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await run(60)
        nursery.cancel_scope.cancel()
    assert seen >= {State.RECONNECTING, State.ERROR, State.ACTIVE}
    assert run.connections["public-0"].connects == 1


async def test_stop_gives_up_once_and_leaves_the_others_alone(autojump_clock):
    exchange = Exchange(
        public=[TransportFault(FaultKind.CONNECT)], market=[[[frame(n, "aggTrade")] if n % 2 else 10.0 for n in range(1000)]]
    )
    run = Run(exchange, ReconnectOptions(max_attempts=3, after_max_attempts=AfterMaxAttempts.STOP))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, 600)
        await trio.sleep(500)
        assert run.connections["public-0"].lifecycle.state is State.ERROR
        assert run.connections["market-0"].lifecycle.state is State.ACTIVE
    assert len(exchange.attempts["public"]) == 3
    assert [line.get("retry_in") for line in run.log.told("ws_disconnect")][-1] is None


async def test_the_budget_of_the_exchange_is_kept(autojump_clock, monkeypatch):
    monkeypatch.setattr("intake.test_supervisor.BINANCE", evolve(BINANCE, limits=evolve(BINANCE.limits, connects=6)))
    exchange = Exchange(public=[[LOST]], market=[[LOST]])
    run = Run(exchange, ReconnectOptions(cap=Seconds(1.0)))
    await run(3000)
    times = sorted(exchange.attempts["public"] + exchange.attempts["market"])
    assert min(later - first for first, later in zip(times, times[6:], strict=False)) >= 300.0 - 1e-6
    assert len(times) >= 54


async def test_what_is_not_a_transport_fault_is_a_bug_and_comes_out(autojump_clock):
    class Broken(FakeWire):
        async def receive(self):
            await trio.lowlevel.checkpoint()
            raise ZeroDivisionError

    class Exploding(Exchange):
        @asynccontextmanager
        async def open(self, url, options):
            await trio.lowlevel.checkpoint()
            yield Broken([])

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await Run(Exploding(public=[[]], market=[[]]), plans=PLANS[:1])(10)


async def test_leaving_records_what_is_still_on_its_way(autojump_clock):
    class Polite(FakeWire):
        async def receive(self):
            await trio.lowlevel.checkpoint()
            if self.closing and self.script:
                return self.script.pop(0)
            if self.closing:
                raise TransportFault(FaultKind.CLOSED, close_code=1000)
            return await trio.sleep_forever()

    class Farewell(Exchange):
        @asynccontextmanager
        async def open(self, url, options):
            await trio.lowlevel.checkpoint()
            yield Polite([[frame(1)], [frame(2), frame(3)]])

    run = Run(Farewell(public=[[]]), plans=PLANS[:1])
    await run(5)
    assert run.received("bbo") == 3
    assert run.connections["public-0"].lifecycle.state is State.STOPPED


async def test_an_announced_end_is_left_politely_and_is_no_failure(autojump_clock):
    shutdown = json.dumps({"e": "serverShutdown", "E": 1}).encode()
    exchange = Exchange(public=[[[frame(1)], 5.0, [frame(2), shutdown, frame(3)], [frame(4)]], [[frame(5)]]])
    run = Run(exchange, ReconnectOptions(max_attempts=1), plans=PLANS[:1])
    await run(20)
    assert exchange.wires[0].closing
    # What came with the notice is recorded; the state is never ERROR, though one failure would have been too many.
    assert run.received("bbo") == 4
    connection = run.connections["public-0"]
    assert (connection.connects, connection.attempts) == (2, 0)
    (lost,) = run.log.told("ws_disconnect")
    assert lost["fault"] == "announced serverShutdown"
    assert lost["retry_in"] <= 1.0


async def test_a_peer_that_never_answers_our_close_is_left_after_a_second(autojump_clock):
    class Deaf(FakeWire):
        async def receive(self):
            await trio.sleep_forever()

    class Silent(Exchange):
        @asynccontextmanager
        async def open(self, url, options):
            await trio.lowlevel.checkpoint()
            yield Deaf([])

    start = trio.current_time()
    await Run(Silent(public=[[]]), plans=PLANS[:1])(5)
    assert trio.current_time() - start == pytest.approx(6.0, abs=0.01)
