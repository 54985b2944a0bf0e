"""Recorded frames from a file: when each was received, and what it said, byte for byte.

``*.tsv`` and ``*.tsv.gz`` hold a frame a line, ``<receive time><TAB><message>``; the unit of the time is each recorder's own.
``*.jsonl`` holds messages without a time, so they get an even pace. An archive of raw frames, one file or a folder, is known by
what is in it.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

import attrs

from quantlab_collector.contracts.raw_frames import RawFrame
from quantlab_collector.storage.rawlog import archive_files, is_archive, read_archive, read_files

EVEN_GAP_NS: Final = 10_000_000
"""Between two messages that have no receive time."""

UNITS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Nanoseconds of each."""

_FROM_NS, _TO_NS = 1_262_304_000 * 10**9, 2_208_988_800 * 10**9
"""2010 to 2040: a Unix time of a recording is in between."""


@attrs.frozen
class Recorded:
    """One frame of a recording."""

    offset_ns: int
    """After the first one. Never less than the frame before: clocks may step, a recording has one order."""
    text: str


def read_recording(path: Path, unit: str | None = None, exchange: str = "") -> list[Recorded]:
    """All frames of a file, in its order. Without a unit the first time tells it; the exchange matters for a folder only."""
    if path.is_dir():
        files = archive_files(path, exchange)
        if not files:
            raise ValueError(f"no raw frames of {exchange} in {path}")
        return _archived(read_files(files))
    if path.is_file() and is_archive(path):
        return _archived(read_archive(path))
    plain = path.name.removesuffix(".gz")
    if plain.endswith(".jsonl"):
        return [Recorded(place * EVEN_GAP_NS, text) for place, text in enumerate(_lines(path))]
    if not plain.endswith(".tsv"):
        raise ValueError(f"not a recording: {path} (*.tsv or *.jsonl, or the same with .gz)")
    frames: list[Recorded] = []
    first = last = 0
    for number, line in enumerate(_lines(path), start=1):
        stamp, tab, text = line.partition("\t")
        try:
            time = Decimal(stamp)
        except InvalidOperation:
            time = Decimal("NaN")
        if not tab or not time.is_finite():
            raise ValueError(f"{path}, line {number}: not a receive time, a tab and a message: {line[:60]!r}")
        unit = unit or unit_of(time)
        now = int(time * UNITS[unit])
        first = first or now
        last = max(last, now - first)
        frames.append(Recorded(last, text))
    return frames


def _archived(frames: Iterable[RawFrame]) -> list[Recorded]:
    """What can be said as text again: no exchange here speaks otherwise, and the archive keeps it for other eyes."""
    recorded: list[Recorded] = []
    first, last = None, 0
    for frame in frames:
        first = frame.ts_recv if first is None else first
        last = max(last, frame.ts_recv - first)
        with suppress(UnicodeDecodeError):
            if not frame.binary:
                recorded.append(Recorded(last, frame.data.decode()))
    return recorded


def unit_of(time: Decimal) -> str:
    """The unit in which this is a time of our days; a time of no day is that of a monotonic clock, in nanoseconds."""
    for unit, factor in UNITS.items():
        if _FROM_NS <= time * factor < _TO_NS:
            return unit
    return "ns"


def _lines(path: Path) -> Iterator[str]:
    # Not text mode with any newline: a message keeps what it holds.
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            if text := line.rstrip(b"\r\n"):
                yield text.decode()
