"""How it stops: in two phases, or at once."""

from __future__ import annotations

import signal
import time

import pytest
import trio

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import NOTHING, collector, config_for, differences, owed, recorded

SYMBOLS = ("BTCUSDT", "ETHUSDT")


@pytest.fixture
async def simulator(nursery):
    return await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=1_000, seed=5))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_seals_ships_and_leaves_with_0(simulator, tmp_path, number):
    async with collector(tmp_path / "run", config_for(simulator, symbols=SYMBOLS, flush="1h")) as service:
        await service.wait_received(500)
        assert await service.stop(number) == 0
        assert [line["signal"] for line in service.told("collector_stopping")] == [signal.Signals(number).name]
        (stop,) = service.told("collector_stop")
        assert (stop["pending"], stop["reason"]) == (0, "drained")
    assert differences(recorded(tmp_path / "run" / "data"), owed(simulator)) == NOTHING


def break_store(run):
    """Make the store refuse everything: its root is a file."""
    (run / "data").rename(run / "data-aside")
    (run / "data").write_text("not a folder")


def mend_store(run):
    (run / "data").unlink()
    (run / "data-aside").rename(run / "data")


async def test_a_second_signal_syncs_and_is_gone(simulator, tmp_path):
    run = tmp_path / "run"
    async with collector(run, config_for(simulator, symbols=SYMBOLS, flush="1h")) as service:
        await service.wait_received(500)
        break_store(run)
        service.process.send_signal(signal.SIGTERM)
        with trio.fail_after(10):
            while not service.told("upload_failed"):
                await trio.sleep(0.02)
        sent = time.monotonic()
        assert await service.stop() == 3
        assert time.monotonic() - sent < 2.5  # two seconds, and what a busy machine adds to a process's end
        (stop,) = service.told("collector_stop")
        assert stop["pending"] == stop["received"] > 0
    mend_store(run)
    # Nothing was lost: the next start ships it.
    async with collector(run, config_for(simulator, symbols=SYMBOLS)) as service:
        await service.wait_received(1)
        assert await service.stop() == 0
    assert differences(recorded(run / "data"), owed(simulator)) == NOTHING


async def test_two_signals_at_once_lose_nothing_that_was_received(simulator, tmp_path):
    run = tmp_path / "run"
    async with collector(run, config_for(simulator, symbols=SYMBOLS, flush="1h")) as service:
        await service.wait_received(500)
        service.process.send_signal(signal.SIGTERM)
        service.process.send_signal(signal.SIGINT)
        assert await service.process.wait() in {0, 3}
        received = service.told("collector_stop")[0]["received"]
    before = sum(entry.kind == "mark_price" for entry in simulator.ledger.entries()) + simulator.ledger.total
    simulator.pause()
    async with collector(run, config_for(simulator, symbols=SYMBOLS)) as service:
        assert await service.stop() == 0
    got = recorded(run / "data")
    assert sum(map(len, got.values())) == received <= before
    assert all(found["foreign"] == found["twice"] == 0 for found in differences(got, owed(simulator)).values())


async def test_at_the_deadline_it_leaves_with_3_and_everything_in_the_spool(simulator, tmp_path):
    run = tmp_path / "run"
    config = config_for(simulator, symbols=SYMBOLS, flush="1h").replace("[exchanges", 'stop_timeout = "2s"\n[exchanges', 1)
    async with collector(run, config) as service:
        await service.wait_received(300)
        break_store(run)
        assert await service.stop() == 3
        (stop,) = service.told("collector_stop")
        assert stop["reason"] == "out of time"
        assert (stop["waiting_segments"], stop["written"]) == (1, 0)
        assert stop["waiting_bytes"] > 0
    mend_store(run)
    async with collector(run, config) as service:
        await service.wait_received(1)
        assert await service.stop() == 0
        assert any(line["recovered"] for line in service.told("segment_committed"))
    assert differences(recorded(run / "data"), owed(simulator)) == NOTHING


async def test_a_second_collector_on_the_same_spool_refuses(simulator, tmp_path):
    config = config_for(simulator, symbols=SYMBOLS)
    async with collector(tmp_path / "run", config) as service:
        with pytest.raises(AssertionError, match="another collector records into"):
            async with collector(tmp_path / "run", config):
                pass  # pragma: no cover
        await service.wait_received(10)
        assert await service.stop() == 0
