"""kill -9 before, after and in the middle of every step from the socket to the store, at work and while an earlier kill is being
recovered from: every restart goes on by itself, and at the end nothing synced is lost and nothing is there twice."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import trio

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import (
    LONGEST_TAIL_NS,
    collector,
    config_for,
    differences,
    lost_tails,
    manifests,
    owed,
    recorded,
    run_cli,
    start,
)
from service.killed import HIT, POINTS

pytestmark = pytest.mark.long

SYMBOLS = ("BTCUSDT", "ETHUSDT")
TRIALS = int(os.environ.get("QUANTLAB_TEST_FAILPOINT_TRIALS", "0"))
"""Of each point in each manner; with 0 each point has one of its manners, in turn."""
KILLED = str(Path(__file__).with_name("killed.py"))
ONCE = {"recovered", "spool opened", "spool looked through", "abandoned looked for", "claim put"}
"""What happens once in a process's life; the rest is met at the first time (then it is recovering) or a later one."""
IN_A_ROW = (
    "spool looked through:after:1",
    "pack written:half:1",
    "pack named:before:1",
    "journal removed:before:1",
    "part stored:after:1",
)
"""Kills of five starts, one after the other, each a little further in recovering what the first one left."""
HIT_LIMIT = 30


def failpoints():
    for number, (name, point) in enumerate(POINTS.items()):
        for when in point.whens if TRIALS else (point.whens[number % len(point.whens)],):
            yield name, when


def kills():
    for trial in range(max(TRIALS, 1)):
        for number, (name, when) in enumerate(failpoints()):
            yield f"{name}:{when}:{1 if name in ONCE else 1 + (number + trial) % 3}"
        yield from IN_A_ROW


async def test_kill_9_at_every_step(tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=2_000, seed=5))
    config = config_for(simulator, symbols=SYMBOLS, flush="250ms", more='[journal]\ninterval = "100ms"')
    folder, times, hits = tmp_path / "run", [], Counter()
    # Something to recover from, for points that only a start with leftovers meets.
    for kill_at in ("segment synced:after:2", *kills()):
        service = await start(folder, config, environ={"KILL_AT": kill_at}, entry=(KILLED,))
        with trio.move_on_after(HIT_LIMIT):
            await service.process.wait()
        times.append(time.time_ns())
        if service.process.poll() is None:
            service.process.kill()
            await service.process.wait()
        assert service.errors == f"{HIT} {kill_at}\n", (kill_at, service.log_path.read_text()[-2000:])
        assert service.process.returncode == -signal.SIGKILL
        assert not service.told("spool_quarantine"), kill_at
        hits[kill_at.rsplit(":", 1)[0]] += 1
    async with collector(folder, config) as service:
        await service.wait_received(1)
        assert await service.stop() == 0
        assert not service.told("spool_quarantine")
    nursery.cancel_scope.cancel()

    assert hits.keys() >= {f"{name}:{when}" for name, when in failpoints()}
    data = folder / "data"
    got, sent = recorded(data), owed(simulator)
    for stream, found in differences(got, sent).items():
        assert (found["foreign"], found["twice"]) == (0, 0), (stream, found)
    tails = lost_tails(simulator, got, times)
    assert max(tails, default=0) <= LONGEST_TAIL_NS
    assert run_cli("inspect", "--verify", "data", cwd=folder).returncode == 0
    left = [path for place in ("journal", "packs", "quarantine") for path in (folder / "spool" / place).iterdir()]
    assert left == []
    rows = sum(count for stream in got.values() for count in stream.values())
    print(
        f"{hits.total()} kills at {len(hits)} failpoints, {len(manifests(data))} segments, {rows} rows, "
        f"longest lost tail {max(tails, default=0) / 1e6:.0f} ms"
    )
