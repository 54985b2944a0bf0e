"""The receivers that are compared. Another peer is another entry here, and a script in ``peers``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
from measure import HERE, Job, Outcome, Receiver, Wrong
from watching import Onlooker, Watcher

from quantlab_collector.exchanges.registry import EXCHANGES

PEERS_PYTHON = os.environ.get("QUANTLAB_BENCH_PEERS", "")
"""The interpreter of the environment of the peers, which knows nothing of the collector, as the collector's knows nothing of them."""


@attrs.frozen
class Row:
    """A row of the table."""

    title: str
    receiver: Receiver
    share: float = 1.0
    """Slow ones get fewer of the messages."""
    spare: bool = False
    """Measured only when asked for."""
    any_exchange: bool = False
    """Peers speak Binance only."""


def _counted(output: str) -> Outcome:
    return Outcome(**json.loads(output))


def _count(job: Job) -> list[str]:
    return [sys.executable, str(HERE / "count.py"), str(job.folder / "plan.json")]


def _peer(script: str, job: Job) -> list[str]:
    return [PEERS_PYTHON, str(HERE / "peers" / f"{script}.py"), str(job.folder / "plan.json")]


def peer(script: str, rows_of: str | None = None) -> Receiver:
    """A script of somebody else's libraries."""
    return Receiver(partial(_peer, script), _counted, rows_of)


def _collect(wire: str, more: str, job: Job) -> list[str]:
    others = "".join(f"[exchanges.{name}]\nenabled = false\n" for name in EXCHANGES if name != job.exchange)
    (job.folder / "collector.toml").write_text(f"""
[collector]
symbols = {json.dumps(job.symbols)}
stop_timeout = "5m"  # all is to be stored, whatever it costs
{others}
[exchanges.{job.exchange}]
ws_url = "{job.url}"
rest_url = "http://127.0.0.1:9"  # nobody is there
ca_file = "{job.ca_file}"
[intake]
wire = "{wire}"
[status]
port = 0
[log]
format = "json"
{more}
""")
    return [sys.executable, "-m", "quantlab_collector", "run", "--config", "collector.toml"]


def _collected(output: str) -> Outcome:
    stop = json.loads(output.splitlines()[-1])
    if stop["event"] != "collector_stop" or stop["rejected"] or stop["pending"]:
        raise Wrong("the service did not store everything")
    return Outcome(events=stop["received"], lost=stop["dropped"])


def collector(wire: str = "fast", more: str = "", watch: Callable[[Path], Watcher] = Onlooker) -> Receiver:
    """The whole service as it comes, or with more to do: journal with fsync, Parquet, manifests, status."""
    return Receiver(partial(_collect, wire, more), _collected, "event", watch)


def archiver(compression: str) -> Receiver:
    """The whole service, and the archive of raw frames beside it, with a queue that takes all: nothing is to be dropped."""
    return collector("fast", f'[raw_archive]\nenabled = true\ncompression = "{compression}"\nqueue_bytes = "8GiB"\n')


SERVICE, BARE, CRYPTOFEED, PICOWS, TRIO = "service", "bare", "cryptofeed", "picows", "trio-websocket"
ROWS = {
    "wire": Row("our wire, frames only", Receiver(_count, _counted), any_exchange=True),
    "websockets": Row("websockets (asyncio) + orjson", peer("websockets_orjson"), share=0.4),
    TRIO: Row("trio-websocket + orjson", peer("trio_websocket_orjson"), share=0.2),
    PICOWS: Row("picows + msgspec", peer("picows_msgspec")),
    BARE: Row("picows + msgspec + Parquet, a bare script", peer("picows_parquet", "message")),
    CRYPTOFEED: Row("cryptofeed 3 + Parquet", peer("cryptofeed_parquet", "message"), share=0.3),
    SERVICE: Row("the whole service", collector(), any_exchange=True),
    "service-raw": Row("… and raw frames, gzip", archiver("gzip"), spare=True, any_exchange=True),
    "service-raw-zstd": Row("… and raw frames, zstd", archiver("zstd"), spare=True, any_exchange=True),
    "service-trio-websocket": Row("… over trio-websocket", collector("trio-websocket"), share=0.2, spare=True, any_exchange=True),
}
