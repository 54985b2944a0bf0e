"""A1 and A3: whatever clients do to the window, what the exchange sends is recorded.

The simulator, the collector and the clients each live in a process of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from quantlab_collector.simulators.child import playing_in_child
from quantlab_collector.simulators.play import PlayOptions
from service.harness import PACKAGE_PARENT, collector, config_for, differing

pytestmark = pytest.mark.long

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
EVENTS, SLOW, REQUESTS = 20_000, 1_000, 5_000
"""Events a second, slow clients, requests a second."""
SECONDS = float(os.environ.get("QUANTLAB_TEST_API_SECONDS", "6"))
LET_GO = 12
"""Seconds after which no slow client may still have its connection: the limits, and some patience with a busy machine."""


@asynccontextmanager
async def flooding(port):
    """Ends with what the clients tell."""
    told = {}
    command = [sys.executable, str(Path(__file__).with_name("flood.py")), *map(str, (port, SLOW, REQUESTS))]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield told
        await process.stdin.aclose()
        with trio.fail_after(10):
            output = b"".join([chunk async for chunk in process.stdout])
            assert await process.wait() == 0
        told.update(json.loads(output))
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        await process.stdout.aclose()
        await process.stdin.aclose()


async def test_a1_a3_slow_clients_and_a_flood_cost_no_event(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", PACKAGE_PARENT)
    ledger = tmp_path / "ledger.csv"
    with playing_in_child(PlayOptions(("binance",), SYMBOLS, EVENTS, seed=3, ledger=ledger)) as (simulator,):
        async with collector(tmp_path / "run", config_for(simulator, symbols=SYMBOLS)) as service:
            await service.wait_received(EVENTS)
            async with flooding(urlsplit(service.url).port) as clients:
                await trio.sleep(SECONDS)
                # In full flow: neither the simulator nor the clients pause.
                with trio.fail_after(30):
                    assert await service.stop() == 0
            assert service.errors == ""
            (stop,) = service.told("collector_stop")

    assert differing(tmp_path / "run" / "data", ledger) == []
    rows = stop["received"]
    assert rows == stop["written"]
    assert (stop["dropped"], stop["rejected"]) == (0, 0)
    assert rows >= 0.3 * EVENTS * SECONDS  # a test that saw too little proves nothing
    assert set(clients["statuses"]) <= {"200", "404", "503"}  # 503: /ready during the stop
    assert clients["answered"] > 10
    assert clients["refused"] > 10
    assert sum(clients["slow_ended"].values()) >= SLOW / 2
    assert clients["longest"] < LET_GO
    assert clients["oddities"] == {}
    assert not [line for line in service.log if line["level"] in {"error", "critical"}]
    print(json.dumps({"rows": rows, "clients": clients}))
