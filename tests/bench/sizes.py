"""How many bytes an event takes in a part, next to what the Parquet writer makes of the same rows by default (Snappy).

    QUANTLAB_CORPUS=… python tests/bench/sizes.py

The rows come from frames that others recorded from the exchanges. Of Bybit and OKX these are order books in full; their best bid and
offer is taken out of them whenever it changes. ``all`` is one part of everything that there is of a symbol.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from quantlab_collector.contracts.events import Bbo, Event, MarkPrice, StreamType, Trade
from quantlab_collector.contracts.schemas import journal_batch, journal_schema, raw_table
from quantlab_collector.storage.parquet import encode

FILES: Final = {
    "binance": ("binance-usdm/hftbacktest/usdm_btcusdt_20230404.tsv.gz", "binance-usdm/hftbacktest/usdm_btcusdt_20240718.tsv.gz"),
    "binance-spot": ("binance-spot/hftbacktest/spot_btcusdt_20230405.tsv.gz",),
    "bybit": ("bybit/cryptofeed/2026-08-09_linear.tsv.gz", "bybit/cryptofeed/2025-06-13_linear_orderbook1.tsv"),
    "okx": ("okx/cryptofeed/2022-02-27_public.tsv.gz",),
}
STREAMS: Final = {Bbo: StreamType.BBO, Trade: StreamType.TRADE, MarkPrice: StreamType.MARK_PRICE}
SECOND: Final = 10**9
FEWEST: Final = 20
"""Rows: what is smaller says nothing."""

Found: TypeAlias = dict[tuple[str, StreamType, str], list[Event]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[100, 1000], help="sizes of parts, besides all (default: %(default)s)"
    )
    parser.add_argument("--corpus", type=Path, default=os.environ.get("QUANTLAB_CORPUS"), help="default: QUANTLAB_CORPUS")
    options = parser.parse_args()
    if options.corpus is None:
        parser.error("QUANTLAB_CORPUS names no folder of recorded frames")
    print(f"{'recording':42} {'rows':>6} {'parts':>6} {'bytes/event':>12} {'defaults':>9} {'ratio':>6}")
    for exchange, files in FILES.items():
        for file in files:
            for rows in [*options.rows, None]:
                for stream, (ours, theirs, events, parts) in compare(found_in(options.corpus / file, exchange), rows).items():
                    name = f"{exchange} {stream} {Path(file).name[:20]}"
                    share = f"{ours / events:12.1f} {theirs / events:9.1f} {ours / theirs:6.2f}"
                    print(f"{name:42} {rows or 'all':>6} {parts:6} {share}")


def compare(found: Found, rows: int | None) -> dict[StreamType, tuple[int, int, int, int]]:
    """By stream: our bytes, theirs, events, parts; of parts of so many rows."""
    sums: dict[StreamType, tuple[int, int, int, int]] = {}
    for (exchange, stream, _), events in found.items():
        size = rows or len(events)
        for start in range(0, len(events), size):
            some = events[start : start + size]
            if len(some) < min(size, FEWEST):
                continue
            table = raw_table(journal_batch(journal_schema(exchange, stream), some), exchange, stream, some[0].symbol)
            before = sums.get(stream, (0, 0, 0, 0))
            new = (encode([table], METADATA).data.size, usual_bytes(table), len(some), 1)
            sums[stream] = tuple(map(sum, zip(before, new, strict=True)))  # type: ignore[assignment]
    return sums


METADATA: Final = {"collector": "0.1.0", "instance": "a", "segment": "1767280498692-000007", "quantity_unit": "base coin"}


def usual_bytes(table: pa.Table) -> int:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return len(sink.getvalue())


# --------------------------------------------------------------------------------------------------------- what was recorded


def found_in(path: Path, exchange: str) -> Found:
    found: Found = defaultdict(list)
    reader = {"bybit": bybit, "okx": okx}.get(exchange, binance)
    books: dict[str, Book] = defaultdict(Book)
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for line in data.splitlines():
        received, _, frame = line.partition(b"\t")
        for event in reader(json.loads(frame), nanoseconds(received), exchange, books):
            found[exchange, STREAMS[type(event)], event.symbol].append(event)
    return found


def nanoseconds(received: bytes) -> int:
    """Written as seconds with a fraction, microseconds or nanoseconds."""
    number = Decimal(received.decode())
    return int(number * next(unit for unit in (1, 10**3, SECOND) if number * unit > 10**18))


class Book:
    """Both sides, by price."""

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.top: tuple[float | None, ...] = ()

    def take(self, bids: list[list[str]], asks: list[list[str]], *, whole: bool) -> bool:
        """Whether the best prices or their sizes are others now."""
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            if whole:
                side.clear()
            side.update({float(price): float(size) for price, size, *_ in levels})
            for price in [price for price, size in side.items() if not size]:
                del side[price]
        bid, ask = max(self.bids, default=None), min(self.asks, default=None)
        before, self.top = self.top, (bid, self.bids.get(bid or 0), ask, self.asks.get(ask or 0))
        return self.top != before


def binance(frame: dict[str, Any], received: int, exchange: str, _: dict[str, Book]) -> Iterator[Event]:
    data = frame["data"]
    kind, at = data.get("e", "bookTicker"), data["T"] * 10**6 if "T" in data else received
    common = (received, exchange, data["s"])
    if kind == "bookTicker":
        yield Bbo(at, *common, *(float(data[key]) for key in "bBaA"))
    elif kind == "trade":
        yield Trade(at, *common, float(data["p"]), float(data["q"]), -1 if data["m"] else 1, str(data["t"]))
    elif kind == "markPriceUpdate":
        yield MarkPrice(data["E"] * 10**6, *common, float(data["p"]), float(data["i"]))


def bybit(frame: dict[str, Any], received: int, exchange: str, books: dict[str, Book]) -> Iterator[Event]:
    topic, data = frame.get("topic", ""), frame.get("data", {})
    if topic.startswith("orderbook."):
        symbol, book = data["s"], books[data["s"]]
        if book.take(data["b"], data["a"], whole=frame["type"] == "snapshot"):
            yield Bbo(frame.get("cts", frame["ts"]) * 10**6, received, exchange, symbol, *book.top)
    elif topic.startswith("publicTrade."):
        for one in data:
            side = 1 if one["S"] == "Buy" else -1
            yield Trade(one["T"] * 10**6, received, exchange, one["s"], float(one["p"]), float(one["v"]), side, one["i"])


def okx(frame: dict[str, Any], received: int, exchange: str, books: dict[str, Book]) -> Iterator[Event]:
    symbol = frame["arg"].get("instId", "")
    for one in frame.get("data", ()):
        if "asks" in one and books[symbol].take(one["bids"], one["asks"], whole=frame["action"] == "snapshot"):
            yield Bbo(int(one["ts"]) * 10**6, received, exchange, symbol, *books[symbol].top)


if __name__ == "__main__":
    main()
