"""A symbol that an exchange does not have is named, once, and stops nothing."""

from __future__ import annotations

import pytest
import trio

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import collector, config_for, recorded, run_cli

WANTED = ("BTCUSDT", "MATICUSDT", "NONESUCH")


@pytest.fixture
async def simulator(nursery):
    return await nursery.start(serve_binance, BinanceOptions(symbols=("BTCUSDT",), dead_symbols=("MATICUSDT",), rate=300))


async def test_the_service_names_them_and_records_the_rest(simulator, tmp_path):
    async with collector(tmp_path / "run", config_for(simulator, symbols=WANTED)) as service:
        await service.wait_received(200)
        _, streams = await service.get("/streams")
        assert await service.stop() == 0
        assert [line["symbol"] for line in service.told("symbol_unlisted")] == ["MATICUSDT", "NONESUCH"]
    states = {(topic["symbol"], topic["stream"]): topic["state"] for topic in streams["topics"]}
    assert {state for (symbol, _), state in states.items() if symbol == "BTCUSDT"} == {"live"}
    assert {state for (symbol, _), state in states.items() if symbol != "BTCUSDT"} == {"refused"}
    rows = recorded(tmp_path / "run" / "data")
    assert all(sum(rows[stream].values()) > 0 for stream in ("bbo", "trade", "mark_price", "funding"))


async def test_check_names_them(simulator, tmp_path):
    (tmp_path / "c.toml").write_text(config_for(simulator, symbols=WANTED))
    ended = await trio.to_thread.run_sync(lambda: run_cli("check", "--config", "c.toml", cwd=tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines() == [
        f"binance: {symbol} is not listed there; the rest will be recorded" for symbol in ("MATICUSDT", "NONESUCH")
    ]
