"""The store is gone for a while, in full flow: the sockets do not notice, nothing is lost, and the backlog drains fast."""

from __future__ import annotations

import os

import pytest
import trio

from quantlab_collector.simulators.child import playing_in_child
from quantlab_collector.simulators.play import PlayOptions
from service.harness import PACKAGE_PARENT, collector, config_for, differing, run_cli
from storage.fault_store import FaultStore, answer, anything

pytestmark = pytest.mark.long

SYMBOLS = tuple(f"S{number:02d}USDT" for number in range(50))
SECONDS = float(os.environ.get("QUANTLAB_TEST_OUTAGE_SECONDS", "6"))
RATE = float(os.environ.get("QUANTLAB_TEST_OUTAGE_RATE", "4000"))
FLUSH = max(0.7, min(SECONDS / 8, 15))
AT_LEAST = 5
"""The backlog drains so many times faster than it grew."""


async def test_an_outage_of_the_store_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", PACKAGE_PARENT)
    ledger = tmp_path / "ledger.csv"
    play = PlayOptions(exchanges=("binance",), symbols=SYMBOLS, rate=RATE, seed=8, ledger=ledger)
    with FaultStore() as store, playing_in_child(play) as (simulator,):
        config = config_for(simulator, symbols=SYMBOLS, flush=f"{round(FLUSH * 1000)}ms", more=store.config("v1"))
        async with collector(tmp_path / "run", config, environ=store.environ) as service:
            await until(service, lambda writer, _: writer["segments_committed"] >= 2)
            store.inject(answer(503, "ServiceUnavailable"), times=None, on=anything)
            await until(service, lambda writer, _: writer["upload_failures"])
            stopped = trio.current_time()
            await trio.sleep(SECONDS)
            backlog = (await service.get("/metrics"))[1]["writer"]["backlog_segments"]
            down = trio.current_time() - stopped
            store.heal()
            healed = trio.current_time()
            await until(service, lambda writer, _: writer["backlog_segments"] <= 1)
            drained = trio.current_time() - healed
            metrics = (await service.get("/metrics"))[1]
            assert await service.stop() == 0
            (stop,) = service.told("collector_stop")
            assert service.errors == ""
            assert not service.told("ws_disconnect")
            assert not service.told("queue_full_drop")
        assert store.served > 3
        data = write_down(store, tmp_path / "copy")
    assert (stop["received"], stop["dropped"], stop["pending"]) == (stop["written"], 0, 0)
    assert backlog >= SECONDS / FLUSH / 2
    assert differing(data, ledger) == []
    assert run_cli("inspect", "--verify", str(data), cwd=tmp_path).returncode == 0
    # Not a matter of speed: by the waits alone, an open gate ships a segment after the other.
    assert drained < max(down / AT_LEAST, 3.0)
    print(
        f"down {down:.0f} s at {RATE:.0f} events/s: {backlog} segments waited, drained in {drained:.1f} s "
        f"({down / drained:.0f} times faster), {stop['written']} rows stored, 0 missing; queue peak {metrics['queue_peak']}, "
        f"loop lag {metrics['latencies']['loop_lag']}"
    )


async def until(service, condition):
    with trio.fail_after(60 + SECONDS):
        while True:
            metrics = (await service.get("/metrics"))[1]
            identity = metrics["identity"]
            assert identity["received"] == sum(identity[term] for term in ("written", "dropped", "pending", "rejected"))
            if condition(metrics["writer"], metrics):
                return
            await trio.sleep(0.05)


def write_down(store, folder):
    for key, content in store.objects.items():
        path = folder / key.removeprefix("v1/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
