"""A whole collector as a process of its own, and an independent reader of what it recorded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from pathlib import Path

import duckdb
import trio

import quantlab_collector
from quantlab_collector.contracts.events import StreamType
from quantlab_collector.exchanges.registry import EXCHANGES

START_LIMIT = 30
# The package that the tests import is the one that runs, installed or not.
PACKAGE_PARENT = str(Path(quantlab_collector.__file__).parent.parent)


def environment(more=None):
    return {**os.environ, "PYTHONPATH": PACKAGE_PARENT, **(more or {})}


class Collector:
    """A running ``quantlab-collector run``."""

    def __init__(self, process, log: Path):
        self.process = process
        self.log_path = log
        self.url = None

    @property
    def log(self):
        """The log so far, line by line."""
        return [json.loads(line) for line in self.log_path.read_text().splitlines() if line.endswith("}")]

    def told(self, event):
        return [line for line in self.log if line["event"] == event]

    async def wait_started(self):
        with trio.fail_after(START_LIMIT):
            while not self.told("collector_start"):
                assert self.process.poll() is None, self.log_path.read_text() + self.errors
                await trio.sleep(0.02)
        self.url = self.told("collector_start")[0].get("status")

    @property
    def errors(self):
        return self.log_path.with_suffix(".err").read_text()

    async def get(self, path, headers=None):
        """The status and the JSON of one page."""

        def fetch():
            request = urllib.request.Request(self.url + path, headers=headers or {})
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status, json.loads(answer.read())
            except urllib.error.HTTPError as refusal:
                with refusal:
                    return refusal.code, json.loads(refusal.read())

        return await trio.to_thread.run_sync(fetch)

    async def wait_received(self, count, limit=30):
        with trio.fail_after(limit):
            while (await self.get("/metrics"))[1]["identity"]["received"] < count:
                await trio.sleep(0.05)

    async def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return await self.process.wait()


PRODUCT = ("-m", "quantlab_collector")


async def start(folder: Path, config: str, *, environ=None, entry=PRODUCT, around=()):
    """Start a collector in a folder; ``around`` is a command that runs the one that follows it."""
    folder.mkdir(exist_ok=True)
    (folder / "collector.toml").write_text(config)
    number = len(list(folder.glob("*.log")))
    log = folder / f"{number:03d}.log"
    command = [*around, sys.executable, "-W", "error", *entry, "run", "--config", "collector.toml"]
    with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
        process = await trio.lowlevel.open_process(command, cwd=folder, stdout=out, stderr=err, env=environment(environ))
    return Collector(process, log)


@asynccontextmanager
async def collector(folder: Path, config: str, *, environ=None, around=()):
    """Start a collector in a folder; kill it at the end if it still runs."""
    running = await start(folder, config, environ=environ, around=around)
    process = running.process
    try:
        await running.wait_started()
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def config_for(simulator, *, symbols, exchange="binance", ca_file=None, flush="5s", more=""):
    """A config that records from one simulator into ``data``, with the status page on a free port."""
    ca = f'ca_file = "{ca_file}"\n' if ca_file else ""
    others = "".join(f"[exchanges.{name}]\nenabled = false\n" for name in EXCHANGES if name != exchange)
    return f"""
[collector]
symbols = {json.dumps(list(symbols))}
{others}
[exchanges.{exchange}]
enabled = true
ws_url = "{simulator.ws_url}"
rest_url = "{simulator.rest_url}"
{ca}
[flush]
interval = "{flush}"
part_rows = 1
[status]
port = 0
[log]
format = "json"
{more}
"""


# ----------------------------------------------------------------------------------------------------- what was recorded


def manifests(data: Path):
    """Every manifest, by plain JSON."""
    return [json.loads(path.read_bytes()) for path in sorted(data.glob("_manifests/**/*.json"))]


def named_parts(data: Path, only_epoch=None):
    parts = [
        part["key"]
        for manifest in manifests(data)
        for part in manifest["parts"]
        if only_epoch is None or manifest["segment"].startswith(f"{only_epoch}-")
    ]
    assert len(parts) == len(set(parts))
    return parts


OWN_COLUMNS = {
    "bbo": "bid_price, bid_qty, ask_price, ask_qty",
    "trade": "price, qty, side, trade_id",
    "mark_price": "mark_price, index_price",
    "funding": "funding_rate, next_funding_ts",
    "open_interest": "open_interest",
}


def recorded(data: Path):
    """Rows by stream as tuples without ``ts_recv``, read by DuckDB from the parts that manifests name, and nothing else."""
    rows = {}
    parts = named_parts(data)
    for stream, columns in OWN_COLUMNS.items():
        files = [str(data / key) for key in parts if f"/stream={stream}/" in key]
        rows[stream] = Counter()
        if files:
            answer = duckdb.execute(
                f"SELECT ts_event, exchange, symbol, stream, stream_version, {columns} "
                "FROM read_parquet($files, hive_partitioning=false)",
                {"files": files},
            )
            rows[stream].update(answer.fetchall())
    return rows


def row(event, stream):
    """An event as a row of ``recorded``."""
    fields = [getattr(event, name) for name in event.__struct_fields__]
    ts_event, _, exchange, symbol, *own = fields
    return (ts_event, exchange, symbol, stream, 1, *own)


MESSAGE_STREAMS = {
    StreamType.BBO: [StreamType.BBO],
    StreamType.TRADE: [StreamType.TRADE],
    StreamType.MARK_PRICE: [StreamType.MARK_PRICE, StreamType.FUNDING],
}
"""Of Binance: the streams that one message owes."""
ONE_EACH = {stream: [stream] for stream in StreamType}
"""Of Bybit and OKX: the ledger has an entry for each stream, also where one message tells several."""


def owed(simulator, entries=None, streams_of=MESSAGE_STREAMS):
    """What a recorder owes for what the ledger says was sent: rows by stream, told again by the oracle."""
    rows = {stream: Counter() for stream in OWN_COLUMNS}
    for entry in simulator.ledger.entries() if entries is None else entries:
        for stream in streams_of[entry.kind]:
            event = simulator.messages.raw(stream, entry.symbol, entry.number, entry.exchange_ms)
            rows[stream.value][row(event, stream.value)] += 1
    return rows


def differences(got, expected):
    """How many rows are foreign, missing, or there twice, by stream."""
    return {
        stream: {
            "foreign": len(got[stream].keys() - expected[stream].keys()),
            "missing": len(expected[stream].keys() - got[stream].keys()),
            "twice": sum(n - 1 for n in got[stream].values()),
        }
        for stream in expected
    }


NOTHING = {stream: {"foreign": 0, "missing": 0, "twice": 0} for stream in OWN_COLUMNS}


LONGEST_TAIL_NS = 1_000_000_000
"""What a kill may cost."""


def lost_tails(simulator, got, kills):
    """For each connection: how long before its end the oldest event was sent that is not in the files, in ns.

    What is there of a connection is a prefix of what was sent on it: nothing is lost in the middle.
    """
    sent = defaultdict(list)
    for entry in simulator.ledger.entries():
        for stream in MESSAGE_STREAMS[entry.kind]:
            event = simulator.messages.raw(stream, entry.symbol, entry.number, entry.exchange_ms)
            kept = row(event, stream.value) in got[stream.value]
            sent[entry.connection, stream, entry.symbol].append((entry.number, kept, entry.accepted_ns))
    tails = []
    for entries in sent.values():
        entries.sort()
        kept = [there for _, there, _ in entries]
        assert kept == sorted(kept, reverse=True), "lost in the middle"
        lost = [accepted for _, there, accepted in entries if not there]
        if lost:
            # Events that were sent into a socket whose reader was dead already are nobody's loss.
            killed = min(kill for kill in kills if kill >= min(lost) - LONGEST_TAIL_NS)
            tails.append(killed - min(lost))
    return tails


def differing(data, ledger):
    """Of what stream, symbol and exchange time the recording has another number of rows than the ledger. By DuckDB: there may be
    millions, and the fields of each are compared elsewhere."""
    return duckdb.execute(
        """
        WITH messages AS (SELECT * FROM read_csv($ledger)),
        sent AS (
            SELECT kind AS stream, symbol, exchange_ms * 1000000 AS ts_event FROM messages
            UNION ALL SELECT 'funding', symbol, exchange_ms * 1000000 FROM messages WHERE kind = 'mark_price'
        ),
        stored AS (
            SELECT stream, symbol, ts_event FROM read_parquet($parts, hive_partitioning = false, union_by_name = true)
        ),
        counted AS (
            SELECT stream, symbol, ts_event, 1 AS owed FROM sent UNION ALL SELECT stream, symbol, ts_event, -1 FROM stored
        )
        SELECT stream, symbol, ts_event, sum(owed) AS missing FROM counted GROUP BY ALL HAVING sum(owed) <> 0 LIMIT 10
        """,
        {"ledger": str(ledger), "parts": f"{data}/exchange=*/**/*.parquet"},
    ).fetchall()


def run_cli(*arguments, cwd, environ=None):
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "quantlab_collector", *arguments],
        cwd=cwd, env=environment(environ), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
