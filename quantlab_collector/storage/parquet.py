"""Tables → one part, written for size. What was measured stands in docs/decisions/0007, 0022 and 0027."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Final

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from quantlab_collector.contracts.events import STREAM_VERSION
from quantlab_collector.storage.partitions import GROUP_ROWS, bounds

SMALL: Final = 100
"""Below so many rows Snappy is as small as zstd, and costs a part half as much CPU."""
LEVEL: Final = 3
LEVEL_OF_TIMES: Final = 4
"""A tenth less of the exchange's times for a hundredth more CPU: their differences repeat. Prices and sizes would cost more."""
_REPEATED: Final = ["exchange", "symbol", "stream", "stream_version"]
"""The same in every row: a dictionary of one, and nothing left to compress."""
_NEVER_REPEATED: Final = ["trade_id"]
"""Of what is never the same twice only zstd makes less, however few there are."""
_DICTIONARIES: Final = [*_REPEATED, "side"]
_TIMES: Final = ["ts_event", "ts_recv"]
"""What parts are searched by. Statistics of the other columns would cost half a kilobyte a part."""
_ENCODINGS: Final = {
    "ts_event": "DELTA_BINARY_PACKED",
    "ts_recv": "DELTA_BINARY_PACKED",
    "next_funding_ts": "DELTA_BINARY_PACKED",
    "trade_id": "DELTA_BYTE_ARRAY",
}
_OF_UUIDS: Final = "DELTA_LENGTH_BYTE_ARRAY", 1
"""Encoding and level of trade ids that do not count, as Bybit's: nothing in them repeats, and to look for it takes three times as
long and makes them larger."""


@attrs.frozen
class Encoded:
    """One part, whole, and what its manifest says about it."""

    data: pa.Buffer
    rows: int
    ts_event: tuple[int, int]
    ts_recv: tuple[int, int]
    trade_id: tuple[str, str] | None
    """Of the first and the last row."""


def encode(tables: Iterable[pa.Table], metadata: Mapping[str, str]) -> Encoded:
    """Make one part of tables that follow each other. The metadata tells a lone file where it comes from."""
    remaining = iter(tables)
    first = next(remaining)
    rows, events, received, ids = 0, list[int](), list[int](), list[str]()
    sink = pa.BufferOutputStream()
    with _writer(sink, first) as writer:
        remaining = itertools.chain((first,), remaining)
        del first  # it may be large, and is a view of what is larger still
        for table in remaining:
            writer.write_table(table, row_group_size=GROUP_ROWS)
            rows += table.num_rows
            events += bounds(table.column("ts_event"))
            received += bounds(table.column("ts_recv"))
            if "trade_id" in table.column_names:
                column = table.column("trade_id")
                ids += (column[0].as_py(), column[-1].as_py())
        writer.add_key_value_metadata({"schema_version": str(STREAM_VERSION), **metadata})
    trade_id = (ids[0], ids[-1]) if ids else None
    return Encoded(sink.getvalue(), rows, (min(events), max(events)), (min(received), max(received)), trade_id)


def _writer(sink: pa.BufferOutputStream, table: pa.Table) -> pq.ParquetWriter:
    names = table.column_names
    varying = [name for name in names if name not in _REPEATED]
    small = table.num_rows < SMALL
    zstd = [name for name in varying if not small or name in _NEVER_REPEATED]
    levels = {name: LEVEL_OF_TIMES if name in _TIMES else LEVEL for name in zstd}
    encodings = {name: _ENCODINGS[name] for name in names if name in _ENCODINGS}
    if "trade_id" in names and not table.column("trade_id")[0].as_py().isdecimal():
        encodings["trade_id"], levels["trade_id"] = _OF_UUIDS
    return pq.ParquetWriter(
        sink,
        table.schema,
        compression=dict.fromkeys(varying, "snappy") | dict.fromkeys(zstd, "zstd"),
        compression_level=levels,
        use_dictionary=[name for name in _DICTIONARIES if name in names],
        column_encoding=encodings,
        write_statistics=_TIMES,
        write_page_checksum=True,
        store_schema=False,
    )
