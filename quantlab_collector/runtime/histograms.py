"""How long things take: counts of durations in fixed buckets, which cost a fraction of a microsecond to add to.

Durations are whole nanoseconds, as the clocks tell them; they become seconds only when somebody looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

import attrs


@attrs.frozen
class Distribution:
    """A histogram at one instant."""

    bounds: tuple[float, ...]
    """Upper bounds in seconds, each of them inside its bucket; the last bucket has none."""
    counts: tuple[int, ...]
    """Durations by bucket, one more than there are bounds."""
    sum: float
    """All durations together, in seconds."""

    @property
    def count(self) -> int:
        """How many durations there were."""
        return sum(self.counts)

    @property
    def cumulative(self) -> tuple[int, ...]:
        """How many were not longer than each bound; the last number is all of them."""
        return tuple(accumulate(self.counts))

    def quantile(self, share: float) -> float | None:
        """A bound that this share of the durations kept; ``None`` when no bound is known, or nothing was measured."""
        wanted = share * self.count
        if not wanted:
            return None
        return next((bound for bound, reached in zip(self.bounds, self.cumulative, strict=False) if reached >= wanted), None)


class Histogram:
    """Durations since the process started."""

    __slots__ = ("_bounds", "_counts", "_seconds", "_sum", "least_ns")

    def __init__(self, bounds: Iterable[float]) -> None:
        self._seconds = tuple(bounds)
        self._bounds = tuple(round(bound * 1e9) for bound in self._seconds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0
        self.least_ns: int | None = None
        """The shortest since this was last forgotten."""

    def add(self, duration_ns: int) -> None:
        """One more. What ended before it began, by two clocks that differ, counts as no time; ``least_ns`` tells it."""
        least_ns = self.least_ns
        if least_ns is None or duration_ns < least_ns:
            self.least_ns = duration_ns
        if duration_ns > 0:
            self._sum += duration_ns
        self._counts[bisect_left(self._bounds, duration_ns)] += 1

    def view(self) -> Distribution:
        """A copy that does not change any more."""
        return Distribution(self._seconds, tuple(self._counts), self._sum / 1e9)
