"""Histograms of durations, and what the process measures with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_collector.contracts.events import Burst, StreamType, Trade
from quantlab_collector.runtime.histograms import Histogram
from quantlab_collector.runtime.latencies import LEAST_SPAN, Latencies

MS = 1_000_000
BOUNDS = (0.001, 0.01, 0.1)
TRADE = StreamType.TRADE


@given(st.lists(st.integers(-(10**9), 10**9)))
def test_every_duration_is_in_the_bucket_of_the_first_bound_that_it_keeps(durations: list[int]) -> None:
    histogram = Histogram(BOUNDS)
    for duration in durations:
        histogram.add(duration)

    view = histogram.view()
    for bound, reached in zip((*BOUNDS, float("inf")), view.cumulative, strict=True):
        assert reached == sum(duration <= bound * 1e9 for duration in durations)
    assert view.count == len(durations)
    assert view.sum == pytest.approx(sum(duration for duration in durations if duration > 0) / 1e9)
    assert histogram.least_ns == min(durations, default=None)


def test_a_quantile_is_a_bound() -> None:
    histogram = Histogram(BOUNDS)
    assert histogram.view().quantile(0.5) is None
    for duration in [1 * MS] * 50 + [2 * MS] * 49 + [10_000 * MS]:
        histogram.add(duration)

    view = histogram.view()
    assert [view.quantile(share) for share in (0.5, 0.51, 0.99, 1.0)] == [0.001, 0.01, 0.01, None]


def test_a_view_does_not_change() -> None:
    histogram = Histogram(BOUNDS)
    before = histogram.view()
    histogram.add(MS)

    assert before == Histogram(BOUNDS).view() != histogram.view()


# ------------------------------------------------------------------------------------------------------------ latencies


def burst(exchange: str, *transits_ms: float) -> Burst:
    events = [Trade(1000 * MS, 1000 * MS + round(ms * MS), exchange, "BTCUSDT", 1.0, 1.0, 1, "1") for ms in transits_ms]
    return Burst(exchange, TRADE, events)


def test_the_newest_of_a_burst_speaks_for_it() -> None:
    latencies = Latencies()
    latencies.received(burst("okx", 500, 40))
    latencies.received(burst("okx", 30))

    transit = latencies.view().transit["okx", TRADE]
    assert (transit.count, transit.sum) == (2, pytest.approx(0.070))


def test_who_tells_no_time_has_no_transit() -> None:
    latencies = Latencies()
    latencies.received(burst("binance-spot", 0))

    assert latencies.view().transit == latencies.view().least_transit == {}


def test_the_shortest_transit_is_forgotten_after_a_while() -> None:
    latencies = Latencies()
    latencies.turn(LEAST_SPAN)
    latencies.received(burst("okx", -5))
    latencies.received(burst("okx", 30))
    latencies.received(burst("bybit", 8))
    seen = []
    for minute in range(2, 5):
        latencies.turn(minute * LEAST_SPAN)
        latencies.turn(minute * LEAST_SPAN + 1)  # looks in between change nothing
        latencies.received(burst("okx", 40))
        seen.append(latencies.view().least_transit)

    assert seen == [{"okx": -0.005, "bybit": 0.008}, {"okx": 0.04}, {"okx": 0.04}]


def test_the_other_stages() -> None:
    latencies = Latencies()
    latencies.synced("okx", TRADE, 300 * MS)
    latencies.synced("okx", TRADE, 100 * MS)
    latencies.committed(61_000 * MS)
    latencies.woke_late(2 * MS)

    view = latencies.view()
    assert view.to_sync["okx", TRADE].sum == pytest.approx(0.4)
    assert (view.to_commit.quantile(1), view.loop_lag.quantile(1)) == (75.0, 0.0025)
