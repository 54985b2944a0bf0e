"""Rows put aside while those before them become parts: in a file without a name, of which a crash leaves nothing."""

from __future__ import annotations

import errno
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import pyarrow as pa

from quantlab_collector.storage import files


class NoRoomError(OSError):
    """The disk does not take it, whatever it said of its room: a quota, perhaps."""


class _Piece(NamedTuple):
    at: int
    length: int
    crc: int


class Aside:
    """Pieces of many heaps, written in any order and read heap by heap. They all have the same columns, and no dictionaries."""

    def __init__(self, path: Path) -> None:
        self._fd = files.create_unnamed(path)
        self._heaps: dict[int, list[_Piece]] = {}
        self._schema: pa.Schema | None = None
        self._end = 0

    def put(self, heap: int, rows: pa.RecordBatch) -> None:
        """Put the next rows on a heap."""
        self._schema = rows.schema
        data = memoryview(rows.serialize())
        try:
            files.write_all(self._fd, data)
        except OSError as fault:
            raise NoRoomError(fault.errno, fault.strerror) from fault
        self._heaps.setdefault(heap, []).append(_Piece(self._end, len(data), zlib.crc32(data)))
        self._end += len(data)

    def take(self, heap: int) -> Iterator[pa.RecordBatch]:
        """What is on a heap, in the order in which it was put there. It is checked, like what comes out of the journal."""
        for piece in self._heaps.pop(heap, ()):
            data = files.read_at(self._fd, piece.at, piece.length)
            if zlib.crc32(data) != piece.crc:
                raise OSError(errno.EIO, "what the disk gives back is not what was put aside a moment ago")
            yield pa.ipc.read_record_batch(pa.py_buffer(data), self._schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        files.close(self._fd)
