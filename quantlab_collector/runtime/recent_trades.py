"""The newest trades of each symbol, for looking at. The recording does not know of this.

Each trade is looked at when it comes, while the processor still has it at hand. To put the lists aside and take them apart once a
second cost five times as much, and stopped everything else meanwhile.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

from quantlab_collector.contracts.events import Trade

PER_SYMBOL: Final = 200
IN_TOTAL: Final = 2_000
"""So many stay in the processor's cache. Of ten thousand, each one that has to go would be fetched from memory first, which takes
longer than all else that is done with it."""
SPAN_NS: Final = 3600 * 1_000_000_000
SYMBOLS: Final = 2_000
"""An exchange says what a symbol is called; more than this are not kept."""


class RecentTrades:
    """A ring for each symbol, all exchanges together. With many symbols each gets an equal share of the room that there is."""

    def __init__(self) -> None:
        self._rings: dict[str, deque[Trade]] = {}
        self._share = PER_SYMBOL

    def add(self, trades: Iterable[Any]) -> None:
        """Take trades as they come."""
        rings = self._rings
        for trade in trades:
            try:
                rings[trade.symbol].append(trade)
            except KeyError:
                self._open(trade)

    def _open(self, trade: Trade) -> None:
        rings = self._rings
        if len(rings) >= SYMBOLS:
            return
        rings[trade.symbol] = deque([trade], self._share)
        share = min(PER_SYMBOL, IN_TOTAL // len(rings))
        if share < self._share:
            self._share = share
            for symbol, ring in rings.items():
                rings[symbol] = deque(ring, share)

    def newest(self, now_ns: int, limit: int, *, symbol: str | None = None, exchange: str | None = None) -> list[Trade]:
        """The newest first, by the time at which they were received; none that is older than an hour."""
        oldest = now_ns - SPAN_NS
        chosen = (reversed(ring) for name, ring in self._rings.items() if symbol in (None, name))
        merged = heapq.merge(*chosen, key=lambda trade: trade.ts_recv, reverse=True)
        wanted = (trade for trade in merged if trade.ts_recv >= oldest and exchange in (None, trade.exchange))
        return list(islice(wanted, limit))
