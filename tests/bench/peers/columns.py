"""Rows of one kind in lists, a list a column, and the Parquet file that they become. The settings are the collector's."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

FLUSH_SECONDS = 60.0
FOLDER = Path("data")


class Columns:
    """The columns of one stream of one symbol."""

    def __init__(self, schema: pa.Schema, stream: str, symbol: str) -> None:
        self.schema = schema
        self.lists: tuple[list[Any], ...] = tuple([] for _ in schema)
        self.encodings = {field.name: "DELTA_BINARY_PACKED" for field in schema if pa.types.is_int64(field.type)}
        self.folder = FOLDER / f"stream={stream}" / f"symbol={symbol}"

    def write(self) -> None:
        """One file of what there is."""
        if not self.lists[0]:
            return
        arrays = [pa.array(column, field.type) for column, field in zip(self.lists, self.schema, strict=True)]
        self.folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.Table.from_arrays(arrays, schema=self.schema),
            self.folder / f"part-{time.time_ns()}.parquet",
            compression="zstd",
            compression_level=3,
            use_dictionary=False,
            column_encoding=self.encodings or None,
        )
        for column in self.lists:
            column.clear()


async def write_regularly(columns: list[Columns]) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        for each in columns:
            each.write()
