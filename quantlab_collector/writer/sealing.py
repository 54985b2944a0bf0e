"""When the segment being written is sealed: as soon as its parts are worth a file each, between two limits of time.

A part has a cost of its own, whatever is in it: a file, its metadata, a request to the store. With ten symbols parts are large
after minutes, with thousands after a quarter of an hour; waiting costs no memory, because the journal holds the rows.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import attrs
import pyarrow as pa
import pyarrow.compute as pc

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.schemas import identity
from quantlab_collector.writer.options import FlushOptions

EARLY_PARTS: Final = 1_000
"""So many files are soon made, and the first segment of a process may have them early. Twice as many take twice as long, and are
worth half as much."""
LARGE: Final = 4
"""A quarter of the largest size is enough where parts are worth it: there is nothing to gain from more, and it takes longer."""


@attrs.define
class Filling:
    """What is in the segment being written."""

    rows: Counter[tuple[str, StreamType]] = attrs.field(factory=Counter)
    _symbols: dict[tuple[str, StreamType], pa.Array] = attrs.field(factory=dict, init=False)

    def add(self, batch: pa.RecordBatch) -> None:
        """A batch went to the disk. Its symbols are learned all at once, from the dictionary of the column."""
        key = identity(batch.schema)
        self.rows[key] += batch.num_rows
        symbols = batch.column("symbol").dictionary
        known = self._symbols.get(key)
        self._symbols[key] = symbols if known is None else pc.unique(pa.concat_arrays([known, symbols]))

    @property
    def parts(self) -> int:
        """How many files it will become. That there is one for each day is left out: midnight is one segment of a hundred."""
        return sum(map(len, self._symbols.values()))

    @property
    def rows_of_a_part(self) -> float:
        """On average."""
        return self.rows.total() / max(self.parts, 1)


def first_latest(options: FlushOptions, parts: int, luck: float) -> float:
    """When the first segment of a process is sealed at the latest, in seconds. ``luck`` is between a half and one.

    It is a short one: who has just started wants to see files. And collectors that were started together need not ship together
    for ever after.
    """
    return min(options.interval * max(1.0, parts / EARLY_PARTS) * luck, usual_latest(options))


def usual_latest(options: FlushOptions) -> float:
    """When the others are."""
    return max(options.interval, options.max_interval)


def is_due(options: FlushOptions, *, age: float, size: int, rows_of_a_part: float, latest: float) -> bool:
    """Whether a segment of so many seconds and bytes is sealed now. ``latest`` is when it is, whatever is in it."""
    if age >= latest:
        return True
    worthwhile = rows_of_a_part >= options.part_rows
    enough = options.max_bytes // LARGE if worthwhile else options.max_bytes
    return (worthwhile and age >= options.interval) or (size >= enough and age >= options.min_gap)
