"""The watch on a clock that jumps: what it tells, and when."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.runtime.health import Health, ServiceHealth
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.notices import Notices
from quantlab_collector.runtime.state import ConnectionState, ServiceState
from quantlab_collector.status import views, watch
from quantlab_collector.status.watch import resident_bytes, run_watch

MINUTE = 60.0
BBO = StreamType.BBO


class Log:
    """The lines, each with the time at which it was written."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str, dict[str, Any]]] = []

    def log(self, level: int, event: str, **fields: Any) -> None:
        self.lines.append((trio.current_time(), event, fields))

    def of(self, event: str) -> list[tuple[float, dict[str, Any]]]:
        return [(when, fields) for when, told, fields in self.lines if told == event]


class Bench:
    """A state that is being watched."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.state = ServiceState("a", "0.1.0", started_ns=0, started=trio.current_time(), queue_capacity=100)
        self.connection = ConnectionState("binance", "public-0", "wss://localhost", ())
        self.state.connections.append(self.connection)
        self.health = Health(0)
        self.log = Log()
        self.notices = Notices(self.state, self.log, trio.current_time)
        self.rss = 50_000_000
        self._nursery = nursery

    async def start(self, **options: Any) -> None:
        await self._nursery.start(
            partial(
                run_watch,
                self.state,
                self.notices,
                self.health,
                clock=trio.current_time,
                wall=wall,
                rss=lambda: self.rss,
                **options,
            )
        )

    def connect(self) -> None:
        for to in (State.CONNECTING, State.CONNECTED, State.SUBSCRIBING, State.ACTIVE):
            self.connection.lifecycle.move(to, wall())

    def disconnect(self) -> None:
        self.connection.lifecycle.move(State.RECONNECTING, wall(), "lost")
        self.connection.reconnects += 1

    def word(self) -> ServiceHealth:
        return self.health.standing.assessment.state


def wall() -> int:
    return int(trio.current_time() * 1e9)


@pytest.fixture
def bench(nursery: trio.Nursery) -> Bench:
    return Bench(nursery)


async def test_before_the_first_connection_it_is_offline_and_that_is_no_news(bench: Bench, autojump_clock) -> None:
    await bench.start()
    await trio.sleep(10)

    assert bench.word() is ServiceHealth.OFFLINE
    assert bench.health.standing.since_ns == 0
    assert bench.log.lines == []


async def test_a_change_of_state_is_told_once_with_its_reasons(bench: Bench, autojump_clock) -> None:
    await bench.start()
    await trio.sleep(4.5)
    bench.connect()
    await trio.sleep(5)
    bench.disconnect()
    await trio.sleep(5)

    assert bench.log.of("state_change") == [
        (5.0, {"old": "OFFLINE", "new": "READY", "reasons": ()}),
        (10.0, {"old": "READY", "new": "OFFLINE", "reasons": ("no WebSocket is connected",)}),
    ]
    assert bench.health.standing.since_ns == 10_000_000_000


async def test_other_reasons_for_the_same_word_are_no_change(bench: Bench, autojump_clock) -> None:
    bench.connect()
    await bench.start()
    bench.state.books.receive("binance", BBO, 0, 5, "queue_full")
    await trio.sleep(1.5)
    bench.state.books.receive("binance", BBO, 0, 5, "queue_full")
    await trio.sleep(2)

    assert [(when, told["new"]) for when, told in bench.log.of("state_change")] == [(0.0, "READY"), (1.0, "DEGRADED")]
    assert bench.health.standing.since_ns == 1_000_000_000
    assert bench.health.standing.assessment.reasons == ("10 events dropped in the last 15 minutes",)


async def test_drops_are_forgotten_after_fifteen_minutes(bench: Bench, autojump_clock) -> None:
    bench.connect()
    await bench.start()
    await trio.sleep(99.5)
    bench.state.books.receive("binance", BBO, 0, 5, "queue_full")

    await trio.sleep(14 * MINUTE)
    shown = views.status(bench.state.snapshot(trio.current_time()), bench.health.standing)
    assert (shown["state"], shown["metrics"]["drops_15m"]) == ("DEGRADED", 5)

    await trio.sleep(2 * MINUTE)
    shown = views.status(bench.state.snapshot(trio.current_time()), bench.health.standing)
    assert (shown["state"], shown["metrics"]["drops_15m"]) == ("READY", 0)
    assert [(when, told["new"]) for when, told in bench.log.of("state_change")][1:] == [(100.0, "DEGRADED"), (1009.0, "READY")]


async def test_what_comes_right_after_the_start_is_in_the_window(bench: Bench, autojump_clock) -> None:
    """The first look is taken before ``started``, so that nothing can come before it."""
    await bench.start()
    bench.state.books.receive("binance", BBO, 0, 3, "queue_full")
    bench.connect()
    bench.disconnect()
    await trio.sleep(1.5)

    snapshot = bench.state.snapshot(trio.current_time())
    assert (snapshot.drops_15m, snapshot.reconnects_15m) == (3, 1)


async def test_rates_and_memory_are_sampled(bench: Bench, autojump_clock) -> None:
    await bench.start()
    await trio.sleep(0.5)
    for _ in range(20):
        bench.state.books.receive("binance", BBO, 7, 0, "")
        bench.rss += 1000
        await trio.sleep(1)

    snapshot = bench.state.snapshot(trio.current_time())
    assert snapshot.events_per_sec == {"bbo": 7.0}
    assert snapshot.rss_bytes == 50_020_000


async def test_a_pulse_every_thirty_seconds(bench: Bench, autojump_clock) -> None:
    await bench.start()
    bench.connect()
    bench.state.books.receive("binance", BBO, 20, 2, "queue_full")
    bench.state.books.reject("binance", BBO, "not_json")
    bench.disconnect()
    await trio.sleep(95)

    pulses = bench.log.of("heartbeat")
    assert [when for when, _ in pulses] == [30.0, 60.0, 90.0]
    assert pulses[0][1] == {
        "state": "OFFLINE",
        "queue_pct": 20.0,
        "events_per_sec": 0.0,
        "received": 23,
        "written": 0,
        "pending": 20,
        "drops": 2,
        "rejects": 1,
        "reconnects_15m": 1,
        "silence_15m": 0,
        "mutes": 0,
        "rss_mb": 50.0,
        "upload_lag": 0.0,
    }


async def test_after_a_stall_there_is_one_pulse(bench: Bench, autojump_clock) -> None:
    bench.connect()
    now, pulses = 0.0, []
    looking = watch.Watch(
        bench.state, bench.notices, bench.health, pulse_every=30.0, clock=lambda: now, wall=lambda: 0, rss=lambda: 0
    )
    for now in (1.0, 2.0, 500.0, 501.0, 502.0, 529.0, 530.0, 531.0):  # noqa: B007 - the clock reads it
        looking.look()
        pulses.append(len(bench.log.of("heartbeat")))

    assert pulses == [0, 0, 1, 1, 1, 1, 2, 2]


async def test_the_interval_of_the_pulse_is_a_setting(bench: Bench, autojump_clock) -> None:
    await bench.start(pulse_every=5.0)
    await trio.sleep(21)

    assert [when for when, _ in bench.log.of("heartbeat")] == [5.0, 10.0, 15.0, 20.0]


async def test_books_that_do_not_balance_are_told_at_once_and_with_every_pulse(bench: Bench, autojump_clock) -> None:
    bench.connect()
    await bench.start()
    account = bench.state.books.account("binance", BBO)
    await trio.sleep(10.5)
    account.received += 1
    await trio.sleep(55)
    account.received -= 1
    await trio.sleep(100)

    told = bench.log.of("books_broken")
    assert [when for when, _ in told] == [11.0, 30.0, 60.0]
    assert told[0][1] == {"received": 1, "written": 0, "dropped": 0, "pending": 0, "rejected": 0}
    assert [told["new"] for _, told in bench.log.of("state_change")] == ["READY", "DEGRADED", "READY"]


def test_the_memory_of_this_process(monkeypatch) -> None:
    now = resident_bytes()
    monkeypatch.setattr(watch, "_STATM", watch.Path("/nowhere/statm"))
    peak = resident_bytes()

    assert 1_000_000 < now < 1.5 * peak
