"""Thirty virtual days of cuts, bans and restarts: the collector never asks too often, never gives up, never stops recording."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio

from intake.test_supervisor import PLANS, FakeWire, Run, frame
from quantlab_collector.contracts.units import Seconds
from quantlab_collector.intake.options import AfterMaxAttempts, IntakeOptions, ReconnectOptions
from quantlab_collector.intake.transport import FaultKind, TransportFault
from quantlab_collector.runtime.lifecycle import ALLOWED, Lifecycle, State

DAY = 86_400.0
QUIET = 1_800.0
CAP = 30.0


class Weather:
    """An exchange with good hours and bad ones, from a seed."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.attempts = []
        self.banned_until = 0.0
        self.in_ban = 0
        self.kinds = set()

    @asynccontextmanager
    async def open(self, url, options):
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        self.attempts.append(now)
        self.in_ban += now < self.banned_until
        kind = self.chance.choices(
            ["refused", "ban", "limited", "busy", "hang", "accept-drop", "policy", "cut", "day", "shutdown"],
            [6, 1, 1, 2, 1, 3, 1, 8, 8, 2],
        )[0]
        self.kinds.add(kind)
        if kind in {"refused", "hang"}:
            raise TransportFault(FaultKind.CONNECT if kind == "refused" else FaultKind.TIMEOUT)
        if kind in {"ban", "limited"}:
            wait = self.chance.uniform(120, 3000)
            self.banned_until = max(self.banned_until, now + wait)
            raise TransportFault(FaultKind.REFUSED, status=418 if kind == "ban" else 429, retry_after=wait)
        if kind == "busy":
            raise TransportFault(FaultKind.REFUSED, status=503)
        bbo = "public" in url
        yield FakeWire(self.script(kind, "bookTicker" if bbo else "aggTrade"))

    def script(self, kind, what):
        if kind == "accept-drop":
            return [TransportFault(FaultKind.CLOSED, close_code=1006)]
        if kind == "policy":
            return [[frame(1, what)], 5.0, TransportFault(FaultKind.CLOSED, close_code=1008, close_reason="Too many requests")]
        lifetime = DAY if kind == "day" else self.chance.uniform(60, DAY)
        data = [step for _ in range(int(lifetime // QUIET)) for step in ([frame(1, what)], QUIET)]
        if kind == "shutdown":
            return [*data, [b'{"e":"serverShutdown","E":1}'], 60.0]
        return [*data, TransportFault(FaultKind.CLOSED, close_code=1001)]


async def run_days(weather, days, reconnect, monkeypatch):
    moves = []
    move = Lifecycle.move

    def watched(self, to, now_ns, reason=""):
        moves.append((self.state, to))
        move(self, to, now_ns, reason)

    monkeypatch.setattr(Lifecycle, "move", watched)
    run = Run(weather, reconnect)
    run.options = IntakeOptions(idle_timeout=Seconds(2 * QUIET))
    await run(days * DAY)
    return run, moves


@pytest.mark.parametrize("seed", range(3))
async def test_probe_never_gives_up_and_never_asks_too_often(seed, autojump_clock, monkeypatch):
    weather = Weather(seed)
    run, moves = await run_days(weather, 30, ReconnectOptions(cap=Seconds(CAP), max_attempts=3), monkeypatch)
    assert len(weather.kinds) == 10  # everything has happened
    attempts = sorted(weather.attempts)
    limit = run_limit = 300
    assert all(later - first > 300.0 - 1e-6 for first, later in zip(attempts, attempts[limit:], strict=False))
    assert max(sum(start <= other < start + 300 for other in attempts) for start in attempts) <= 60 < run_limit
    assert weather.in_ban == 0
    assert all(to in ALLOWED[state] for state, to in moves)
    waits = [(line["retry_in"], line["fault"]) for line in run.log.told("ws_disconnect")]
    assert all(wait <= CAP for wait, fault in waits if "HTTP 4" not in fault)
    # Never more than the cap, and the time of an attempt, passes without one, but for bans and for being connected.
    assert trio.current_time() - attempts[-1] <= DAY + 3_000
    for connection in run.state.connections:
        assert connection.connects > 30
    assert {state for _, state in moves} == set(State)


async def test_stop_gives_up_exactly_once(autojump_clock, monkeypatch):
    class Closed(Weather):
        def script(self, kind, what):
            return [TransportFault(FaultKind.CLOSED, close_code=1006)]

    weather = Closed(5)
    reconnect = ReconnectOptions(max_attempts=10, after_max_attempts=AfterMaxAttempts.STOP)
    run, moves = await run_days(weather, 30, reconnect, monkeypatch)
    assert [to for _, to in moves].count(State.ERROR) == len(PLANS)
    assert len(weather.attempts) == 10 * len(PLANS)
    given_up = [line for line in run.log.told("ws_disconnect") if line.get("retry_in") is None]
    assert sorted(line["connection"] for line in given_up) == sorted(plan.name for plan in PLANS)
    assert all(later >= first for first, later in pairwise(weather.attempts))
