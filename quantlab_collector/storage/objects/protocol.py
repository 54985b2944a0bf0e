"""What a store can do, and how it fails. Everything here is synchronous: it runs in the writer's threads."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Protocol

import attrs


class FaultKind(StrEnum):
    """Why the store did not do it. Each wants another patience, and tells the operator where to look."""

    TRANSIENT = "transient"
    """Refused, reset, timed out, a 5xx: the next attempt may do."""
    THROTTLED = "throttled"
    """429 or SlowDown: fewer requests, later."""
    AUTH = "auth"
    """Credentials, permissions, a quota: someone has to change something. Credentials are read again before the next attempt."""
    CLOCK = "clock"
    """The store thinks that our clock, or its own, is wrong."""
    CONFIG = "config"
    """No such bucket, another region, an address that is none."""


class StoreFault(Exception):
    """The store did not do it, or it is not known whether it did. Trying again is right, for every kind."""

    def __init__(self, text: str, kind: FaultKind = FaultKind.TRANSIENT, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.retry_after = retry_after
        """Seconds that the store asked us to wait."""


class KeyTakenError(Exception):
    """``put_new`` found something there. It may be what an earlier attempt of ours put: the caller has to look."""


@attrs.frozen
class ObjectInfo:
    """What the store says of an object without giving it."""

    size: int
    modified_ns: int
    """On the store's clock."""


class Objects(Protocol):
    """A recording in a store.

    ``put`` of a key is idempotent: the same key always gets the same bytes (see ``contracts.layout``), so doing it again after
    any doubt is right. When ``put`` returns, the object is there for every reader, whole. When ``settle`` returns, everything put
    before it also survives a power cut: for a remote store that is so at once.

    Every method raises ``StoreFault`` when the store does not do it.
    """

    def put(self, key: str, data: bytes) -> None:
        """Store an object, whole or not at all, replacing what is there."""

    def put_new(self, key: str, data: bytes) -> None:
        """Store an object only where there is none; else a ``KeyTakenError``."""

    def settle(self) -> None:
        """Have everything that was put so far safe from a power cut."""

    def get(self, key: str) -> bytes:
        """Read an object; ``FileNotFoundError`` when there is none."""

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of an object, or ``None`` when there is none."""

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys below a prefix (whole components, as of a folder), and their sizes, sorted."""

    def delete(self, key: str) -> None:
        """Remove an object. Only the probe of ``check`` does so; recorded data is never deleted."""

    def renew(self) -> None:
        """Read credentials again: the store has refused those that we have."""
