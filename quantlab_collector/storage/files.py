"""The few file operations that durability is made of. Everything that must survive a power cut goes through here."""

from __future__ import annotations

import os
from pathlib import Path

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create(path: Path) -> int:
    """A new file, for its owner only; one that exists or a link is an error, never overwritten."""
    return os.open(path, _CREATE, 0o600)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of it: one ``write`` may take less."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_synced(path: Path, data: bytes | memoryview) -> None:
    """A new file with this content, on the disk when this returns (its name is not: see ``sync_dir``)."""
    fd = create(path)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_synced(path: Path, data: bytes) -> None:
    """Give a small file a new content; after a crash it has the old one or the new one, whole."""
    beside = path.with_name(path.name + ".tmp")
    beside.unlink(missing_ok=True)
    write_synced(beside, data)
    beside.replace(path)
    sync_dir(path.parent)


def rename_synced(source: Path, target: Path) -> None:
    """Rename within one folder, and have the new name on the disk."""
    source.rename(target)
    sync_dir(target.parent)


def sync_file(path: Path) -> None:
    """Have a file that someone else wrote on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_dir(path: Path) -> None:
    """Have the names in a folder on the disk: without this a file that was created, renamed or removed may be so no more."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
