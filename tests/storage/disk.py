"""Disks that misbehave: one that fails when told to, one that remembers everything, and what a power cut may leave of it.

They stand in for ``os`` in ``quantlab_collector.storage.files``, through which everything durable goes.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

import attrs

LOOKING = frozenset(("pread", "listdir", "lstat", "fstat", "statvfs"))
CHANGING = frozenset(("open", "write", "fsync", "fdatasync", "close", "rename", "link", "unlink", "mkdir", "makedirs", "rmdir"))
OPERATIONS = LOOKING | CHANGING


class FailingOs:
    """Does everything, except the ``at``-th operation and those after it that are to fail, too.

    ``lasting`` is how many fail in a row: one, many, or all from there on. ``only`` narrows down what counts and fails. With
    ``applied`` the operation is done and fails all the same, as over a network.
    """

    def __init__(self, at, error, *, lasting=1, only=OPERATIONS, applied=False):
        self.at, self.error, self.lasting, self.only, self.applied = at, error, lasting, only, applied
        self.calls = 0
        self.failed = Counter()
        self._lock = threading.Lock()

    @classmethod
    def never(cls):
        """Only counts."""
        return cls(0, 0)

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in self.only:
            return real

        def operation(*args, **kwargs):
            if not self._is_due(name):
                return real(*args, **kwargs)
            if name == "close" or self.applied:
                real(*args, **kwargs)  # a close that fails has closed
            elif name == "write":
                fd, data = args
                real(fd, data[: len(data) // 2])
            raise OSError(self.error, os.strerror(self.error))

        return operation

    def _is_due(self, name):
        with self._lock:
            self.calls += 1
            due = self.at <= self.calls < self.at + self.lasting if self.at else False
            self.failed[name] += due
            return due


# ------------------------------------------------------------------------------------------------------ what was done


@attrs.frozen
class Named:
    """An inode was given a name (created, linked, made)."""

    folder: int
    name: str
    inode: int


@attrs.frozen
class Unnamed:
    """A name was removed."""

    folder: int
    name: str
    inode: int


@attrs.frozen
class Renamed:
    """One name went and another came, at once."""

    folder: int
    name: str
    to_folder: int
    to_name: str
    inode: int


@attrs.frozen
class Written:
    inode: int
    data: bytes


@attrs.frozen
class Synced:
    """Of a file: its content; of a folder: its names. One that failed has thrown away what it should have brought to the disk."""

    inode: int
    failed: bool = False


@attrs.frozen
class Mark:
    """Not an operation: what the program had promised by then."""

    promise: object


class RecordingOs:
    """Does everything below ``root``, and remembers it. What is there at the beginning counts as being safe."""

    def __init__(self, root, failing_syncs=()):
        self.root = Path(root)
        self.operations = []
        self.folders = {}
        """By inode: the names in it, as they are now."""
        self.at_first = {}
        """By inode: the names in a folder or the content of a file, as they were at the beginning."""
        self._failing_syncs = set(failing_syncs)
        self._syncs = 0
        self._inodes = 0
        self._open = {}
        self._lock = threading.RLock()
        self._scan(self.root)

    def __getattr__(self, name):
        return getattr(os, name)

    def mark(self, promise):
        with self._lock:
            self.operations.append(Mark(promise))

    def _scan(self, path):
        inode = self._new_inode()
        if not path.is_dir():
            self.at_first[inode] = path.read_bytes()
            return inode
        names = {entry.name: self._scan(entry) for entry in sorted(path.iterdir())}
        self.folders[inode] = names
        self.at_first[inode] = dict(names)
        return inode

    def _new_inode(self):
        self._inodes += 1
        return self._inodes - 1

    def _find(self, path):
        """The folder's inode and the name in it."""
        *around, name = Path(path).relative_to(self.root).parts
        folder = 0
        for part in around:
            folder = self.folders[folder][part]
        return folder, name

    def _inode(self, path):
        if Path(path) == self.root:
            return 0
        folder, name = self._find(path)
        return self.folders[folder][name]

    # ---------------------------------------------------------------------------------------- as the module ``os`` has them

    def open(self, path, flags, mode=0o777):
        with self._lock:
            fd = os.open(path, flags, mode)
            if flags & os.O_CREAT:
                self._open[fd] = self._name(path, self._new_inode())
            else:
                self._open[fd] = self._inode(path)
            return fd

    def close(self, fd):
        with self._lock:
            os.close(fd)
            del self._open[fd]

    def write(self, fd, data):
        with self._lock:
            taken = os.write(fd, data)
            self.operations.append(Written(self._open[fd], bytes(data[:taken])))
            return taken

    def fsync(self, fd):
        with self._lock:
            self.operations.append(Synced(self._open[fd]))

    def fdatasync(self, fd):
        with self._lock:
            self._syncs += 1
            failed = self._syncs in self._failing_syncs
            self.operations.append(Synced(self._open[fd], failed))
        if failed:
            raise OSError(5, "Input/output error")

    def rename(self, source, target):
        with self._lock:
            os.rename(source, target)  # noqa: PTH104 (in place of os)
            folder, name = self._find(source)
            to_folder, to_name = self._find(target)
            inode = self.folders[folder].pop(name)
            self.folders[to_folder][to_name] = inode
            self.operations.append(Renamed(folder, name, to_folder, to_name, inode))

    def link(self, source, target):
        with self._lock:
            os.link(source, target)
            self._name(target, self._inode(source))

    def unlink(self, path):
        with self._lock:
            os.unlink(path)  # noqa: PTH108 (in place of os)
            self._unname(path)

    def rmdir(self, path):
        with self._lock:
            os.rmdir(path)  # noqa: PTH106 (in place of os)
            self._unname(path)

    def mkdir(self, path, mode=0o777):
        with self._lock:
            os.mkdir(path, mode)  # noqa: PTH102 (in place of os)
            inode = self._new_inode()
            self._name(path, inode)
            self.folders[inode] = {}

    def makedirs(self, path, mode=0o777, exist_ok=False):
        assert exist_ok
        with self._lock:
            for folder in reversed([path, *path.parents]):
                if not folder.exists():
                    self.mkdir(folder)

    def _name(self, path, inode):
        folder, name = self._find(path)
        self.folders[folder][name] = inode
        self.operations.append(Named(folder, name, inode))
        return inode

    def _unname(self, path):
        folder, name = self._find(path)
        self.operations.append(Unnamed(folder, name, self.folders[folder].pop(name)))


# ------------------------------------------------------------------------------------------------------ what is left of it

SECTOR = 512


def promised(disk, upto):
    """What the program had promised before the power went."""
    return [operation.promise for operation in disk.operations[:upto] if isinstance(operation, Mark)]


def after_power_cut(disk, upto, chance):
    """One of the states that the disk may legally be in when the power goes after so many operations.

    POSIX promises little: a name in a folder is certain when the folder was synced after it, content when its file was. Whatever
    came later may be there or not, each thing by itself; only a rename is all or nothing. Content may be there in part, and where
    it is missing there may be zeros. The answer is a tree: folders are dicts, files are bytes.
    """
    likely = chance.choice((0.0, 0.2, 0.5, 0.8, 1.0))
    names = {inode: dict(first) for inode, first in disk.at_first.items() if isinstance(first, dict)}
    for operation in _names_that_hold(disk.operations[:upto], lambda: chance.random() < likely):
        match operation:
            case Named(folder, name, inode):
                names.setdefault(folder, {})[name] = inode
            case Unnamed(folder, name, inode):
                if names.setdefault(folder, {}).get(name) == inode:
                    del names[folder][name]
            case Renamed(folder, name, to_folder, to_name, inode):
                if names.setdefault(folder, {}).get(name) == inode:
                    del names[folder][name]
                names.setdefault(to_folder, {})[to_name] = inode
    contents = _contents(disk, upto)

    def tree(inode):
        if inode in disk.folders or inode in names:
            return {name: tree(inside) for name, inside in sorted(names.get(inode, {}).items())}
        safe, at_risk = contents.get(inode, (disk.at_first.get(inode, b""), b""))
        return safe + _torn(at_risk, likely, chance) if at_risk else safe

    return tree(0)


def _names_that_hold(operations, is_kept):
    synced, held = set(), []
    for operation in reversed(operations):
        match operation:
            case Synced(inode):
                synced.add(inode)
            case Named(folder) | Unnamed(folder):
                if folder in synced or is_kept():
                    held.append(operation)
            case Renamed(folder, _, to_folder):
                if folder in synced or to_folder in synced or is_kept():
                    held.append(operation)
    return reversed(held)


def _contents(disk, upto):
    """By inode: what is certain to be there, and what was written after it."""
    contents = {}
    doomed = set()
    for operation in disk.operations[:upto]:
        match operation:
            case Written(inode, data):
                safe, at_risk = contents.get(inode, (disk.at_first.get(inode, b""), b""))
                contents[inode] = safe, at_risk + data
            case Synced(inode, failed) if inode in contents:
                # The system forgets what it could not write: a later sync says "done" and is not.
                if failed:
                    doomed.add(inode)
                elif inode not in doomed:
                    contents[inode] = b"".join(contents[inode]), b""
    return contents


def _torn(data, likely, chance):
    """Some of what was not synced: nothing, all, a piece from the front; with sectors that were never written."""
    kind = chance.random()
    if kind < likely / 2:
        return data
    if kind > 1 - (1 - likely) / 2:
        return b""
    kept = bytearray(data[: chance.randrange(len(data) + 1)])
    if chance.random() < 0.5:
        for start in range(0, len(kept), SECTOR):
            if chance.random() < 0.3:
                end = min(start + SECTOR, len(kept))
                kept[start:end] = bytes(end - start)
    return bytes(kept)


def lay_out(tree, folder):
    """Make a tree real."""
    folder.mkdir()
    for name, content in tree.items():
        if isinstance(content, dict):
            lay_out(content, folder / name)
        else:
            (folder / name).write_bytes(content)
