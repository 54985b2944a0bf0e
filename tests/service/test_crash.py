"""kill -9 in full flow: a restart recovers by itself, nothing synced is lost, nothing is there twice, and the lost tail is short."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
import trio

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import LONGEST_TAIL_NS, collector, config_for, differences, lost_tails, manifests, owed, recorded, run_cli

pytestmark = pytest.mark.long

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
TRIALS = int(os.environ.get("QUANTLAB_TEST_KILLS", "30"))


async def test_kill_9_loses_at_most_the_unsynced_tail(tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=3_000, seed=3))
    # Short intervals, so that kills hit every stage: journal, seal, encode, ship.
    config = config_for(simulator, symbols=SYMBOLS, flush="600ms")
    chance = random.Random(20261120)
    kills = []
    for _ in range(TRIALS):
        async with collector(tmp_path / "run", config) as service:
            await trio.sleep(chance.uniform(0.05, 1.6))
            service.process.send_signal(signal.SIGKILL)
            kills.append(time.time_ns())
            assert await service.process.wait() == -signal.SIGKILL
    async with collector(tmp_path / "run", config) as service:
        await service.wait_received(1)
        assert await service.stop() == 0
        assert not service.told("spool_quarantine")
    nursery.cancel_scope.cancel()

    data = tmp_path / "run" / "data"
    got, sent = recorded(data), owed(simulator)
    for stream, found in differences(got, sent).items():
        assert (found["foreign"], found["twice"]) == (0, 0), (stream, found)
    tails = lost_tails(simulator, got, kills)
    assert max(tails, default=0) <= LONGEST_TAIL_NS
    assert run_cli("inspect", "--verify", "data", cwd=tmp_path / "run").returncode == 0
    incomplete = [manifest for manifest in manifests(data) if not manifest["complete"]]
    # The test itself must have hit something: segments that were being written, and tails that were lost.
    assert len(incomplete) >= TRIALS // 3
    assert all(manifest["holes"] for manifest in incomplete)
    assert any(tails)
    print(f"{TRIALS} kills, {len(incomplete)} segments recovered, longest lost tail {max(tails) / 1e6:.0f} ms")
