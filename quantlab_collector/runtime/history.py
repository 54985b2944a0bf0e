"""How many events came in the last quarter of an hour: one point every few seconds, by stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

import attrs

STEP: Final = 5.0
SPAN: Final = 900.0


@attrs.frozen
class Point:
    """The mean since the point before it."""

    at: float
    """Where it ends: seconds since the start of the service."""
    rates: Mapping[str, float]
    """Events per second by stream."""


class History:
    """Fed with totals that only grow, about once a second."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=round(SPAN / STEP))
        self._base: tuple[float, Mapping[str, int]] | None = None

    def sample(self, now: float, totals: Mapping[str, int]) -> None:
        """Note the totals; a stream that was not there before began at zero."""
        if self._base is None:
            self._base = (now, dict(totals))
            return
        since, before = self._base
        seconds = now - since
        if seconds < STEP:
            return
        self._base = (now, dict(totals))
        self._points.append(Point(now, {stream: (total - before.get(stream, 0)) / seconds for stream, total in totals.items()}))

    def points(self) -> tuple[Point, ...]:
        """Oldest first."""
        return tuple(self._points)
