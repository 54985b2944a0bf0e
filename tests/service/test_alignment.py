"""After a reconnect REST is asked for the newest times. They are compared with; nothing of them is stored."""

from __future__ import annotations

import trio

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import collector, config_for, differences, owed, recorded

SYMBOLS = ("BTCUSDT", "ETHUSDT")
ASKED = 1 + 1 + len(SYMBOLS)  # all quotes, all marks, trades symbol by symbol


async def test_what_rest_tells_is_compared_and_never_stored(tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=1_000, seed=2, max_lifetime=1.2))
    async with collector(tmp_path / "run", config_for(simulator, symbols=SYMBOLS)) as service:
        with trio.fail_after(20):
            while True:
                _, metrics = await service.get("/metrics")
                if metrics["snapshot_fetches_total"] >= 2 * ASKED:
                    break
                await trio.sleep(0.1)
        assert metrics["snapshot_events_seen"] >= 2 * 4 * len(SYMBOLS)
        # The market went on while the connection was down, so every topic had missed something.
        assert metrics["gap_alignment_corrections"] > 0
        assert metrics["ws_reconnect_total"]["binance"] >= 2
        assert not service.told("alignment_failed")
        assert await service.stop() == 0
        gaps = service.told("gap_detected")
    assert len(gaps) >= 2
    assert {gap["connection"] for gap in gaps} == {"public-0", "market-0"}
    got = recorded(tmp_path / "run" / "data")
    for stream, found in differences(got, owed(simulator)).items():
        assert (found["foreign"], found["twice"]) == (0, 0), stream
    nursery.cancel_scope.cancel()


async def test_without_rest_the_recording_goes_on(tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=500, seed=2, max_lifetime=1.0))
    simulator.rest_url = "http://127.0.0.1:9"
    async with collector(tmp_path / "run", config_for(simulator, symbols=SYMBOLS)) as service:
        with trio.fail_after(20):
            while not service.told("alignment_failed"):
                await trio.sleep(0.05)
        received = (await service.get("/metrics"))[1]["identity"]["received"]
        await service.wait_received(received + 200)
        assert await service.stop() == 0
    nursery.cancel_scope.cancel()
