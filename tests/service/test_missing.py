"""What does not come is named: in the log, over HTTP, in Prometheus, in the manifests and by ``inspect``."""

from __future__ import annotations

import json
import signal
import urllib.request

import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import collector, config_for, manifests, run_cli

SYMBOLS = tuple(f"SYM{number}USDT" for number in range(125))
MUTED = "SYM42USDT"
SHORT = """
[silence]
first_message = "3s"
calm = "1s"
"""


async def until(look, limit=30):
    with trio.fail_after(limit):
        while not await look():
            await trio.sleep(0.05)


async def test_one_topic_that_never_delivers_among_many(tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=3_000, seed=7))
    simulator.faults.mute(StreamType.BBO, MUTED)
    config = config_for(simulator, symbols=SYMBOLS, flush="1s", more=SHORT)
    async with collector(tmp_path / "run", config) as service:

        async def mute():
            return service.told("stream_mute")

        await until(mute)
        _, shown = await service.get("/gaps")
        assert [(m["exchange"], m["stream"], m["symbol"], m["to"]) for m in shown["mutes"]] == [("binance", "bbo", MUTED, None)]
        _, streams = await service.get("/streams")
        assert [t["symbol"] for t in streams["topics"] if t["freshness"] == "mute"] == [MUTED]
        _, status = await service.get("/status")
        assert (status["state"], status["reasons"]) == ("DEGRADED", [f"1 mute: binance/bbo/{MUTED}"])
        _, metrics = await service.get("/metrics")
        assert (metrics["mutes_open"], metrics["mutes_total"], metrics["silence_intervals_total"]) == (1, 1, 0)
        scraped = await trio.to_thread.run_sync(scrape, service.url)
        assert [line for line in scraped if line.startswith("quantlab_stream_mute")] == [
            line for line in scraped if f'stream="bbo",symbol="{MUTED}"' in line
        ]

        simulator.faults.unmute(StreamType.BBO, MUTED)

        async def ready():
            return (await service.get("/status"))[1]["state"] == "READY"

        await until(ready)
        assert await service.stop() == 0

    (told,) = service.told("stream_mute")
    assert (told["exchange"], told["stream"], told["symbol"]) == ("binance", "bbo", MUTED)
    (ended,) = service.told("stream_mute_ended")
    assert ended["symbol"] == MUTED
    assert ended["seconds"] >= 3
    assert not service.told("silence_detected")

    recorded = [mute for manifest in manifests(tmp_path / "run" / "data") for mute in manifest["mutes"]]
    assert {(mute["symbol"], mute["since"]) for mute in recorded} == {(MUTED, recorded[0]["since"])}
    assert [mute["to"] is None for mute in recorded][-1] is False
    inspected = json.loads(run_cli("inspect", "--json", "data", cwd=tmp_path / "run").stdout)
    assert [(mute["symbol"], mute["to"]) for mute in inspected["mutes"]] == [(MUTED, recorded[-1]["to"])]
    assert MUTED in run_cli("inspect", "data", cwd=tmp_path / "run").stdout


def scrape(url):
    request = urllib.request.Request(url + "/metrics", headers={"Accept": "text/plain"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode().splitlines()


async def test_a_hole_of_seven_trades_is_told_as_seven(tmp_path, nursery):
    symbols = ("BTCUSDT", "ETHUSDT")
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=symbols, rate=2_000, seed=3))
    async with collector(tmp_path / "run", config_for(simulator, symbols=symbols, flush="1s")) as service:
        await service.wait_received(2_000)
        simulator.faults.skip("BTCUSDT", 7)

        async def gap():
            return service.told("gap_detected")

        await until(gap)
        _, shown = await service.get("/gaps")
        assert shown["totals"]["missed_events"] == {"binance/trade": 7}
        assert 0 < (await service.get("/metrics"))[1]["effective_data_loss_rate_pct"] < 1
        assert await service.stop() == 0
    (told,) = service.told("gap_detected")
    assert (told["stream"], told["symbol"], told["missed"]) == ("trade", "BTCUSDT", 7)
    (recorded,) = [gap for manifest in manifests(tmp_path / "run" / "data") for gap in manifest["gaps"]]
    assert (recorded["stream"], recorded["symbol"], recorded["missed"]) == ("trade", "BTCUSDT", 7)
    # Between the receptions of its neighbours, which are there.
    times = recorded_times(tmp_path / "run" / "data")
    assert [recorded["since"] in times, recorded["to"] in times] == [True, True]
    assert not [time for time in times if recorded["since"] < time < recorded["to"]]


def recorded_times(data):
    import duckdb

    files = [str(path) for path in data.glob("exchange=binance/stream=trade/symbol=BTCUSDT/**/*.parquet")]
    query = "SELECT DISTINCT ts_recv FROM read_parquet($files, hive_partitioning=false) ORDER BY 1"
    return [time for (time,) in duckdb.execute(query, {"files": files}).fetchall()]


async def test_how_long_nobody_recorded_is_told_after_a_kill(tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=("BTCUSDT",), rate=500, seed=3))
    config = config_for(simulator, symbols=("BTCUSDT",), flush="1s")
    async with collector(tmp_path / "run", config) as service:
        await service.wait_received(500)
        service.process.send_signal(signal.SIGKILL)
        await service.process.wait()
    await trio.sleep(2.2)
    async with collector(tmp_path / "run", config) as service:
        await service.wait_received(500)
        assert await service.stop() == 0
    (told,) = service.told("downtime")
    assert told["seconds"] >= 2.2
    assert told["text"].endswith("OFFLINE")
    written = [manifest["downtime"] for manifest in manifests(tmp_path / "run" / "data") if manifest["downtime"]]
    assert written == [{"since": told["since"], "to": told["to"]}]
    inspected = json.loads(run_cli("inspect", "--json", "data", cwd=tmp_path / "run").stdout)
    assert inspected["downtimes"] == written
    assert "nobody recorded" in run_cli("inspect", "data", cwd=tmp_path / "run").stdout
