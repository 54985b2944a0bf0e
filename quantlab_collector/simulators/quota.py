"""What an exchange allows: so much in a time, and no more. Pure: times in, yes or no out."""

from __future__ import annotations

from collections import deque


class Quota:
    """So many in the time that has just passed. What is refused does not count."""

    def __init__(self, limit: int, period: float) -> None:
        self._period = period
        self._recent: deque[float] = deque(maxlen=limit)

    def admits(self, now: float) -> bool:
        """Whether one more is allowed; if so, it is counted. The time is in the unit of the period."""
        if len(self._recent) == self._recent.maxlen and now - self._recent[0] < self._period:
            return False
        self._recent.append(now)
        return True
