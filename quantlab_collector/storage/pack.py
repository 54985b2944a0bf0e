"""The parts of one segment in the spool, in one file: a thousand small files would cost a thousand syncs.

    part · part · … · manifest · length of the manifest u64 · its crc32 u32 · magic (8 bytes, the last one is the version)

The file is written under another name and renamed when it is whole. Where each part begins follows from the sizes in the
manifest, which also holds the checksum of each.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

import attrs
import msgspec

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.layout import SYMBOL, SegmentId, parse_stream_path
from quantlab_collector.contracts.manifest import Manifest, Part, decode_manifest, encode_manifest
from quantlab_collector.storage import files

MAGIC: Final = b"QLPARTS"
VERSION: Final = 1
_TRAILER: Final = struct.Struct("<QI8s")


class PackError(Exception):
    """A pack that is not whole, or none."""


class NewerPackError(PackError):
    """A pack of a newer version of this program: it is left as it is."""


class SpoiledPartError(PackError):
    """A part changed while it waited in the spool: a failing disk or a stranger's hand. It is not shipped."""


@attrs.frozen
class Pack:
    """A segment on its way to the store."""

    path: Path
    manifest: Manifest
    """As it was made with the parts. It does not know yet which manifest it follows."""

    @property
    def segment(self) -> SegmentId:
        """Which segment."""
        return SegmentId.parse(self.manifest.segment)

    @property
    def places(self) -> tuple[int, ...]:
        """Where each part begins."""
        ends = itertools.accumulate((part.bytes for part in self.manifest.parts), initial=0)
        return tuple(ends)[:-1]

    def read_part(self, part: Part, place: int) -> bytes:
        """The bytes of a part, proven to be what they were."""
        data = files.read_range(self.path, place, part.bytes)
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise SpoiledPartError(f"{part.key} is not what it was in {self.path.name}")
        return data

    def rows_by_stream(self) -> dict[tuple[str, StreamType], int]:
        """Rows as they stand in the parts."""
        return rows_by_stream(self.manifest.parts)


def rows_by_stream(parts: Iterable[Part]) -> dict[tuple[str, StreamType], int]:
    """What the books move when these parts come or go."""
    folders: Counter[str] = Counter()
    for part in parts:
        folders[part.key.partition(SYMBOL)[0]] += part.rows
    return {parse_stream_path(folder): rows for folder, rows in folders.items()}


class PackWriter:
    """A pack being written, under another name. It exists when ``finish`` returns."""

    def __init__(self, unfinished: Path) -> None:
        files.remove(unfinished, missing_ok=True)
        self._path = unfinished
        self._fd = files.create(unfinished)

    def add(self, part: bytes | memoryview) -> None:
        """The next part."""
        files.write_all(self._fd, part)

    def finish(self, manifest: Manifest, path: Path) -> Pack:
        """All parts are there."""
        data = encode_manifest(manifest)
        trailer = _TRAILER.pack(len(data), zlib.crc32(data), MAGIC + bytes([VERSION]))
        files.write_all(self._fd, data + trailer)
        files.sync(self._fd)
        files.rename_synced(self._path, path)
        return Pack(path, manifest)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        files.close(self._fd)


def load_pack(path: Path) -> Pack:
    """A pack that was written before, by this process or an earlier one. The parts are looked at when they are read."""
    size = files.size(path)
    if size < _TRAILER.size:
        raise PackError("too short")
    length, crc, magic = _TRAILER.unpack(files.read_range(path, size - _TRAILER.size, _TRAILER.size))
    if magic[: len(MAGIC)] != MAGIC:
        raise PackError("it has no end")
    if magic[len(MAGIC)] != VERSION:
        raise NewerPackError(f"version {magic[len(MAGIC)]}; this collector reads {VERSION}")
    begin = size - _TRAILER.size - length
    if begin < 0:
        raise PackError("its manifest is longer than the file")
    data = files.read_range(path, begin, length)
    if zlib.crc32(data) != crc:
        raise PackError("its manifest is damaged")
    try:
        manifest = decode_manifest(data)
    except (msgspec.MsgspecError, ValueError) as fault:
        raise PackError(f"its manifest is whole, and yet not readable: {fault}") from fault
    if begin != sum(part.bytes for part in manifest.parts):
        raise PackError("it does not have the size that its manifest tells")
    return Pack(path, manifest)
