"""Rolling windows over totals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_collector.runtime.windows import Window


def test_an_empty_window_says_zero() -> None:
    window = Window()

    assert (window.change(), window.rate(10)) == (0, 0.0)


def test_one_sample_is_no_change() -> None:
    """What was before the first look is not of this window."""
    window = Window()
    window.sample(0.0, 1000)

    assert (window.change(), window.rate(10)) == (0, 0.0)


def test_a_change_is_seen_for_the_whole_span_and_then_no_more() -> None:
    window = Window(900)
    seen = {}
    for second in range(1000):
        window.sample(float(second), 5 if second >= 50 else 0)
        seen[second] = window.change()

    assert seen[49] == 0
    assert {seen[second] for second in range(50, 950)} == {5}
    assert seen[950] == 0


def test_a_gap_between_samples_hides_nothing() -> None:
    """When the process was asleep for an hour, all that came meanwhile may be of the last minutes."""
    window = Window(900)
    window.sample(0.0, 0)
    window.sample(3600.0, 7)

    assert window.change() == 7


def test_the_rate_is_the_mean_of_the_last_seconds() -> None:
    window = Window(11)
    for second in range(31):
        window.sample(float(second), 100 * min(second, 25))

    assert window.rate(10) == 50.0
    assert window.rate(5) == 0.0


def test_the_rate_before_the_seconds_are_full() -> None:
    window = Window(11)
    window.sample(0.0, 0)
    window.sample(2.0, 30)

    assert window.rate(10) == 15.0


def test_two_samples_at_the_same_time_have_no_rate() -> None:
    window = Window()
    window.sample(1.0, 0)
    window.sample(1.0, 5)

    assert window.rate(10) == 0.0
    assert window.change() == 5


def test_memory_is_bounded() -> None:
    window = Window(900)
    for second in range(10_000):
        window.sample(float(second), second)

    assert len(window._samples) <= 902


@settings(database=None, max_examples=100)
@given(
    steps=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 10)), min_size=1, max_size=60),
    span=st.integers(1, 300),
)
def test_against_the_plain_definition(steps: list[tuple[int, int]], span: int) -> None:
    """The change since the newest sample that is a whole span old, or since the first."""
    window, now, total, samples = Window(span), 0, 0, []
    for step, growth in steps:
        now, total = now + step, total + growth
        window.sample(now, total)
        samples.append((now, total))
        old = [value for when, value in samples if when <= now - span]
        assert window.change() == total - (old[-1] if old else samples[0][1])
        assert window.rate(span) == pytest.approx(_rate(samples, span))


def _rate(samples: list[tuple[int, int]], seconds: float) -> float:
    now, total = samples[-1]
    old = [sample for sample in samples if sample[0] <= now - seconds]
    base_time, base = old[-1] if old else samples[0]
    return (total - base) / (now - base_time) if now > base_time else 0.0
