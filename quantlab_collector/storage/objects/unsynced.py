"""Which folders hold names that may not be on the disk.

A new file is safe when its folder was synced, a new folder when the one around it was, and so on up to the root. What is around a
folder is synced only until it was once: with thousands of symbols that is half of all syncs.
"""

from __future__ import annotations

import threading
from typing import Final

from quantlab_collector.storage import files

MOST: Final = 50_000
"""So many folders are known to be safe; then they are forgotten, and synced once more. Every day brings new ones."""


class UnsyncedFolders:
    """The folders of a store, for all its threads."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._touched: set[str] = set()
        """There are new names in them."""
        self._safe: set[str] = set()
        """Their own names are on the disk, and those of all folders around them."""

    def add(self, path: str) -> None:
        """There is a new file, or may be: to be called when it has its name, for only then does a sync keep it."""
        with self._lock:
            self._touched.add(_around(path))

    def made(self, path: str) -> None:
        """The folder of a file is missing and will be made now, whether it was there before or not."""
        with self._lock:
            self._safe.discard(_around(path))

    def sync(self) -> None:
        """Have all that was added on the disk, also what another thread is syncing at this moment."""
        with self._syncing:
            with self._lock:
                touched, self._touched = self._touched, set()
                new = touched - self._safe
                if len(self._safe) + len(new) > MOST:
                    self._safe.clear()
                # Noted now: if one of them is removed and made again meanwhile, it counts as new next time.
                self._safe |= new
            try:
                for folder in touched.union(*map(self._all_around, new)):
                    files.sync_dir(folder)
            except OSError:
                with self._lock:
                    self._touched |= touched
                    self._safe -= new
                raise

    def _all_around(self, folder: str) -> list[str]:
        found = []
        while folder != self._root:
            folder = _around(folder)
            found.append(folder)
        return found


def _around(path: str) -> str:
    return path.rpartition("/")[0]
