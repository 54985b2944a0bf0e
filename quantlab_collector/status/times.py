"""Times as the HTTP interface writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def millis(ns: int | None) -> int | None:
    """Nanoseconds as milliseconds."""
    return None if ns is None else ns // 1_000_000


def iso(ns: int) -> str:
    """Nanoseconds as people write a time, to the microsecond."""
    return (_EPOCH + timedelta(microseconds=ns // 1000)).isoformat(timespec="microseconds")
