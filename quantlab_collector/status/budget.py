"""How much of the loop's time the window may have. The recording lives in the same loop, and comes first.

A request costs about a millisecond, and one of a large list more. Whoever asks as fast as he can would take the whole loop; so
requests form a line, and the next one is let through when the one before it is paid for. New connections form another line, so
that neither kind keeps the other waiting.
"""

from __future__ import annotations

import math
from typing import Final

import trio

SHARE: Final = 0.1
"""Of the time of the loop, over more than a moment; for each of the two lines."""

REQUEST_COST: Final = 0.001
"""Seconds of reading a request and writing an answer, which nobody measures; making the answer is measured and added."""

CONNECTION_COST: Final = 0.0003
"""Seconds of a connection that is opened, and of nonsense that never becomes a request."""

SAVINGS: Final = 0.05
"""Seconds of work that may come at once after a rest: a page that asks for a dozen things does not wait."""


class Budget:
    """One line, all clients together."""

    def __init__(self) -> None:
        self._line = trio.Lock()
        self._paid_at = -math.inf
        """When what was spent so far will have been saved up."""

    async def wait_turn(self, cost: float) -> None:
        """Until it may be worked on; at once, where nothing is in the way. Who leaves the line early has not paid."""
        if self._line.locked() or trio.current_time() < self._turn:
            async with self._line:
                await trio.sleep_until(self._turn)
                self.spend(cost)
        else:
            self.spend(cost)

    @property
    def _turn(self) -> float:
        return self._paid_at - SAVINGS / SHARE

    def spend(self, seconds: float) -> None:
        """So much of the loop's time was taken."""
        self._paid_at = max(self._paid_at, trio.current_time()) + seconds / SHARE
