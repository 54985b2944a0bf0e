"""How many bytes an event takes in a part, next to what the Parquet writer makes of the same rows by default (Snappy).

    QUANTLAB_CORPUS=… python tests/bench/sizes.py              by recording, with parts of several sizes
    QUANTLAB_CORPUS=… python tests/bench/sizes.py --columns    what these bytes are

The rows come from frames that others recorded from the exchanges. ``all`` is one part of everything that there is of a symbol.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import attrs
import pages
import pyarrow as pa
import pyarrow.parquet as pq
import table
from recorded_events import Found, found_in
from verdict import Figure, sizes

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.schemas import journal_batch, journal_schema, raw_table
from quantlab_collector.storage.parquet import encode

FILES: Final = {
    "binance-usdm/hftbacktest/usdm_btcusdt_20230404.tsv.gz": "binance",
    "binance-usdm/hftbacktest/usdm_btcusdt_20240718.tsv.gz": "binance",
    "binance-spot/hftbacktest/spot_btcusdt_20230405.tsv.gz": "binance-spot",
    "bybit/cryptofeed/2026-08-09_linear.tsv.gz": "bybit",
    "bybit/cryptofeed/2025-06-13_linear_orderbook1.tsv": "bybit",
    "okx/cryptofeed/2022-02-27_public.tsv.gz": "okx",
}
FEWEST: Final = 20
"""Rows: what is smaller says nothing."""
METADATA: Final = {"collector": "0.1.0", "instance": "a", "segment": "1767280498692-000007", "quantity_unit": "base coin"}

Recordings: TypeAlias = Mapping[str, Found]
"""By a name for the reader: exchange and year."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[100, 1000], help="sizes of parts, besides all (default: %(default)s)"
    )
    parser.add_argument("--columns", action="store_true", help="bytes per event of each column, and of what is around them")
    parser.add_argument("--corpus", type=Path, default=os.environ.get("QUANTLAB_CORPUS"), help="default: QUANTLAB_CORPUS")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the table there as well, into its place if it has one"
    )
    options = parser.parse_args()
    if options.corpus is None:
        parser.error("QUANTLAB_CORPUS names no folder of recorded frames")
    recordings = {_name(file, exchange): found_in(options.corpus / file, exchange) for file, exchange in FILES.items()}
    figures: list[Figure] = []
    if options.columns:
        lines = columns(recordings)
    else:
        totals = _together([compare(found, None) for found in recordings.values()])
        lines = by_size(recordings, [*options.rows, None], totals)
        figures = list(sizes({stream: size.ours / size.theirs for stream, size in totals.items()}))
    print(table.text(lines, words=2))
    for figure in figures:
        print(figure.line)
    if options.markdown:
        block = "".join([f"{table.markdown(lines, words=2)}\n", "\n" * bool(figures), *(f"- {each.line}\n" for each in figures)])
        pages.put(options.markdown, "columns" if options.columns else "sizes", block)


def _name(file: str, exchange: str) -> str:
    date = next(piece for piece in Path(file).name.replace(".", "_").split("_") if piece[:2] == "20")
    return f"{exchange} {date[:4]}"


# --------------------------------------------------------------------------------------------------------------- by size


@attrs.define
class Sizes:
    """Bytes of parts, ours and by default."""

    ours: int = 0
    theirs: int = 0
    events: int = 0
    parts: int = 0

    def __add__(self, other: Sizes) -> Sizes:
        return Sizes(*map(sum, zip(attrs.astuple(self), attrs.astuple(other), strict=True)))


BySize: TypeAlias = Mapping[StreamType, Sizes]


def by_size(recordings: Recordings, rows: list[int | None], totals: BySize) -> list[table.Line]:
    """Bytes per event next to the defaults; and all recordings of a stream together."""
    lines: list[table.Line] = [("recording", "stream", "rows a part", "parts", "events", "bytes/event", "defaults", "ratio")]
    for name, found in recordings.items():
        for size in rows:
            lines += [_line(name, stream, sizes, size) for stream, sizes in compare(found, size).items()]
    return lines + [_line("all together", stream, sizes, None) for stream, sizes in totals.items()]


def _line(name: str, stream: StreamType, sizes: Sizes, rows: int | None) -> table.Line:
    return (
        name,
        stream.value,
        f"{rows:,}" if rows else "all",
        f"{sizes.parts}",
        f"{sizes.events:,}",
        f"{sizes.ours / sizes.events:.1f}",
        f"{sizes.theirs / sizes.events:.1f}",
        f"{sizes.ours / sizes.theirs:.2f}",
    )


def compare(found: Found, rows: int | None) -> BySize:
    """By stream, in parts of so many rows."""
    sums: dict[StreamType, Sizes] = defaultdict(Sizes)
    for stream, part in parts(found, rows):
        sums[stream] += Sizes(encode([part], METADATA).data.size, usual(part).size, part.num_rows, 1)
    return sums


def _together(several: list[BySize]) -> BySize:
    sums: dict[StreamType, Sizes] = defaultdict(Sizes)
    for each in several:
        for stream, size in each.items():
            sums[stream] += size
    return sums


def parts(found: Found, rows: int | None) -> Iterator[tuple[StreamType, pa.Table]]:
    """Each part, as a table of RAW v1."""
    for (exchange, stream, symbol), events in found.items():
        size = rows or len(events)
        for start in range(0, len(events), size):
            some = events[start : start + size]
            if len(some) >= FEWEST:
                yield stream, raw_table(journal_batch(journal_schema(exchange, stream), some), exchange, stream, symbol)


def usual(part: pa.Table) -> pa.Buffer:
    """A part as the writer makes it by default."""
    sink = pa.BufferOutputStream()
    pq.write_table(part, sink)
    return sink.getvalue()


# ------------------------------------------------------------------------------------------------------------- by column


def columns(recordings: Recordings) -> list[table.Line]:
    """What the bytes of an event are, of a part of all that there is of each symbol: ours, and by default."""
    lines: list[table.Line] = [("recording", "column", "bytes/event", "defaults", "ratio")]
    for name, found in recordings.items():
        ours: dict[StreamType, Counter[str]] = defaultdict(Counter)
        theirs: dict[StreamType, Counter[str]] = defaultdict(Counter)
        rows: Counter[StreamType] = Counter()
        for stream, part in parts(found, None):
            ours[stream] += bytes_by_column(encode([part], METADATA).data)
            theirs[stream] += bytes_by_column(usual(part))
            rows[stream] += part.num_rows
        for stream, count in rows.items():
            for column, size in ours[stream].items():
                other = theirs[stream][column]
                figures = f"{size / count:.2f}", f"{other / count:.2f}", f"{size / other:.2f}"
                lines.append((f"{name} {stream.value}", column, *figures))
    return lines


def bytes_by_column(part: pa.Buffer) -> Counter[str]:
    """What is the same in every row counts as one; ``around`` them is the footer, most of all."""
    metadata = pq.read_metadata(pa.BufferReader(part))
    found: Counter[str] = Counter()
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            found[SAME.get(column.path_in_schema, column.path_in_schema)] += column.total_compressed_size
    found["around"] = part.size - found.total()
    return found


SAME: Final = dict.fromkeys(("exchange", "symbol", "stream", "stream_version"), "the same in every row")


if __name__ == "__main__":
    main()
