"""The archive of raw frames: compressed JSON lines with a manifest beside each file; how they are written, and read back.

A line is ``{"ts_recv":…,"conn":…,"frame":…}``. The frame is the text of the message, so that anybody can read and search it; a
message that is no UTF-8, or was sent as binary, stands in ``frame_b64`` instead. Either way it comes back byte for byte.
"""

from __future__ import annotations

import gzip
import heapq
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from quantlab_collector.contracts.layout import RAW_FRAMES, RawCompression, RawFile
from quantlab_collector.contracts.raw_frames import RawFrame

RAW_MANIFEST_VERSION: Final = 1
GZIP_LEVEL: Final = 1
"""Level 6 makes these texts a quarter smaller, in three times the time."""
ZSTD_LEVEL: Final = 1
"""As small as gzip's level 6, in a third of the time of its level 1; the higher levels gain nothing here."""
_CHUNK: Final = 4096
_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class RawManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one file of the archive holds."""

    version: int = RAW_MANIFEST_VERSION
    key: str
    instance: str
    exchange: str
    collector: str
    compression: RawCompression
    frames: int
    dropped: int
    """Frames of this exchange that were received since its file before this one, and are in no file."""
    ts_recv: tuple[int, int]
    """The smallest and the largest receive time, ns."""
    connections: dict[str, int]
    """Frames by connection."""
    trade_id: dict[str, tuple[str, str]]
    """By symbol, the ids of the first and the last trade."""
    jsonl_bytes: int
    """Before compression."""
    bytes: int
    sha256: str


def encode_raw_manifest(manifest: RawManifest) -> bytes:
    """The manifest as it is stored, one key a line."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode_raw_manifest(data: bytes) -> RawManifest:
    """Read a manifest; an unknown version or anything else is a ``ValueError``."""
    manifest = msgspec.json.decode(data, type=RawManifest)  # its faults are ValueErrors
    if manifest.version != RAW_MANIFEST_VERSION:
        raise ValueError(f"raw manifest version {manifest.version}; this collector reads {RAW_MANIFEST_VERSION}")
    return manifest


# -------------------------------------------------------------------------------------------------------------- lines


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    ts_recv: int
    conn: str
    frame: str | None = None
    frame_b64: bytes | None = None
    binary: bool = False


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(_Line)


def encode_lines(ts_recv: int, connection: str, messages: Iterable[bytes]) -> bytes:
    """The messages of one read as lines."""
    return _ENCODER.encode_lines([_line(ts_recv, connection, message) for message in messages])


def _line(ts_recv: int, connection: str, message: bytes) -> _Line:
    if type(message) is bytes:
        try:
            return _Line(ts_recv, connection, str(message, "utf-8"))
        except UnicodeDecodeError:
            return _Line(ts_recv, connection, None, message)
    return _Line(ts_recv, connection, None, bytes(message), binary=True)


def decode_line(line: bytes) -> RawFrame:
    """The frame of one line; anything else is a ``ValueError``."""
    read = _DECODER.decode(line)
    if (read.frame is None) == (read.frame_b64 is None):
        raise ValueError("neither a text nor a binary frame")
    data = read.frame.encode() if read.frame is not None else read.frame_b64
    return RawFrame(read.ts_recv, read.conn, data or b"", read.binary)


def compress(data: bytes, compression: RawCompression) -> bytes:
    """A whole file. The same lines always give the same bytes."""
    if compression is RawCompression.GZIP:
        return gzip.compress(data, GZIP_LEVEL, mtime=0)
    return bytes(pa.Codec("zstd", ZSTD_LEVEL).compress(data, asbytes=True))


# ------------------------------------------------------------------------------------------------------------ reading


class TornArchiveError(ValueError):
    """A file of the archive ends, or goes wrong, before its end. All frames before that place have been given."""


def read_archive(source: Path | bytes) -> Iterator[RawFrame]:
    """The frames of one file, in the order in which they were received.

    Of a file that is torn everything whole is given; then comes a ``TornArchiveError``.
    """
    name = source.name if isinstance(source, Path) else "raw frames"
    number, rest = 0, b""
    for data in _inflate(source, name):
        *lines, rest = (rest + data).split(b"\n")
        for number, line in enumerate(lines, start=number + 1):  # noqa: B020 (it goes on counting where the chunk before ended)
            try:
                frame = decode_line(line)
            except ValueError as fault:
                raise TornArchiveError(f"{name}, line {number}: not a frame: {fault}") from fault
            yield frame
    if rest:
        raise TornArchiveError(f"{name}: its last line, {number + 1}, has no end")


def is_archive(path: Path) -> bool:
    """Whether a file is one of an archive, whatever its name: its first line tells."""
    try:
        return next(read_archive(path), None) is not None
    except TornArchiveError:
        return False


def _inflate(source: Path | bytes, name: str) -> Iterator[bytes]:
    """The lines in pieces, told apart by the first bytes: a file may have been renamed."""
    with pa.BufferReader(source) if isinstance(source, bytes) else source.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic.startswith(_GZIP_MAGIC):
            yield from _gunzip(file.read, name)
        elif magic == _ZSTD_MAGIC:
            yield from _unzstd(pa.CompressedInputStream(file, "zstd"), name)
        elif magic.startswith(b"{"):  # somebody has unpacked it
            while data := file.read(_CHUNK):
                yield data
        else:
            raise TornArchiveError(f"{name}: not a file of raw frames")


def _gunzip(read: Callable[[int], bytes], name: str) -> Iterator[bytes]:
    """In small pieces: what a piece gives before it goes wrong is lost with it."""
    unzip = zlib.decompressobj(wbits=31)
    while data := read(_CHUNK):
        while data:
            if unzip.eof:  # files that were put together are as good as one
                unzip = zlib.decompressobj(wbits=31)
            try:
                yield unzip.decompress(data)
            except zlib.error as fault:
                raise TornArchiveError(f"{name}: {fault}") from fault
            data = unzip.unused_data
    if not unzip.eof:
        raise TornArchiveError(f"{name}: it ends before its end")


def _unzstd(stream: pa.CompressedInputStream, name: str) -> Iterator[bytes]:
    while True:
        try:
            data = stream.read(_CHUNK)
        except OSError as fault:
            raise TornArchiveError(f"{name}: {fault}") from fault
        if not data:
            return
        yield data


# ------------------------------------------------------------------------------------------------------------ folders


def archive_files(folder: Path, exchange: str) -> list[tuple[RawFile, Path]]:
    """The files of one exchange in a local folder, oldest first: in a recording, or any folder of an archive."""
    found = []
    for path in folder.resolve().rglob("part-*.jsonl.*"):
        try:
            file, is_manifest = RawFile.parse("/".join((RAW_FRAMES, *path.parts[-3:])))
        except ValueError:
            continue
        if not is_manifest and file.exchange == exchange:
            found.append((file, path))
    return sorted(found, key=lambda entry: (entry[0].instance, entry[0].segment))


def read_files(files: Sequence[tuple[RawFile, Path]]) -> Iterator[RawFrame]:
    """The frames of many files, by receive time; those of one instance stay in the order in which it received them."""
    instances = [[path for _, path in entries] for _, entries in groupby(files, key=lambda entry: entry[0].instance)]
    return heapq.merge(*(_chain(paths) for paths in instances), key=lambda frame: frame.ts_recv)


def _chain(paths: Iterable[Path]) -> Iterator[RawFrame]:
    for path in paths:
        yield from read_archive(path)
