"""The archive of raw frames in a whole process: decoded again it gives the rows of the recording, and it can be played back."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from types import SimpleNamespace

import duckdb
import pytest
import trio

from quantlab_collector.exchanges.protocol import Endpoints, Wanted
from quantlab_collector.exchanges.registry import EXCHANGES
from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from quantlab_collector.simulators.bybit import BybitOptions, serve_bybit
from quantlab_collector.storage.objects import LocalObjects
from quantlab_collector.storage.raw_recording import find_raw, verify_raw
from quantlab_collector.storage.rawlog import archive_files, read_archive, read_files
from service.harness import (
    NOTHING,
    ONE_EACH,
    OWN_COLUMNS,
    collector,
    config_for,
    differences,
    environment,
    named_parts,
    owed,
    recorded,
    row,
    run_cli,
)

pytestmark = pytest.mark.long

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
RAW = """
[raw_archive]
enabled = true
rotate_after = "300ms"
"""


def archived(data, exchange):
    return list(read_files(archive_files(data, exchange)))


def decoded(frames, exchange, simulator):
    """The events of archived frames, each socket of the archive in a session of its own."""
    kind = EXCHANGES[exchange]
    plans = {plan.name: plan for plan in kind.plan(Wanted(SYMBOLS, kind.streams, Endpoints(simulator.ws_url, "")))}
    sessions, rows = {}, {stream: Counter() for stream in OWN_COLUMNS}
    for frame in frames:
        if frame.connection not in sessions:
            sessions[frame.connection] = kind.session(plans[frame.connection.partition("#")[0]])
        harvest = sessions[frame.connection].decode([frame.data], frame.ts_recv)
        for burst in harvest.bursts(exchange):
            rows[burst.stream.value].update((event.ts_recv, *row(event, burst.stream.value)) for event in burst.events)
    return rows


def recorded_with_receive_times(data):
    rows, parts = {}, named_parts(data)
    for stream, columns in OWN_COLUMNS.items():
        files = [str(data / key) for key in parts if f"/stream={stream}/" in key]
        query = f"SELECT ts_recv, ts_event, exchange, symbol, stream, stream_version, {columns} "
        query += "FROM read_parquet($files, hive_partitioning=false)"
        rows[stream] = Counter(duckdb.execute(query, {"files": files}).fetchall() if files else ())
    return rows


def trade_ids(manifests):
    """By symbol, the first and the last of all files."""
    ids = {}
    for manifest in sorted(manifests, key=lambda manifest: manifest.key.rpartition("/")[2]):
        for symbol, (first, last) in manifest.trade_id.items():
            ids[symbol] = (ids.get(symbol, (first, ""))[0], last)
    return ids


@asynccontextmanager
async def playing_back(folder, exchange):
    """``simulate --corpus`` in a process of its own."""
    command = ["simulate", "--exchange", exchange, "--corpus", str(folder), "--speed", "20", "--json", "--until-stdin-closes"]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-W", "error", "-m", "quantlab_collector", *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    try:
        with trio.fail_after(20):
            line = await process.stdout.receive_some()
        yield SimpleNamespace(**json.loads(line))
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            await process.wait()


SERVERS = {"binance": (serve_binance, BinanceOptions, {}), "bybit": (serve_bybit, BybitOptions, {"streams_of": ONE_EACH})}


@pytest.mark.parametrize("wire", ["fast", "trio-websocket"])
@pytest.mark.parametrize("exchange", SERVERS)
async def test_the_archive_decodes_to_the_recording_and_plays_it_again(tmp_path, nursery, exchange, wire):
    serve, options, words = SERVERS[exchange]
    simulator = await nursery.start(serve, options(symbols=SYMBOLS, rate=1_500, seed=7))
    more = (
        f'{RAW}compression = "{"gzip" if wire == "fast" else "zstd"}"\n[intake]\nwire = "{wire}"\n[reconnect]\nfirst = "50ms"\n'
    )
    config = config_for(simulator, symbols=SYMBOLS, exchange=exchange, flush="1s", more=more)
    async with collector(tmp_path / "run", config) as service:
        await service.wait_received(2_000)
        simulator.faults.close(1001)  # a new session: what is archived must say so
        await service.wait_received(5_000)
        assert await service.stop() == 0
        assert service.errors == ""
        (stop,) = service.told("collector_stop")
    data = tmp_path / "run/data"
    found = differences(recorded(data), owed(simulator, **words))
    assert all((of["foreign"], of["twice"]) == (0, 0) for of in found.values())
    if wire == "fast":  # the other one's library throws away what comes behind our close frame
        assert found == NOTHING

    frames = archived(data, exchange)
    rows = recorded_with_receive_times(data)
    assert decoded(frames, exchange, simulator) == rows
    assert sum(map(Counter.total, rows.values())) == stop["written"] >= 5_000
    assert {frame.connection.partition("#")[2] for frame in frames} == {"1", "2"}
    assert [frame.ts_recv for frame in frames] == sorted(frame.ts_recv for frame in frames)

    found, problems = find_raw(LocalObjects(data))
    assert problems == verify_raw(LocalObjects(data), found) == []
    assert sum(manifest.frames for _, manifest in found.manifests) == len(frames)
    manifests = [manifest for _, manifest in found.manifests]
    if exchange == "binance":  # its ids are numbers that grow
        ids = {}
        for entry in rows["trade"]:
            ids.setdefault(entry[3], []).append(int(entry[-1]))
        assert trade_ids(manifests) == {symbol: (str(min(of)), str(max(of))) for symbol, of in ids.items()}
    assert len(manifests) > 3
    assert not list((tmp_path / "run/spool/raw").glob("*.raw*"))
    report = run_cli("inspect", "--verify", "--json", "data", cwd=tmp_path / "run")
    assert report.returncode == 0, report.stderr
    (told,) = json.loads(report.stdout)["raw_archive"]
    assert (told["exchange"], told["frames"], told["dropped"], told["files"]) == (exchange, len(frames), 0, len(manifests))

    # And back: recording from the archive gives the same events.
    async with playing_back(data, exchange) as played:
        again = config_for(played, symbols=SYMBOLS, exchange=exchange, flush="1s").replace(
            f'rest_url = "{played.rest_url}"\n', ""
        )
        async with collector(tmp_path / "again", again) as service:
            await service.wait_received(stop["written"])
            assert await service.stop() == 0
    assert differences(recorded(tmp_path / "again/data"), recorded(data)) == NOTHING
    nursery.cancel_scope.cancel()


async def test_kill_9_leaves_no_torn_file_and_the_next_start_ships_what_there_was(tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=4_000, seed=3))
    more = '[raw_archive]\nenabled = true\nrotate_bytes = "20kB"\n'
    config = config_for(simulator, symbols=SYMBOLS, flush="600ms", more=more)
    data, raw = tmp_path / "run/data", tmp_path / "run/spool/raw"
    chance, waiting, kills = random.Random(20261120), 0, 0
    while kills < 8 or (not waiting and kills < 50):
        kills += 1
        async with collector(tmp_path / "run", config) as service:
            await service.wait_received(chance.randrange(100, 2_000))
            service.process.send_signal(signal.SIGKILL)
            await service.process.wait()
        waiting += len(list(raw.glob("*.raw")))
        for path in data.glob("_raw/**/*.jsonl.gz"):
            list(read_archive(path))  # whole, or this raises
    async with collector(tmp_path / "run", config) as service:
        await service.wait_received(1)
        assert await service.stop() == 0
        assert not service.told("spool_quarantine")
    nursery.cancel_scope.cancel()
    assert sorted(path.name for path in raw.iterdir()) == ["epoch"]
    report = run_cli("inspect", "--verify", "data", cwd=tmp_path / "run")
    assert report.returncode == 0, report.stderr
    assert "raw frames" in report.stdout
    # What is archived was sent: each frame once, and no other.
    sent = owed(simulator)
    for stream, found in differences(
        without_receive_times(decoded(archived(data, "binance"), "binance", simulator)), sent
    ).items():
        assert (found["foreign"], found["twice"]) == (0, 0), (stream, found)
    assert waiting > 0, "no kill came while a file waited"


def without_receive_times(rows):
    """A topic on two sockets is another event for each: the ledger has both."""
    return {stream: Counter({entry[1:]: count for entry, count in of.items()}) for stream, of in rows.items()}


async def test_a_store_that_is_down_stalls_nothing_and_the_next_start_ships(tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=1_000, seed=3))
    config = config_for(simulator, symbols=SYMBOLS, flush="1s", more=RAW)
    config = config.replace("[exchanges", 'stop_timeout = "10s"\n[exchanges', 1)
    run = tmp_path / "run"
    (run / "data").mkdir(parents=True)
    (run / "data/_raw").write_text("not a folder")  # this part of the store is out of order, the rest works
    async with collector(run, config) as service:
        await service.wait_received(500)
        with trio.fail_after(20):
            while not service.told("raw_upload_failed"):
                await trio.sleep(0.02)
        _, metrics = await service.get("/metrics")
        assert metrics["raw_archive"]["upload_failures"] > 0
        assert await service.stop() == 0  # what stays of the archive is no reason for another exit code
        (kept,) = service.told("raw_files_kept")
        assert kept["files"] == len(list((run / "spool/raw").glob("*.raw"))) > 0
    (run / "data/_raw").unlink()
    async with collector(run, config) as service:
        await service.wait_received(1)
        assert await service.stop() == 0
        assert not service.told("raw_files_kept")
        assert not service.told("raw_upload_failed")
    data = run / "data"
    assert decoded(archived(data, "binance"), "binance", simulator) == recorded_with_receive_times(data)
    nursery.cancel_scope.cancel()


async def test_it_is_off_unless_it_is_wanted(tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=500, seed=3))
    async with collector(tmp_path / "run", config_for(simulator, symbols=SYMBOLS)) as service:
        await service.wait_received(100)
        assert (await service.get("/metrics"))[1]["raw_archive"]["enabled"] is False
        assert await service.stop() == 0
    assert not (tmp_path / "run/data/_raw").exists()
    nursery.cancel_scope.cancel()
