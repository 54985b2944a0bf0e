"""Reading a segment back, stretch by stretch: what is in memory does not grow with the segment.

The first pass finds and checks every frame. A small segment is held from then on; of a large one each batch is read again when it
is wanted and checked again. It is read and not mapped into memory: a disk that fails under a mapping kills the process, without a
word.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import attrs
import msgspec
import pyarrow as pa

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import ACCOUNTS, Account
from quantlab_collector.contracts.schemas import identity
from quantlab_collector.storage import files
from quantlab_collector.storage.journal import (
    HEAD,
    MAGIC,
    MARKER,
    VERSION,
    Abandoned,
    GoneJournalError,
    JournalError,
    Kind,
    NewerJournalError,
    SegmentFooter,
    SegmentHeader,
    UnbegunJournalError,
    UnreadableJournalError,
    checksum,
)
from quantlab_collector.storage.news import Heard

STRETCH: Final = 4 * 1024 * 1024
HELD: Final = 32 * 1024 * 1024
"""A segment of at most so many bytes is read once, and held."""
_HEADERS: Final = msgspec.json.Decoder(SegmentHeader)
_FOOTERS: Final = msgspec.json.Decoder(SegmentFooter)
_MARKER_BYTES: Final = struct.pack("<I", MARKER)

Source: TypeAlias = tuple[str, StreamType]
"""The exchange and the stream of a batch."""


class Frame(NamedTuple):
    """A frame that is whole."""

    at: int
    kind: Kind
    rows: int
    first_row: int
    payload: memoryview

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.at + HEAD.size + len(self.payload)


@attrs.frozen
class _Place:
    """Where a batch stands in the file."""

    source: Source
    at: int
    end: int


@attrs.frozen
class Segment:
    """A segment as read back."""

    header: SegmentHeader
    account: Account
    """What was known when it was last written into."""
    footer: SegmentFooter | None
    holes: tuple[str, ...]
    rows: int
    """Those that could be read."""
    sizes: Mapping[Source, int]
    """Bytes of what was recorded of each."""
    _path: Path
    _places: tuple[_Place, ...]
    _held: tuple[pa.RecordBatch, ...] | None
    """In a small segment they look into what was read: nothing is copied."""
    abandoned: bool = False
    """Whether a disk error ended it, so that only its beginning was read."""

    @property
    def complete(self) -> bool:
        """Whether it was sealed in peace and every row of it is here."""
        return self.footer is not None and not self.holes and self.footer.rows == self.rows

    def batches(self, source: Source | None = None) -> Iterator[pa.RecordBatch]:
        """What was recorded, of one exchange and stream or of all, in the order of reception. It can be had more than once."""
        wanted = [number for number, place in enumerate(self._places) if source in (None, place.source)]
        if self._held is not None:
            yield from map(self._held.__getitem__, wanted)
            return
        try:
            with files.reading(self._path) as fd:
                for number in wanted:
                    yield _read_again(fd, self._places[number])
        except OSError as fault:
            raise UnreadableJournalError(fault.errno, fault.strerror, str(self._path)) from fault


def _read_again(fd: int, place: _Place) -> pa.RecordBatch:
    frame = _frame_at(_Stretches(fd, place.end, place.end - place.at), place.at)
    if frame is None:
        raise OSError(errno.EIO, "what the disk gives back is not what it gave back a moment ago")
    return _batch(frame)


def _batch(frame: Frame) -> pa.RecordBatch:
    return pa.ipc.open_stream(pa.py_buffer(frame.payload)).read_next_batch()


def read_segment(path: Path, upto: int | None = None, held: int = HELD) -> Segment:
    """Read what can be read of a segment, sealed or not; of an abandoned one only so many bytes."""
    try:
        with files.reading(path) as fd:
            size = files.size(path)
            end = size if upto is None else min(upto, size)
            stretches = _Stretches(fd, size, STRETCH if end > held else size)
            _check_beginning(stretches)
            segment = _assemble(path, attrs.evolve(stretches, end=end), hold=end <= held)
    except FileNotFoundError as fault:
        raise GoneJournalError("it is gone") from fault
    except OSError as fault:
        raise UnreadableJournalError(fault.errno, fault.strerror, str(path)) from fault
    except (msgspec.MsgspecError, pa.ArrowException, ValueError) as fault:
        raise JournalError(f"whole, and yet not readable: {fault}") from fault
    if upto is None:
        return segment
    # What it had to tell besides rows is told again by the segment that followed it.
    silenced = Account(counters=segment.account.counters)
    holes = (*segment.holes, "a disk error ended it; the next segment goes on")
    return attrs.evolve(segment, account=silenced, holes=holes, abandoned=True)


def abandoned_by(path: Path) -> Abandoned | None:
    """Which segment this one says was abandoned before it."""
    with files.reading(path) as fd:
        stretches = _Stretches(fd, files.size(path), STRETCH)
        _check_beginning(stretches)
        for found in _frames(stretches):
            if isinstance(found, Frame) and found.kind is Kind.HEADER:
                return _HEADERS.decode(found.payload).abandons
    return None


@attrs.define
class _Stretches:
    """The bytes of a file, of which one stretch is in memory."""

    _fd: int
    end: int
    _length: int
    _begin: int = 0
    _data: bytes = b""

    def view(self, at: int, length: int) -> memoryview:
        """So many bytes, which must be before the end."""
        if at < self._begin or at + length > self._begin + len(self._data):
            self._begin, self._data = at, files.read_at(self._fd, at, min(max(length, self._length), self.end - at))
            if len(self._data) < length:
                raise OSError(errno.EIO, "the file is shorter than it was a moment ago")
        return memoryview(self._data)[at - self._begin : at - self._begin + length]

    def find(self, pattern: bytes, at: int) -> int:
        """Where a pattern is next; -1 where it is not."""
        while at + len(pattern) <= self.end:
            self.view(at, len(pattern))
            found = self._data.find(pattern, at - self._begin)
            if found != -1:
                return self._begin + found
            at = self._begin + len(self._data) - len(pattern) + 1
        return -1

    def are_zeros(self) -> bool:
        """Whether there is nothing but zeros."""
        places = range(0, self.end, STRETCH)
        return not any(bytes(self.view(at, min(STRETCH, self.end - at))).strip(b"\0") for at in places)


def _check_beginning(stretches: _Stretches) -> None:
    beginning = bytes(stretches.view(0, min(len(MAGIC) + 1, stretches.end)))
    short = stretches.end <= len(MAGIC) + HEAD.size
    if (short and MAGIC.startswith(beginning[: len(MAGIC)])) or (not beginning.strip(b"\0") and stretches.are_zeros()):
        raise UnbegunJournalError("nothing was written into it")
    if beginning[: len(MAGIC)] != MAGIC:
        raise JournalError("not a journal")
    if beginning[len(MAGIC)] != VERSION:
        raise NewerJournalError(f"version {beginning[len(MAGIC)]}; this collector reads {VERSION}")


@attrs.define
class _Findings:
    """What the frames of a segment come to, one after the other."""

    hold: bool
    header: SegmentHeader | None = None
    footer: SegmentFooter | None = None
    heard: Heard = attrs.field(factory=Heard)
    sizes: dict[Source, int] = attrs.field(factory=dict)
    places: list[_Place] = attrs.field(factory=list)
    held: list[pa.RecordBatch] = attrs.field(factory=list)
    holes: list[str] = attrs.field(factory=list)
    rows: int = 0
    expected_row: int = 0

    def take(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.HEADER:
                self.header = _HEADERS.decode(frame.payload)
            case Kind.ACCOUNT:
                self.heard.whole(ACCOUNTS.decode(frame.payload))
            case Kind.NEWS:
                self.heard.news(ACCOUNTS.decode(frame.payload))
            case Kind.FOOTER:
                self.footer = _FOOTERS.decode(frame.payload)
            case Kind.BATCH:
                self.expect(frame.first_row)
                self._take_batch(frame, _batch(frame))
                self.expected_row = frame.first_row + frame.rows

    def expect(self, row: int) -> None:
        if row != self.expected_row:
            self.holes.append(f"rows {self.expected_row} to {row - 1} are missing")

    def _take_batch(self, frame: Frame, batch: pa.RecordBatch) -> None:
        source = identity(batch.schema)
        self.places.append(_Place(source, frame.at, frame.end))
        self.sizes[source] = self.sizes.get(source, 0) + len(frame.payload)
        self.rows += batch.num_rows
        if self.hold:
            self.held.append(batch)


def _assemble(path: Path, stretches: _Stretches, *, hold: bool) -> Segment:
    found = _Findings(hold)
    for frame in _frames(stretches):
        if isinstance(frame, str):
            found.holes.append(frame)
        else:
            found.take(frame)
    if found.header is None:
        if not found.places and found.footer is None:
            raise UnbegunJournalError("not even its header is whole, and nothing follows it")
        raise JournalError("the header is not readable")
    if found.footer is not None:
        found.expect(found.footer.rows)
    return Segment(
        found.header,
        found.heard.account,
        found.footer,
        tuple(found.holes),
        found.rows,
        found.sizes,
        path,
        tuple(found.places),
        tuple(found.held) if hold else None,
    )


def _frames(stretches: _Stretches) -> Iterator[Frame | str]:
    """The frames that are whole, in order, and a word about each stretch that is not."""
    at, end = len(MAGIC) + 1, stretches.end
    while at < end:
        frame = _frame_at(stretches, at)
        if frame is not None:
            yield frame
            at = frame.end
            continue
        # Either the tail is torn, or this frame is damaged: the next one that is whole decides.
        after = stretches.find(_MARKER_BYTES, at + 1)
        while after != -1 and _frame_at(stretches, after) is None:
            after = stretches.find(_MARKER_BYTES, after + 1)
        if after == -1:
            yield f"{end - at} bytes at the end are torn"
            return
        yield f"{after - at} bytes at {at} are damaged"
        at = after


def _frame_at(stretches: _Stretches, at: int) -> Frame | None:
    start = at + HEAD.size
    if start > stretches.end:
        return None
    marker, length, crc, kind, rows, first_row = HEAD.unpack(stretches.view(at, HEAD.size))
    if marker != MARKER or start + length > stretches.end:
        return None
    payload = stretches.view(start, length)
    if checksum(kind, rows, first_row, payload) != crc:
        return None
    try:
        return Frame(at, Kind(kind), rows, first_row, payload)
    except ValueError:
        return None
