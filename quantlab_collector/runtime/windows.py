"""What happened in the last minutes, from totals that only grow.

A window is fed with samples of a total, about one a second. That keeps the way of an event free of any bookkeeping of time: the
total is an integer that is counted anyway.
"""

from __future__ import annotations

from collections import deque


class Window:
    """Samples of one total over the last ``span`` seconds."""

    def __init__(self, span: float = 900.0) -> None:
        self._span = span
        self._samples: deque[tuple[float, int]] = deque()

    def sample(self, now: float, total: int) -> None:
        """Note a total; times must not go back."""
        samples = self._samples
        samples.append((now, total))
        # One sample older than the span stays: it is the base of the whole window.
        while len(samples) >= 2 and samples[1][0] <= now - self._span:
            samples.popleft()

    def change(self) -> int:
        """By how much the total grew within the window."""
        return self._samples[-1][1] - self._samples[0][1] if self._samples else 0

    def rate(self, seconds: float) -> float:
        """Growth per second over the last ``seconds``, as far as there are samples."""
        samples = self._samples
        if len(samples) < 2:
            return 0.0
        now, total = samples[-1]
        base_time, base = samples[0]
        for when, value in reversed(samples):
            if when <= now - seconds:
                base_time, base = when, value
                break
        return (total - base) / (now - base_time) if now > base_time else 0.0
