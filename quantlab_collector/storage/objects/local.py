"""A recording under a local folder.

Files are written beside their place, synced, and renamed: a final name never stands for half a file, not even after a power cut.
That is more than obstore's own local store promises, so it only reads and lists here.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from quantlab_collector.storage import files
from quantlab_collector.storage.objects.protocol import FaultKind, KeyTakenError, ObjectInfo, StoreFault
from quantlab_collector.storage.objects.unsynced import UnsyncedFolders

_BESIDE: Final = "#"
"""What follows it is a number. Names that end so are invisible to obstore, and to whoever looks for ``*.parquet``."""


class LocalObjects:
    """The folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        files.make_dirs_synced(root)
        self._text = str(root)
        self._store = LocalStore(root)
        self._token = secrets.randbelow(10**9)
        self._numbers = itertools.count()
        self._unsynced = UnsyncedFolders(self._text)

    def __str__(self) -> str:
        return self._text

    def put(self, key: str, data: bytes) -> None:
        """Store an object, whole or not at all, replacing what is there."""
        path = f"{self._text}/{key}"
        try:
            beside = self._beside(path, data)
            try:
                files.rename(beside, path)
            finally:
                self._unsynced.add(path)
        except OSError as fault:
            raise _fault(fault) from fault

    def put_new(self, key: str, data: bytes) -> None:
        """Store an object only where there is none."""
        path = f"{self._text}/{key}"
        try:
            beside = self._beside(path, data)
            try:
                files.link(beside, path)
            except FileExistsError:
                raise KeyTakenError(key) from None
            finally:
                self._unsynced.add(path)
                files.remove(beside)
        except OSError as fault:
            raise _fault(fault) from fault

    def _beside(self, path: str, data: bytes) -> str:
        """The object under a name next to its place, synced. Others may be at the same key: no name is used twice."""
        beside = f"{path}{_BESIDE}{self._token}{next(self._numbers):06d}"
        try:
            try:
                files.write_synced(beside, data)
            except FileNotFoundError:  # the folder is missing, which is rare: others are not asked for it first
                self._unsynced.made(path)
                files.make_dirs(Path(path).parent)
                files.write_synced(beside, data)
        except OSError:
            files.remove_quietly(beside)
            raise
        return beside

    def settle(self) -> None:
        """Have the names of everything that was put so far on the disk."""
        try:
            self._unsynced.sync()
        except OSError as fault:
            raise _fault(fault) from fault

    def get(self, key: str) -> bytes:
        """Read an object; ``FileNotFoundError`` when there is none."""
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as fault:
            raise _fault(fault) from fault

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of an object, or ``None`` when there is none."""
        try:
            status = os.stat(self.root / key)  # noqa: PTH116 (its time in ns, without a detour)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as fault:
            raise _fault(fault) from fault
        return ObjectInfo(status.st_size, status.st_mtime_ns)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys below a prefix, and their sizes, sorted."""
        try:
            found = sorted((meta["path"], meta["size"]) for page in obstore.list(self._store, prefix) for meta in page)
        except (BaseError, OSError) as fault:
            raise _fault(fault) from fault
        yield from found

    def delete(self, key: str) -> None:
        """Remove an object."""
        try:
            files.remove(self.root / key, missing_ok=True)
        except OSError as fault:
            raise _fault(fault) from fault

    def renew(self) -> None:
        """A folder has no credentials."""


def _fault(fault: Exception) -> StoreFault:
    """In one line: obstore's texts run over many. Whoever may not write here has to be given the right first."""
    kind = FaultKind.AUTH if isinstance(fault, PermissionError) else FaultKind.TRANSIENT
    return StoreFault(str(fault).strip().split("\n", 1)[0] or type(fault).__name__, kind)
