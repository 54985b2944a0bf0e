"""The receivers that are compared. Another peer is another entry here."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import attrs
from measure import HERE, Outcome, Receiver, Wrong
from mix import symbol_names


@attrs.frozen
class Row:
    """A row of the table."""

    title: str
    receiver: Receiver
    share: float = 1.0
    """Slow ones get fewer of the messages."""
    spare: bool = False
    """Measured only when asked for."""


def _count(kind: str, folder: Path, url: str, ca_file: Path, symbols: int) -> list[str]:
    return [sys.executable, str(HERE / "count.py"), kind, url, str(symbols), str(ca_file)]


def _counted(output: str) -> Outcome:
    return Outcome(frames=int(output))


def counter(kind: str) -> Receiver:
    """A process that only counts frames."""
    return Receiver(partial(_count, kind), _counted)


def _collect(wire: str, more: str, folder: Path, url: str, ca_file: Path, symbols: int) -> list[str]:
    (folder / "collector.toml").write_text(f"""
[collector]
symbols = {json.dumps(symbol_names(symbols))}
stop_timeout = "5m"  # all is to be stored, whatever it costs
[exchanges.bybit]
enabled = false
[exchanges.okx]
enabled = false
[exchanges.binance]
ws_url = "{url}"
ca_file = "{ca_file}"
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


def collector(wire: str, more: str = "") -> Receiver:
    """The whole service as it comes, or with more to do: journal with fsync, Parquet, manifests, status."""
    return Receiver(partial(_collect, wire, more), _collected)


def archiver(compression: str) -> Receiver:
    """The whole service, and the archive of raw frames beside it, with a queue that takes all: nothing is to be dropped."""
    return collector("fast", f'[raw_archive]\nenabled = true\ncompression = "{compression}"\nqueue_bytes = "8GiB"\n')


REFERENCE = "trio-websocket"
ROWS = {
    "wire": Row("our wire, frames only", counter("wire")),
    REFERENCE: Row("trio-websocket, frames only", counter("trio-websocket"), share=0.2),
    "trio-websocket-tuned": Row("… with larger buffers", counter("trio-websocket-tuned"), share=0.2, spare=True),
    "service": Row("the whole service", collector("fast")),
    "service-raw": Row("… and raw frames, gzip", archiver("gzip"), spare=True),
    "service-raw-zstd": Row("… and raw frames, zstd", archiver("zstd"), spare=True),
    "service-trio-websocket": Row("… over trio-websocket", collector("trio-websocket"), share=0.2, spare=True),
}
