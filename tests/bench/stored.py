"""What a receiver has left in its folder."""

from __future__ import annotations

from pathlib import Path

import attrs
import pyarrow.parquet as pq


@attrs.frozen
class Files:
    """All Parquet files together."""

    count: int
    rows: int
    bytes: int

    @property
    def mean_bytes(self) -> float:
        return self.bytes / self.count

    @property
    def bytes_per_row(self) -> float:
        return self.bytes / self.rows


def files(folder: Path) -> Files:
    """What is there. The rows are what each file says of itself."""
    paths = list(folder.rglob("*.parquet"))
    rows = sum(pq.read_metadata(path).num_rows for path in paths)
    return Files(len(paths), rows, sum(path.stat().st_size for path in paths))
