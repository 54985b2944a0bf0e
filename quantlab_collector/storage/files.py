"""The few file operations that durability is made of.

Everything that the spool, the journal and a local store do to a disk goes through here, and from here to ``os``: one place to
read, and one place where tests make a disk fail, be full, or lose its power.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

StrPath: TypeAlias = Path | str
"""Where there are thousands of names, a ``Path`` for each costs as much as what is done with it."""

_CREATE: Final = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Not waiting: somebody may have put a pipe where a file belongs, and nobody may ever write into it."""


# ------------------------------------------------------------------------------------------------------------- content


def create(path: StrPath) -> int:
    """A new file, for its owner only; one that exists or a link is an error, never overwritten."""
    return os.open(path, _CREATE | os.O_WRONLY, 0o600)


def create_unnamed(path: Path) -> int:
    """A new file to write and to read, which is gone when it is closed: its name is, before anything is in it."""
    remove(path, missing_ok=True)
    fd = os.open(path, _CREATE | os.O_RDWR, 0o600)
    remove_quietly(path)
    return fd


def open_to_read(path: Path) -> int:
    """A file to read; a link is an error, never followed, and so is whatever else is no file."""
    fd = os.open(path, _READ)
    try:
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        os.close(fd)
        raise
    if not is_file:
        os.close(fd)
        raise OSError(errno.EINVAL, "not a file", str(path))
    return fd


def read(path: Path) -> bytes:
    """The content of a file."""
    return read_range(path, 0, size(path))


def read_range(path: Path, place: int, length: int) -> bytes:
    """So many bytes of a file; fewer where it ends."""
    with reading(path) as fd:
        return read_at(fd, place, length)


@contextmanager
def reading(path: Path) -> Iterator[int]:
    """A file to read from more than once."""
    fd = open_to_read(path)
    try:
        yield fd
    finally:
        os.close(fd)


def read_at(fd: int, place: int, length: int) -> bytes:
    """So many bytes of an open file; fewer where it ends."""
    chunks = []
    while length and (chunk := os.pread(fd, length, place)):
        chunks.append(chunk)
        place += len(chunk)
        length -= len(chunk)
    return b"".join(chunks)


def size(path: Path) -> int:
    """How long a file is; a link is not followed."""
    return os.lstat(path).st_size


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of it: one ``write`` may take less."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync(fd: int) -> None:
    """Have what was written on the disk, with the file's size and times."""
    os.fsync(fd)


def sync_data(fd: int) -> None:
    """Have what was written on the disk, and of its size what is needed to read it."""
    os.fdatasync(fd)


def close(fd: int) -> None:
    """Let go of a file."""
    os.close(fd)


def write_synced(path: StrPath, data: bytes | memoryview) -> None:
    """A new file with this content, on the disk when this returns (its name is not: see ``sync_dir``)."""
    fd = create(path)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


# --------------------------------------------------------------------------------------------------------------- names


def rename(source: StrPath, target: StrPath) -> None:
    """Give a file another name; what had that name is gone."""
    os.rename(source, target)  # noqa: PTH104 (all go to ``os`` from here)


def link(source: StrPath, target: StrPath) -> None:
    """Give a file a second name, where there is none yet."""
    os.link(source, target)


def remove(path: StrPath, *, missing_ok: bool = False) -> None:
    """Remove a name."""
    try:
        os.unlink(path)  # noqa: PTH108 (all go to ``os`` from here)
    except FileNotFoundError:
        if not missing_ok:
            raise


def remove_quietly(path: StrPath) -> None:
    """Remove what a failed attempt left, as far as that is possible on a disk that has just failed."""
    try:
        os.unlink(path)  # noqa: PTH108 (all go to ``os`` from here)
    except OSError:
        return


def remove_synced(path: Path) -> None:
    """Remove a name if it is there, and have that on the disk: it will not come back."""
    remove(path, missing_ok=True)
    sync_dir(path.parent)


def make_dir(path: Path) -> None:
    """A new folder, for its owner only."""
    os.mkdir(path, 0o700)  # noqa: PTH102 (all go to ``os`` from here)


def make_dirs(path: Path) -> None:
    """A folder for everybody, and those around it, where they are missing."""
    os.makedirs(path, exist_ok=True)  # noqa: PTH103 (all go to ``os`` from here)


def make_dirs_synced(path: Path, mode: int = 0o777) -> None:
    """A folder and those around it, where they are missing, on the disk when this returns: all that we keep will be in it."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    os.makedirs(path, mode, exist_ok=True)  # noqa: PTH103 (all go to ``os`` from here)
    for folder in missing or [path]:
        with suppress(OSError):  # what is around it may be somebody else's, and another file system
            sync_dir(folder.parent)


def entries(path: Path) -> list[Path]:
    """What is in a folder, by name."""
    return [path / name for name in sorted(os.listdir(path))]  # noqa: PTH208 (all go to ``os`` from here)


def exists(path: Path) -> bool:
    """Whether there is anything of this name. A disk that does not say is an error, and no "no"."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def is_plain_file(path: Path) -> bool:
    """Whether this is a file, and not a link to one."""
    return stat.S_ISREG(os.lstat(path).st_mode)


def sync_dir(path: StrPath) -> None:
    """Have the names in a folder on the disk: without this a file that was created, renamed or removed may be so no more."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rename_synced(source: Path, target: Path) -> None:
    """Rename within one folder, and have the new name on the disk."""
    rename(source, target)
    sync_dir(target.parent)


def replace_synced(path: Path, data: bytes) -> None:
    """Give a small file a new content; after a crash it has the old one or the new one, whole."""
    remove(beside(path), missing_ok=True)
    write_synced(beside(path), data)
    rename_synced(beside(path), path)


def beside(path: Path) -> Path:
    """Where a file's new content is written."""
    return path.with_name(path.name + ".tmp")


# --------------------------------------------------------------------------------------------------------------- space


def free_bytes(path: Path) -> int:
    """How much more the disk takes from us."""
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize
