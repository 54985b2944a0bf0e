"""The object store, through obstore's synchronous API.

``put`` of a key is idempotent: the same key always gets the same bytes (see ``contracts.layout``), so doing it again after any
doubt is right. When ``put`` returns, the object is there for every reader. When ``settle`` returns, everything put before it also
survives a power cut: on a local path the names of files have to be synced for that, and folders are shared by many of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from quantlab_collector.storage import files


class StoreFault(Exception):
    """The store did not do it; trying again is right."""


class LocalObjects:
    """A recording under a local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._store = LocalStore(root)
        self._unsynced: set[Path] = set()
        """Folders with names in them that may not be on the disk."""

    def __str__(self) -> str:
        return str(self.root)

    def put(self, key: str, data: bytes) -> None:
        """Store an object, whole or not at all, replacing what is there."""
        try:
            obstore.put(self._store, key, data, mode="overwrite", use_multipart=False)
            path = self.root / key
            files.sync_file(path)
            self._unsynced.update(folder for folder in path.parents if folder.is_relative_to(self.root))
        except (BaseError, OSError) as fault:
            raise StoreFault(_words(fault)) from fault

    def settle(self) -> None:
        """Have everything that was put so far on the disk."""
        try:
            while self._unsynced:
                folder = self._unsynced.pop()
                try:
                    files.sync_dir(folder)
                except OSError:
                    self._unsynced.add(folder)
                    raise
        except OSError as fault:
            raise StoreFault(_words(fault)) from fault

    def get(self, key: str) -> bytes:
        """Read an object; ``FileNotFoundError`` when there is none."""
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as fault:
            raise StoreFault(_words(fault)) from fault

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys below a prefix, and their sizes, sorted."""
        try:
            found = sorted((meta["path"], meta["size"]) for page in obstore.list(self._store, prefix) for meta in page)
        except (BaseError, OSError) as fault:
            raise StoreFault(_words(fault)) from fault
        yield from found

    def delete(self, key: str) -> None:
        """Remove an object. Only the probe of ``check`` does so; recorded data is never deleted."""
        try:
            obstore.delete(self._store, key)
        except (BaseError, OSError) as fault:
            raise StoreFault(_words(fault)) from fault


def open_objects(url: str) -> LocalObjects:
    """The store that a ``storage.url`` names: a path, or a ``file://`` address."""
    return LocalObjects(local_path(url))


def local_path(url: str) -> Path:
    """The folder that a ``storage.url`` names; a ``ValueError`` when it names none."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise ValueError(f"{parts.netloc} is another machine")
        return Path(unquote(parts.path))
    if parts.scheme and "://" in url:
        raise ValueError(f"{parts.scheme}:// is not supported by this version, which stores to local paths")
    return Path(url).expanduser()


def _words(fault: Exception) -> str:
    """The first line of what went wrong: obstore's texts run over many."""
    return str(fault).strip().split("\n", 1)[0] or type(fault).__name__
