"""One store for each patience.

obstore's limit of time is about a whole request, the sending of the object included, and belongs to a store and not to a request.
With one limit for all, either a large object on a slow line would be cut off again and again for ever, or a small one would wait
for minutes where nobody answers. So there is a store for each step of patience, made when it is first needed (that takes 5 ms)
and kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

if TYPE_CHECKING:
    # They exist for type checkers only.
    from obstore.store import ClientConfig, ObjectStore

LOWEST: Final = 30.0
"""Seconds for what is small."""
SLOWEST_LINE: Final = 100_000
"""Bytes a second that a line has at least, for all uploads together."""
READING: Final = 3600.0
"""Nobody knows beforehand how much a read will bring. That it stands still shows by ``STANDSTILL``."""
STANDSTILL: Final = 30.0
CONNECTING: Final = 5.0


@attrs.frozen
class Patience:
    """How long to wait for a request."""

    whole: float
    """Seconds from its beginning to its end."""
    standstill: float | None = None
    """Seconds without a byte coming in."""

    def client_config(self) -> ClientConfig:
        """In obstore's words."""
        config: ClientConfig = {"timeout": timedelta(seconds=self.whole), "connect_timeout": timedelta(seconds=CONNECTING)}
        if self.standstill is not None:
            config["read_timeout"] = timedelta(seconds=self.standstill)
        return config


Build: TypeAlias = "Callable[[Patience], ObjectStore]"
"""Makes a store. It reads the credentials."""

_READER: Final = Patience(READING, STANDSTILL)


def patience_for(size: int, lanes: int) -> Patience:
    """For sending so many bytes while others send on the other lanes of the same line."""
    needed = LOWEST + size * lanes / SLOWEST_LINE
    step = LOWEST
    while step < needed and size:
        step *= 2
    return Patience(step)


class Ladder:
    """The stores, for threads that share them."""

    def __init__(self, build: Build, lanes: int) -> None:
        self._build = build
        self._lanes = lanes
        self._lock = threading.Lock()
        self._stores: dict[Patience, ObjectStore] = {}

    def sending(self, size: int) -> ObjectStore:
        """A store that waits long enough for so many bytes."""
        return self._store(patience_for(size, self._lanes))

    def reading(self) -> ObjectStore:
        """A store that waits as long as bytes come in."""
        return self._store(_READER)

    def renew(self) -> None:
        """Make all stores anew when they are needed next. Requests on the old ones end in peace."""
        with self._lock:
            self._stores = {}

    def _store(self, patience: Patience) -> ObjectStore:
        with self._lock:
            store = self._stores.get(patience)
            if store is None:
                store = self._stores[patience] = self._build(patience)
            return store
