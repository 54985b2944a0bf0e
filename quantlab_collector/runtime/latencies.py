"""How long events are under way, stage by stage, and whether the loop that carries them is late.

Each stage looks at one event of what it handles at once: the newest of a burst, the oldest of a batch, the oldest of a segment.
So no event pays for being measured, and from the journal on the figures are the worst of each batch, not the mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs

from quantlab_collector.contracts.events import Burst, StreamType
from quantlab_collector.runtime.histograms import Distribution, Histogram

Place: TypeAlias = tuple[str, StreamType]
"""An exchange and a stream."""

TRANSIT_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SYNC_BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.2, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0)
COMMIT_BOUNDS: Final = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 75.0, 90.0, 120.0, 300.0, 600.0, 900.0, 960.0, 3600.0)
LOOP_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

LEAST_SPAN: Final = 60.0
"""Seconds for which the shortest transit is remembered, at least; at most twice as long."""


@attrs.frozen
class LatencyView:
    """All of it at one instant."""

    transit: Mapping[Place, Distribution]
    least_transit: Mapping[str, float]
    """By exchange, seconds. Below zero our clock is behind, by at least so much; far above, ours is ahead or the line is slow."""
    to_sync: Mapping[Place, Distribution]
    to_commit: Distribution
    loop_lag: Distribution


class Latencies:
    """Measured since the process started."""

    def __init__(self) -> None:
        self._transit: dict[Place, Histogram] = {}
        self._to_sync: dict[Place, Histogram] = {}
        self._to_commit = Histogram(COMMIT_BOUNDS)
        self._loop_lag = Histogram(LOOP_BOUNDS)
        self._least_before: dict[str, int] = {}
        self._turned = 0.0

    def received(self, burst: Burst) -> None:
        """A burst came from the wire: how old its newest event was by the exchange's clock."""
        event = burst.events[-1]
        transit_ns = event.ts_recv - event.ts_event
        if not transit_ns:
            return  # an event without a time of the exchange has ours for both
        key = (burst.exchange, burst.stream)
        histogram = self._transit.get(key)
        if histogram is None:
            histogram = self._transit[key] = Histogram(TRANSIT_BOUNDS)
        histogram.add(transit_ns)

    def synced(self, exchange: str, stream: StreamType, waited_ns: int) -> None:
        """A batch is safe on the local disk: how long its oldest event was in memory only."""
        key = (exchange, stream)
        if key not in self._to_sync:
            self._to_sync[key] = Histogram(SYNC_BOUNDS)
        self._to_sync[key].add(waited_ns)

    def committed(self, waited_ns: int) -> None:
        """A segment is in the store with its manifest: how long its oldest event was on its way there."""
        self._to_commit.add(waited_ns)

    def woke_late(self, lag_ns: int) -> None:
        """The loop came back to a task that was due: how long after."""
        self._loop_lag.add(lag_ns)

    def turn(self, now: float) -> None:
        """Forget the shortest transit of the minute before the last one; called about once a second."""
        if now - self._turned >= LEAST_SPAN:
            self._turned = now
            self._least_before = self._least()
            for histogram in self._transit.values():
                histogram.least_ns = None

    def view(self) -> LatencyView:
        """A copy that does not change any more."""
        least, before = self._least(), self._least_before
        return LatencyView(
            transit=_views(self._transit),
            least_transit={
                exchange: min(of[exchange] for of in (least, before) if exchange in of) / 1e9 for exchange in least | before
            },
            to_sync=_views(self._to_sync),
            to_commit=self._to_commit.view(),
            loop_lag=self._loop_lag.view(),
        )

    def _least(self) -> dict[str, int]:
        """By exchange, since the last turn."""
        least: dict[str, int] = {}
        for (exchange, _), histogram in self._transit.items():
            if histogram.least_ns is not None:
                least[exchange] = min(histogram.least_ns, least.get(exchange, histogram.least_ns))
        return least


def _views(histograms: Mapping[Place, Histogram]) -> dict[Place, Distribution]:
    return {place: histogram.view() for place, histogram in histograms.items()}
