"""A collector as a process of its own, with one topic that is acknowledged and never sent, in a real browser."""

from __future__ import annotations

from page.test_live_page import LIVE, STATE, cell, figure
from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import collector, config_for

SYMBOLS = ("BTCUSDT", "ETHUSDT")


async def test_a_mute_stands_out_among_what_flows(page, tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=200, seed=5))
    simulator.faults.mute(StreamType.BBO, "ETHUSDT")
    async with collector(tmp_path / "run", config_for(simulator, symbols=SYMBOLS)) as service:
        await page.open(service.url)
        await page.until(LIVE)
        await page.until(f"{STATE} === 'READY'")
        await page.until(f"{cell('BTCUSDT', 1)}.startsWith('cell fresh|')")
        assert await page.run(cell("ETHUSDT", 1)) == "cell waiting|…"
        assert (await page.run(cell("ETHUSDT", 2))).startswith("cell fresh|")

        _, trades = await service.get("/collectors/trades?symbol=ETHUSDT&limit=5")
        assert {trade["symbol"] for trade in trades["trades"]} == {"ETHUSDT"}
        assert (await service.get("/debug/tasks"))[0] == 404

        simulator.faults.unmute(StreamType.BBO, "ETHUSDT")
        await page.until(f"{cell('ETHUSDT', 1)}.startsWith('cell fresh|')")
        before = await page.run(figure("received"))
        await page.until(f"{figure('received')} !== '{before}'")
        assert page.complaints == []

        assert await service.stop() == 0
        await page.until("document.getElementById('main').className === 'stale'")
