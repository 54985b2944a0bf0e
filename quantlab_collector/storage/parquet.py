"""Journal batches → Parquet: split by partition, and written for size.

The order within a partition is the order of reception: the split is a stable sort, and nothing else sorts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quantlab_collector.contracts.events import STREAM_VERSION, StreamType
from quantlab_collector.contracts.layout import DAY_NS, Partition, date_of_day
from quantlab_collector.contracts.schemas import identity, raw_table

ROW_GROUP_ROWS: Final = 1_048_576
_REPEATED: Final = ["exchange", "symbol", "stream"]
"""The same in every row: a dictionary of one."""
_ENCODINGS: Final = {
    "ts_event": "DELTA_BINARY_PACKED",
    "ts_recv": "DELTA_BINARY_PACKED",
    "next_funding_ts": "DELTA_BINARY_PACKED",
    "trade_id": "DELTA_BYTE_ARRAY",
}
_DAYS: Final = 100_000
"""More days than there will be: symbol code times this plus day is one number a partition."""


def partitions(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Partition, pa.Table]]:
    """The rows of a segment as RAW v1, one table a partition."""
    by_stream: dict[tuple[str, StreamType], list[pa.RecordBatch]] = {}
    for batch in batches:
        by_stream.setdefault(identity(batch.schema), []).append(batch)
    for (exchange, stream), group in sorted(by_stream.items()):
        for symbol, date, rows in _split(group):
            yield Partition(exchange, stream, symbol, date), raw_table(rows, exchange, stream, symbol)


def _split(group: list[pa.RecordBatch]) -> Iterator[tuple[str, str, pa.RecordBatch]]:
    rows = pa.Table.from_batches(group).unify_dictionaries().combine_chunks().to_batches()[0]
    codes = rows.column("symbol")
    days = pc.divide(rows.column("ts_recv"), DAY_NS)
    keys = pc.add(pc.multiply(pc.cast(codes.indices, pa.int64()), _DAYS), days)
    ends = pc.run_end_encode(keys)
    if len(ends.values) > 1:
        order = pc.array_sort_indices(keys)
        rows, keys = rows.take(order), keys.take(order)
        ends = pc.run_end_encode(keys)
    names = codes.dictionary.to_pylist()
    start = 0
    for key, end in zip(ends.values.to_pylist(), ends.run_ends.to_pylist(), strict=True):
        code, day = divmod(key, _DAYS)
        yield names[code], date_of_day(day), rows.slice(start, end - start)
        start = end


def encode(table: pa.Table, metadata: Mapping[str, str]) -> bytes:
    """One part, whole. The metadata tells a lone file where it comes from."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        compression_level=3,
        use_dictionary=_REPEATED,
        column_encoding={name: _ENCODINGS[name] for name in table.column_names if name in _ENCODINGS},
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        writer.add_key_value_metadata({"schema_version": str(STREAM_VERSION), **metadata})
    return bytes(memoryview(sink.getvalue()))


def bounds(table: pa.Table, column: str) -> tuple[int, int]:
    """The smallest and the largest value of a column without nulls."""
    both = pc.min_max(table.column(column))
    return both["min"].as_py(), both["max"].as_py()
