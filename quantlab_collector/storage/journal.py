"""The journal: an append-only file of checksummed frames, one file a segment.

    file   magic (8 bytes, the last one is the version) · frame · frame · …
    frame  marker u32 · length u32 · crc32 u32 · kind u32 · rows u32 · first row u64 · payload

The first frame is the header. Then come batches, each a self-contained Arrow IPC stream, and accounts (JSON): what the process
knew at that moment, or what of it is new. A segment that was sealed in peace ends with a whole account and a footer. The checksum
covers all that follows it in the frame.

Arrow itself has no checksums, hence ours. A torn tail is cut off where it begins. A bad frame in the middle costs that frame
only: the marker lets the reader find the next one, and what is missing is told as a hole.

After an error of the disk a segment is abandoned: nobody knows what of the last write is on it, and a sync that failed once must
not be believed when it succeeds the next time. The same rows go into a new segment, whose header says how much of the abandoned
one counts.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.layout import SegmentId
from quantlab_collector.contracts.manifest import Account
from quantlab_collector.contracts.schemas import identity
from quantlab_collector.storage import files
from quantlab_collector.storage.news import Told

MAGIC: Final = b"QLJOURN"
VERSION: Final = 1
MARKER: Final = 0x51F7A3E9
HEAD: Final = struct.Struct("<IIIIIQ")
_CHECKED: Final = struct.Struct("<IIQ")


class Kind(IntEnum):
    """What a frame holds."""

    HEADER = 1
    BATCH = 2
    ACCOUNT = 3
    FOOTER = 4
    NEWS = 5
    """An account without what has ended and was told before."""


class Abandoned(msgspec.Struct, frozen=True):
    """A segment that a disk error ended."""

    segment: str
    bytes: int
    """So many of it count. Whatever follows them stands in the next segment again."""


class SegmentHeader(msgspec.Struct, frozen=True):
    """What stands at the beginning of a segment: all that its parts and its manifest need, whoever makes them."""

    instance: str
    epoch_ms: int
    seq: int
    opened_ns: int
    collector: str
    units: dict[str, str] = {}
    """The unit of quantities, by ``"exchange/stream"``."""
    abandons: Abandoned | None = None

    @property
    def segment(self) -> SegmentId:
        """The segment's id."""
        return SegmentId(self.epoch_ms, self.seq)


class SegmentFooter(msgspec.Struct, frozen=True):
    """What stands at the end of a segment that was sealed in peace."""

    rows: int
    sealed_ns: int


class JournalError(Exception):
    """A segment that cannot be read at all."""


class NewerJournalError(JournalError):
    """A segment of a newer version of this program: it is left as it is."""


class UnbegunJournalError(JournalError):
    """The process, or the power, went when the segment was being created: nothing was ever written into it."""


class UnreadableJournalError(OSError):
    """The disk does not give a segment back, now or for good."""


class GoneJournalError(JournalError):
    """A segment that is not there any more."""


def batch_frame(batch: pa.RecordBatch, first_row: int) -> bytes:
    """A batch as one frame."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return _frame(Kind.BATCH, memoryview(sink.getvalue()), batch.num_rows, first_row)


def _frame(kind: Kind, payload: bytes | memoryview, rows: int = 0, first_row: int = 0) -> bytes:
    head = HEAD.pack(MARKER, len(payload), checksum(kind, rows, first_row, payload), kind, rows, first_row)
    return b"".join((head, payload))


def checksum(kind: int, rows: int, first_row: int, payload: bytes | memoryview) -> int:
    """Over all of a frame that follows it."""
    return zlib.crc32(payload, zlib.crc32(_CHECKED.pack(kind, rows, first_row)))


def _merged(batches: Sequence[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One batch of each exchange and stream, with one dictionary: fewer bytes, and much less work for whoever reads them."""
    together: dict[tuple[str, StreamType], list[pa.RecordBatch]] = {}
    for batch in batches:
        together.setdefault(identity(batch.schema), []).append(batch)
    yield from map(pa.concat_batches, together.values())


def _account_frame(account: Account, kind: Kind = Kind.ACCOUNT) -> bytes:
    return _frame(kind, msgspec.json.encode(account))


class SegmentWriter:
    """A segment being written. ``size`` is what is known to be on the disk; after an ``OSError`` it is to be abandoned."""

    def __init__(self, path: Path, header: SegmentHeader, account: Account) -> None:
        self.path = path
        self.header = header
        self.rows = 0
        self.size = 0
        self._told = Told()
        self._told.tell(account)
        self._fd = files.create(path)
        try:
            self.size = self._write(
                [MAGIC + bytes([VERSION]), _frame(Kind.HEADER, msgspec.json.encode(header)), _account_frame(account)]
            )
            files.sync(self._fd)
            files.sync_dir(path.parent)
        except OSError:
            self.abandon()
            files.remove_quietly(path)
            raise

    def append(self, batches: Sequence[pa.RecordBatch], account: Account) -> list[pa.RecordBatch]:
        """Write batches and what is known now, and have them on the disk when this returns: one for each exchange and stream."""
        merged = list(_merged(batches))
        frames = []
        rows = self.rows
        for batch in merged:
            frames.append(batch_frame(batch, rows))
            rows += batch.num_rows
        news = self._told.news(account)
        written = self._write([*frames, _account_frame(news, Kind.NEWS)])
        files.sync_data(self._fd)
        self._told.tell(news)
        self.rows = rows
        self.size += written
        return merged

    def seal(self, account: Account, sealed_ns: int) -> None:
        """Close the segment in peace."""
        footer = SegmentFooter(self.rows, sealed_ns)
        self._write([_account_frame(account), _frame(Kind.FOOTER, msgspec.json.encode(footer))])
        files.sync(self._fd)
        self.abandon()

    def abandon(self) -> Abandoned:
        """Let go of the file, as it is."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):  # what counts was synced before
                files.close(fd)
        return Abandoned(str(self.header.segment), self.size)

    def _write(self, chunks: Sequence[bytes]) -> int:
        data = b"".join(chunks)
        files.write_all(self._fd, data)
        return len(data)
