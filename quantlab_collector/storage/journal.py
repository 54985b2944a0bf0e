"""The journal: an append-only file of checksummed frames, one file a segment.

    file   magic (8 bytes, the last one is the version) · frame · frame · …
    frame  marker u32 · length u32 · crc32 u32 · kind u32 · rows u32 · first row u64 · payload

The first frame is the header. Then come batches, each a self-contained Arrow IPC stream, and accounts (JSON): what the process
knew at that moment. A segment that was sealed in peace ends with a footer. The checksum covers all that follows it in the frame.

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

import attrs
import msgspec
import pyarrow as pa

from quantlab_collector.contracts.layout import SegmentId
from quantlab_collector.contracts.manifest import Account
from quantlab_collector.storage import files

MAGIC: Final = b"QLJOURN"
VERSION: Final = 1
_MARKER: Final = 0x51F7A3E9
_MARKER_BYTES: Final = struct.pack("<I", _MARKER)
_HEAD: Final = struct.Struct("<IIIIIQ")
_CHECKED: Final = struct.Struct("<IIQ")


class Kind(IntEnum):
    """What a frame holds."""

    HEADER = 1
    BATCH = 2
    ACCOUNT = 3
    FOOTER = 4


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
    checked = _CHECKED.pack(kind, rows, first_row)
    crc = zlib.crc32(payload, zlib.crc32(checked))
    return b"".join((_HEAD.pack(_MARKER, len(payload), crc, kind, rows, first_row), payload))


def _account_frame(account: Account) -> bytes:
    return _frame(Kind.ACCOUNT, msgspec.json.encode(account))


class SegmentWriter:
    """A segment being written. ``size`` is what is known to be on the disk; after an ``OSError`` it is to be abandoned."""

    def __init__(self, path: Path, header: SegmentHeader, account: Account) -> None:
        self.path = path
        self.header = header
        self.rows = 0
        self.size = 0
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

    def append(self, batches: Sequence[pa.RecordBatch], account: Account) -> None:
        """Write batches and what is known now, and have them on the disk when this returns."""
        frames = []
        rows = self.rows
        for batch in batches:
            frames.append(batch_frame(batch, rows))
            rows += batch.num_rows
        written = self._write([*frames, _account_frame(account)])
        files.sync_data(self._fd)
        self.rows = rows
        self.size += written

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


@attrs.frozen
class Segment:
    """A segment as read back."""

    header: SegmentHeader
    batches: tuple[pa.RecordBatch, ...]
    """They look into what was read: nothing is copied."""
    account: Account
    """The last one that was written."""
    footer: SegmentFooter | None
    holes: tuple[str, ...]
    abandoned: bool = False
    """Whether a disk error ended it, so that only its beginning was read."""

    @property
    def rows(self) -> int:
        """The rows that could be read."""
        return sum(batch.num_rows for batch in self.batches)

    @property
    def complete(self) -> bool:
        """Whether it was sealed in peace and every row of it is here."""
        return self.footer is not None and not self.holes and self.footer.rows == self.rows


def read_segment(path: Path, upto: int | None = None) -> Segment:
    """Read what can be read of a segment, sealed or not; of an abandoned one only so many bytes.

    It is read and not mapped into memory: a disk that fails under a mapping kills the process, without a word.
    """
    try:
        data = _checked(files.read(path))
    except FileNotFoundError as fault:
        raise GoneJournalError("it is gone") from fault
    except OSError as fault:
        raise UnreadableJournalError(fault.errno, fault.strerror, str(path)) from fault
    try:
        segment = _assemble(data[:upto])
    except (msgspec.MsgspecError, pa.ArrowException) as fault:
        raise JournalError(f"whole, and yet not readable: {fault}") from fault
    if upto is None:
        return segment
    # What it had to tell besides rows is told again by the segment that followed it.
    silenced = Account(counters=segment.account.counters)
    holes = (*segment.holes, "a disk error ended it; the next segment goes on")
    return attrs.evolve(segment, account=silenced, holes=holes, abandoned=True)


def abandoned_by(path: Path) -> Abandoned | None:
    """Which segment this one says was abandoned before it."""
    for found in _frames(_checked(files.read(path))):
        if not isinstance(found, str) and found[0] is Kind.HEADER:
            return msgspec.json.decode(found[3], type=SegmentHeader).abandons
    return None


def _checked(data: bytes) -> bytes:
    short = len(data) <= len(MAGIC) + _HEAD.size
    if not data.strip(b"\0") or (short and MAGIC.startswith(data[: len(MAGIC)])):
        raise UnbegunJournalError("nothing was written into it")
    if data[: len(MAGIC)] != MAGIC:
        raise JournalError("not a journal")
    if data[len(MAGIC)] != VERSION:
        raise NewerJournalError(f"version {data[len(MAGIC)]}; this collector reads {VERSION}")
    return data


def _assemble(data: bytes) -> Segment:
    header: SegmentHeader | None = None
    footer: SegmentFooter | None = None
    account = Account()
    batches: list[pa.RecordBatch] = []
    holes: list[str] = []
    expected_row = 0
    for found in _frames(data):
        if isinstance(found, str):
            holes.append(found)
            continue
        kind, rows, first_row, payload = found
        if kind is Kind.HEADER:
            header = msgspec.json.decode(payload, type=SegmentHeader)
        elif kind is Kind.ACCOUNT:
            account = msgspec.json.decode(payload, type=Account)
        elif kind is Kind.FOOTER:
            footer = msgspec.json.decode(payload, type=SegmentFooter)
        else:
            if first_row != expected_row:
                holes.append(f"rows {expected_row} to {first_row - 1} are missing")
            batches.append(pa.ipc.open_stream(pa.py_buffer(payload)).read_next_batch())
            expected_row = first_row + rows
    if header is None:
        if not batches and footer is None:
            raise UnbegunJournalError("not even its header is whole, and nothing follows it")
        raise JournalError("the header is not readable")
    if footer is not None and footer.rows != expected_row:
        holes.append(f"rows {expected_row} to {footer.rows - 1} are missing")
    return Segment(header, tuple(batches), account, footer, tuple(holes))


def _frames(data: bytes) -> Iterator[tuple[Kind, int, int, memoryview] | str]:
    """The frames that are whole, in order, and a word about each stretch that is not."""
    view, end, at = memoryview(data), len(data), len(MAGIC) + 1
    while at < end:
        frame = _frame_at(view, at, end)
        if frame is not None:
            yield frame
            at += _HEAD.size + len(frame[3])
            continue
        # Either the tail is torn, or this frame is damaged: the next one that is whole decides.
        after = data.find(_MARKER_BYTES, at + 1)
        while after != -1 and _frame_at(view, after, end) is None:
            after = data.find(_MARKER_BYTES, after + 1)
        if after == -1:
            yield f"{end - at} bytes at the end are torn"
            return
        yield f"{after - at} bytes at {at} are damaged"
        at = after


def _frame_at(view: memoryview, at: int, end: int) -> tuple[Kind, int, int, memoryview] | None:
    if at + _HEAD.size > end:
        return None
    marker, length, crc, kind, rows, first_row = _HEAD.unpack_from(view, at)
    start = at + _HEAD.size
    if marker != _MARKER or start + length > end:
        return None
    payload = view[start : start + length]
    if zlib.crc32(payload, zlib.crc32(_CHECKED.pack(kind, rows, first_row))) != crc:
        return None
    try:
        return Kind(kind), rows, first_row, payload
    except ValueError:
        return None
