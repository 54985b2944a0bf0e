"""The quarter of an hour that the chart shows."""

from __future__ import annotations

from quantlab_collector.runtime.history import SPAN, STEP, History


def test_a_point_every_few_seconds_with_the_mean_between() -> None:
    history = History()
    for second in range(16):
        history.sample(float(second), {"bbo": 10 * second, "trade": second if second > 7 else 0})

    assert [(point.at, dict(point.rates)) for point in history.points()] == [
        (5.0, {"bbo": 10.0, "trade": 0.0}),
        (10.0, {"bbo": 10.0, "trade": 2.0}),
        (15.0, {"bbo": 10.0, "trade": 1.0}),
    ]


def test_a_stream_that_comes_later_began_at_zero() -> None:
    history = History()
    history.sample(0.0, {})
    history.sample(5.0, {"bbo": 50})

    assert dict(history.points()[0].rates) == {"bbo": 10.0}


def test_after_a_stall_there_is_one_point_with_the_mean_of_all_of_it() -> None:
    history = History()
    history.sample(0.0, {"bbo": 0})
    history.sample(100.0, {"bbo": 1000})

    assert [(point.at, dict(point.rates)) for point in history.points()] == [(100.0, {"bbo": 10.0})]


def test_what_is_older_is_forgotten() -> None:
    history = History()
    for second in range(4000):
        history.sample(float(second), {"bbo": second})

    points = history.points()
    assert len(points) == SPAN / STEP
    assert points[-1].at - points[0].at == SPAN - STEP
