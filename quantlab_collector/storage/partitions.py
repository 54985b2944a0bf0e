"""Journal batches → the rows of each part, in bounded memory.

The rows of one exchange and stream are brought together by symbol and day, as many at a time as the budget allows. Where that is
not all of them, those of each time are put aside on the disk; where it has no room for that, the segment is read once more for
each time. The order within a partition is the order of reception: the sort is stable, and nothing else sorts. The budget is a
constant, so that the same segment always gives the same parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Final, Protocol, TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from quantlab_collector.contracts.events import STREAM_VERSION, StreamType
from quantlab_collector.contracts.layout import DAY_NS, Partition, date_of_day
from quantlab_collector.contracts.schemas import RAW
from quantlab_collector.storage.aside import Aside, NoRoomError
from quantlab_collector.storage.journal_reading import Source

BUDGET: Final = 24 * 1024 * 1024
"""Bytes of journal whose rows are in memory at the same time."""
GROUP_ROWS: Final = 131_072
"""Of a row group, at most; and a partition that is larger than the budget comes in tables of about so many rows."""
WORTH_ASIDE: Final = 3
"""Fewer groups are read again as fast as they are put aside."""
_COUNTED_AT_ONCE: Final = 1_048_576
_DAY: Final = 1 << 32
"""What a partition's number grows by in a day; below it is the number of the symbol. Small numbers are sorted by counting."""

Numbered: TypeAlias = tuple[pa.RecordBatch, pa.Array]
"""A batch, and for each row the number of its partition."""
Gathered: TypeAlias = tuple[Partition, Iterator[pa.Table]]
"""A partition, and its rows."""


class Recorded(Protocol):
    """What a segment holds; it can be read more than once."""

    @property
    def sizes(self) -> Mapping[Source, int]:
        """Bytes of each."""

    def batches(self, source: Source | None = None) -> Iterator[pa.RecordBatch]:
        """What was recorded of one exchange and stream."""


def partitions(segment: Recorded, aside: Callable[[int], Aside | None], budget: int = BUDGET) -> Generator[Gathered, None, None]:
    """The rows of a segment as RAW v1: partition by partition, each in one table, or in several where it is very large.

    A table is a view of the rows of many partitions: the iterator lets go of it when it has given it away; so should its user.
    Who stops in the middle has to close it, for the sake of what is put aside.
    """
    for source, size in sorted(segment.sizes.items()):
        numbers = Numbers(source)
        if size <= budget:
            yield from _brought_together(numbers, numbers.of_all(segment.batches(source)))
            continue
        counts = _counts(numbers.of_all(segment.batches(source)))
        groups = list(_groups(counts, max(counts.total() * budget // size, 1)))
        place = aside(size) if len(groups) >= WORTH_ASIDE else None
        if place is not None:
            with place:
                if _put_aside(place, numbers, groups, segment.batches(source)):
                    for heap, group in enumerate(groups):
                        yield from _of_group(numbers, group, _numbered(place.take(heap)))
                    continue
        for group in groups:
            yield from _of_group(numbers, group, _between(numbers.of_all(segment.batches(source)), *group))


class Numbers:
    """The partitions of one exchange and stream, numbered: by day, and within a day by symbol in the order of appearance."""

    def __init__(self, source: Source) -> None:
        self.exchange, self.stream = source
        self._symbols = pa.array([], pa.string())
        self._first_day: int | None = None

    def of_all(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Numbered]:
        """Each batch with its numbers. Reading on, or again, numbers nothing anew."""
        return ((batch, self._of(batch)) for batch in batches)

    def _of(self, batch: pa.RecordBatch) -> pa.Array:
        codes, received = batch.column("symbol"), batch.column("ts_recv")
        by_code = pc.index_in(codes.dictionary, value_set=self._symbols)
        if by_code.null_count:
            self._symbols = pc.unique(pa.concat_arrays([self._symbols, codes.dictionary]))
            by_code = pc.index_in(codes.dictionary, value_set=self._symbols)
        by_code = by_code.cast(pa.int64())
        first, last = (at // DAY_NS for at in bounds(received))
        if self._first_day is None:
            self._first_day = first
        if first == last:
            return pc.add(by_code, _number((first - self._first_day) * _DAY)).take(codes.indices)
        days = pc.subtract(pc.divide(received, _number(DAY_NS)), _number(self._first_day))
        return pc.add(by_code.take(codes.indices), pc.multiply(days, _number(_DAY)))

    def partition(self, number: int) -> Partition:
        """Which one has this number."""
        day, symbol = divmod(number, _DAY)
        return Partition(self.exchange, self.stream, self._symbols[symbol].as_py(), date_of_day((self._first_day or 0) + day))


def _number(number: int) -> pa.Scalar:
    """With its type. To infer it, Arrow would look for libraries that may not be there, each time."""
    return pa.scalar(number, pa.int64())


def bounds(column: pa.Array | pa.ChunkedArray) -> tuple[int, int]:
    """The smallest and the largest value of a column without nulls."""
    both = pc.min_max(column)
    return both["min"].as_py(), both["max"].as_py()


# ------------------------------------------------------------------------------------------------- what is there, and groups


def _counts(numbered: Iterable[Numbered]) -> Counter[int]:
    """How many rows each partition has."""
    counts: Counter[int] = Counter()
    for piece in _pieces(((numbers, numbers) for _, numbers in numbered), _COUNTED_AT_ONCE):
        found = pc.value_counts(pa.chunked_array([numbers for _, numbers in piece], pa.int64()))
        counts.update(dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)))
    return counts


_T = TypeVar("_T")


def _pieces(numbered: Iterable[tuple[_T, pa.Array]], least: int) -> Iterator[list[tuple[_T, pa.Array]]]:
    """The same in order, about so many rows at a time."""
    piece: list[tuple[_T, pa.Array]] = []
    rows = 0
    for item in numbered:
        piece.append(item)
        rows += len(item[1])
        if rows >= least:
            yield piece
            piece, rows = [], 0
    if piece:
        yield piece


def _groups(counts: Counter[int], room: int) -> Iterator[tuple[int, int]]:
    """The partitions from one number to another that have room together; the first and the last of each group."""
    first = last = None
    rows = 0
    for number, count in sorted(counts.items()):
        if first is None or rows + count > room:
            if first is not None and last is not None:
                yield first, last
            first, rows = number, 0
        last = number
        rows += count
    if first is not None and last is not None:
        yield first, last


def _between(numbered: Iterable[Numbered], first: int, last: int) -> Iterator[Numbered]:
    """The rows of some partitions, copied: what they were read from can be let go."""
    low, high = _number(first), _number(last)
    for batch, numbers in numbered:
        wanted = pc.indices_nonzero(pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high)))
        # All symbols of the batch would come along with the symbols, and with them all that was read.
        yield batch.drop_columns(["symbol"]).take(wanted), numbers.take(wanted)


_NUMBER: Final = "number"
"""The column in which rows that are put aside have the number of their partition."""


def _put_aside(place: Aside, numbers: Numbers, groups: list[tuple[int, int]], batches: Iterable[pa.RecordBatch]) -> bool:
    """Every row on the heap of its group; ``False`` where the disk did not take them all."""
    lasts = pa.array([last for _, last in groups], pa.int64())
    for piece in _pieces(numbers.of_all(batches), GROUP_ROWS):
        keys, columns = _in_order(numbers.stream, piece)
        rows = pa.RecordBatch.from_arrays([*columns.values(), keys], [*columns, _NUMBER])
        del columns, piece
        start = 0
        for heap, end in enumerate(pc.search_sorted(keys, lasts, side="right").to_pylist()):
            try:
                if end > start:
                    place.put(heap, rows.slice(start, end - start))
            except NoRoomError:
                return False
            start = end
    return True


def _numbered(pieces: Iterable[pa.RecordBatch]) -> Iterator[Numbered]:
    return ((piece, piece.column(_NUMBER)) for piece in pieces)


# ------------------------------------------------------------------------------------------------------- rows of one partition


def _of_group(numbers: Numbers, group: tuple[int, int], numbered: Iterable[Numbered]) -> Iterator[Gathered]:
    first, last = group
    if first == last:
        yield numbers.partition(first), _in_pieces(numbers, numbered)
    else:
        yield from _brought_together(numbers, numbered)


def _brought_together(numbers: Numbers, numbered: Iterable[Numbered]) -> Iterator[Gathered]:
    keys, columns = _in_order(numbers.stream, numbered)
    ends = pc.run_end_encode(keys)
    rows = Rows(numbers.exchange, numbers.stream, columns)
    start = 0
    for number, end in zip(ends.values.to_pylist(), ends.run_ends.to_pylist(), strict=True):
        partition = numbers.partition(number)
        yield partition, iter((rows.of(partition.symbol, start, end),))
        start = end


def _in_order(stream: StreamType, numbered: Iterable[Numbered]) -> tuple[pa.Array, dict[str, pa.Array]]:
    """The numbers and the columns of some rows, sorted by number."""
    chunks, keys = _columns(stream, numbered)
    numbers = pa.concat_arrays(keys)
    del keys
    first, last = bounds(numbers)
    order = pc.array_sort_indices(numbers) if first != last else None
    # One column after the other, so that only one is there twice.
    columns = {name: _gathered(chunks.pop(name), order) for name in list(chunks)}
    return (numbers if order is None else numbers.take(order)), columns


def _in_pieces(numbers: Numbers, numbered: Iterable[Numbered]) -> Iterator[pa.Table]:
    """The rows of a single partition, so many at a time."""
    for piece in _pieces(numbered, GROUP_ROWS):
        for _, tables in _brought_together(numbers, piece):
            yield from tables


def _columns(stream: StreamType, numbered: Iterable[Numbered]) -> tuple[dict[str, list[pa.Array]], list[pa.Array]]:
    columns: dict[str, list[pa.Array]] = {name: [] for name in RAW[stream].names if name not in _CONSTANT}
    keys = []
    for batch, numbers in numbered:
        keys.append(numbers)
        for name, chunks in columns.items():
            chunks.append(batch.column(name))
    return columns, keys


def _gathered(chunks: list[pa.Array], order: pa.Array | None) -> pa.Array:
    column = pa.concat_arrays(chunks)
    chunks.clear()
    if order is not None:
        column = column.take(order)
    pa.default_memory_pool().release_unused()  # or the next column, of another size, would come on top of it
    return column


_CONSTANT: Final = ("exchange", "symbol", "stream", "stream_version")
_TEXT: Final = pa.dictionary(pa.int32(), pa.string())


def _written(field: pa.Field) -> pa.Field:
    return field.with_type(_TEXT) if field.name in _CONSTANT and field.type == pa.string() else field


WRITTEN: Final = {stream: pa.schema(map(_written, schema)) for stream, schema in RAW.items()}
"""RAW v1 as it is given to the Parquet writer, with dictionaries of one for what is the same in every row: nothing has to be
hashed. Dictionaries are an encoding; whoever reads a part sees strings."""


class Rows:
    """Columns of many partitions, one behind the other, of which each table is a view."""

    def __init__(self, exchange: str, stream: StreamType, columns: dict[str, pa.Array]) -> None:
        longest = len(columns["ts_recv"])
        self._schema = WRITTEN[stream]
        self._zeros = pa.repeat(pa.scalar(0, pa.int32()), longest)
        self._columns = {
            **columns,
            "exchange": self._same(exchange, longest),
            "stream": self._same(stream.value, longest),
            "stream_version": pa.repeat(pa.scalar(STREAM_VERSION, pa.int8()), longest),
        }

    def of(self, symbol: str, start: int, end: int) -> pa.Table:
        """The rows from one place to another, which are all of this symbol."""
        columns = {name: column.slice(start, end - start) for name, column in self._columns.items()}
        columns["symbol"] = self._same(symbol, end - start)
        return pa.Table.from_arrays([columns[name] for name in self._schema.names], schema=self._schema)

    def _same(self, text: str, rows: int) -> pa.Array:
        return pa.DictionaryArray.from_arrays(self._zeros.slice(0, rows), pa.array([text], pa.string()), safe=False)
