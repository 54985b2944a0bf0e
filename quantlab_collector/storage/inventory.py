"""What lies in the spool, for somebody who looks for a fault. Only names and sizes are read, and no lock is needed."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

FOLDERS: Final = ("journal", "packs", "raw", "quarantine")
NAMED: Final = 100
"""There may be thousands of files; so many of each folder are named."""


@attrs.frozen(order=True)
class Entry:
    """A file, or what is found in the place of one."""

    modified_ns: int
    name: str
    bytes: int


@attrs.frozen
class FolderInventory:
    """One folder of the spool, with everything below it."""

    files: int
    bytes: int
    oldest: tuple[Entry, ...]
    """Oldest first: what waits longest is what one looks for."""


def take_inventory(spool: str | Path) -> dict[str, FolderInventory]:
    """What is there, folder by folder. What vanishes meanwhile was shipped."""
    root = Path(spool).expanduser()
    return {name: _take(root / name) for name in FOLDERS}


def _take(folder: Path) -> FolderInventory:
    count = size = 0

    def counted() -> Iterator[Entry]:
        nonlocal count, size
        for entry in _entries(folder):
            count += 1
            size += entry.bytes
            yield entry

    oldest = heapq.nsmallest(NAMED, counted())
    return FolderInventory(count, size, tuple(oldest))


def _entries(folder: Path) -> Iterator[Entry]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                found = path.lstat()
            except OSError:
                continue
            yield Entry(found.st_mtime_ns, str(path.relative_to(folder)), found.st_size)
