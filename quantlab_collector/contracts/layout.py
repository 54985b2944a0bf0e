"""Where things are in a recording: object keys, both directions.

Keys are relative to the recording's root (the prefix of ``storage.url``). A name becomes part of a path only when it is made of
harmless characters; everything else is percent-encoded, so that no symbol can leave its partition.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from urllib.parse import quote, unquote

import attrs

from quantlab_collector.contracts.events import StreamType

_PLAIN = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,63}")
_INSTANCE = re.compile(r"[a-z0-9][a-z0-9_]{0,31}")
DAY_NS: Final = 86_400_000_000_000

MANIFESTS: Final = "_manifests"
"""Readers of Hive partitions skip what begins with an underscore."""
OWNERS: Final = "_owners"
"""Who ships as which instance. No part of the recording."""

RAW_FRAMES: Final = "_raw"
"""The archive of raw frames, out of their sight for the same reason."""


def is_instance_id(text: str) -> bool:
    """Whether a text can name an instance: it stands between dashes in part names, so it holds none."""
    return _INSTANCE.fullmatch(text) is not None


def path_symbol(symbol: str) -> str:
    """A symbol as one harmless component of a path."""
    if _PLAIN.fullmatch(symbol):
        return symbol
    # quote() leaves dots, tildes, dashes and lower-case letters; only upper-case letters and digits may pass unescaped here.
    return "".join(c if c.isascii() and (c.isupper() or c.isdigit()) else _escape(c) for c in symbol)


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def date_of(ts_ns: int) -> str:
    """The UTC date of a time in ns as ``YYYYMMDD``."""
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).strftime("%Y%m%d")


def date_of_day(day: int) -> str:
    """The date of a day, counted since 1970, as ``YYYYMMDD``."""
    return date_of(day * DAY_NS)


@attrs.frozen(order=True)
class SegmentId:
    """A stretch of a recording: the process that wrote it (by its start, in ms) and a number within that process.

    Fixed before the first byte is written, so that a retry or a recovery writes the same keys with the same rows.
    """

    epoch_ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch_ms}-{self.seq:06d}"

    @classmethod
    def parse(cls, text: str) -> SegmentId:
        """The inverse of ``str``; anything else is a ``ValueError``."""
        match = re.fullmatch(r"(\d{1,15})-(\d{6,12})", text)
        if match is None:
            raise ValueError(f"not a segment: {text!r}")
        return cls(int(match[1]), int(match[2]))


@attrs.frozen(order=True)
class Partition:
    """The rows that share a folder."""

    exchange: str
    stream: StreamType
    symbol: str
    date: str

    @property
    def path(self) -> str:
        """The folder, in the form that Hive-aware readers understand."""
        return (
            f"exchange={quote(self.exchange, safe='')}/stream={self.stream.value}"
            f"/symbol={path_symbol(self.symbol)}/date={self.date}"
        )


def part_key(partition: Partition, instance: str, segment: SegmentId) -> str:
    """The key of one part."""
    return f"{partition.path}/part-{instance}-{segment}.parquet"


_STREAM_PATH = re.compile(r"exchange=([^/]+)/stream=([^/]+)")
SYMBOL: Final = "/symbol="
"""What comes before it in the key of a part says the exchange and the stream, and is a path of its own."""


def parse_stream_path(path: str) -> tuple[str, StreamType]:
    """The exchange and the stream of all parts below a path."""
    match = _STREAM_PATH.fullmatch(path)
    if match is None:
        raise ValueError(f"not the path of a stream: {path!r}")
    return unquote(match[1]), StreamType(match[2])


_PART = re.compile(
    r"exchange=([^/]+)/stream=([^/]+)/symbol=([^/]+)/date=(\d{8})/part-([a-z0-9_]+)-(\d+-\d+)\.parquet",
)


def parse_part_key(key: str) -> tuple[Partition, str, SegmentId]:
    """The partition, instance and segment that a part's key tells."""
    match = _PART.fullmatch(key)
    if match is None:
        raise ValueError(f"not the key of a part: {key!r}")
    exchange, stream, symbol, date, instance, segment = match.groups()
    partition = Partition(unquote(exchange), StreamType(stream), unquote(symbol, errors="surrogatepass"), date)
    return partition, instance, SegmentId.parse(segment)


def manifest_key(instance: str, segment: SegmentId, opened_ns: int) -> str:
    """The key of a segment's manifest; the date is the one on which the segment was opened."""
    return f"{MANIFESTS}/instance={instance}/date={date_of(opened_ns)}/{segment}.json"


_MANIFEST = re.compile(rf"{MANIFESTS}/instance=([a-z0-9_]+)/date=(\d{{8}})/(\d+-\d+)\.json")


def parse_manifest_key(key: str) -> tuple[str, str, SegmentId]:
    """The instance, date and segment that a manifest's key tells."""
    match = _MANIFEST.fullmatch(key)
    if match is None:
        raise ValueError(f"not the key of a manifest: {key!r}")
    return match[1], match[2], SegmentId.parse(match[3])


def owner_key(instance: str, number: int) -> str:
    """The key of one claim to ship as an instance; the holder of the highest number is the owner."""
    return f"{OWNERS}/instance={instance}/{number:06d}.json"


def newest_owner_key(instance: str) -> str:
    """The key of a note that tells with which claim to begin looking for the highest."""
    return f"{OWNERS}/instance={instance}/newest.json"


class RawCompression(StrEnum):
    """How a file of raw frames is compressed."""

    GZIP = "gzip"
    ZSTD = "zstd"


_SUFFIXES: Final = {RawCompression.GZIP: "gz", RawCompression.ZSTD: "zst"}
_RAW_FILE = re.compile(
    rf"{RAW_FRAMES}/exchange=([^/]+)/date=(\d{{8}})/part-([a-z0-9_]+)-(\d+-\d+)\.jsonl\.(gz|zst)(\.json)?",
)


@attrs.frozen
class RawFile:
    """One file of the archive of raw frames. It has no part in the rows: nothing but its own manifest names it."""

    exchange: str
    date: str
    instance: str
    segment: SegmentId
    """The start of the process that wrote it, and its number among the files of that process."""
    compression: RawCompression

    @property
    def key(self) -> str:
        """The key of the file."""
        folder = f"{RAW_FRAMES}/exchange={quote(self.exchange, safe='')}/date={self.date}"
        return f"{folder}/part-{self.instance}-{self.segment}.jsonl.{_SUFFIXES[self.compression]}"

    @property
    def manifest_key(self) -> str:
        """The key of its manifest, beside it."""
        return f"{self.key}.json"

    @classmethod
    def parse(cls, key: str) -> tuple[RawFile, bool]:
        """The file that a key tells, and whether the key is that of its manifest; else a ``ValueError``."""
        match = _RAW_FILE.fullmatch(key)
        if match is None:
            raise ValueError(f"not a file of raw frames: {key!r}")
        exchange, date, instance, segment, suffix, manifest = match.groups()
        compression = next(kind for kind, known in _SUFFIXES.items() if known == suffix)
        return cls(unquote(exchange), date, instance, SegmentId.parse(segment), compression), manifest is not None
