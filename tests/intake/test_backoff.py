import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_collector.contracts.units import Seconds
from quantlab_collector.intake.backoff import Backoff, ConnectBudget
from quantlab_collector.intake.options import ReconnectOptions
from quantlab_collector.intake.transport import FaultKind, TransportFault

OPTIONS = ReconnectOptions(first=Seconds(1.0), cap=Seconds(30.0), max_attempts=10)
LOST = TransportFault(FaultKind.CLOSED, close_code=1006)


def test_it_doubles_to_the_cap_and_starts_again_after_success():
    backoff = Backoff(OPTIONS, lambda: 1.0)
    assert [backoff.failed(LOST) for _ in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert not backoff.exhausted
    backoff.failed(LOST)
    backoff.failed(LOST)
    assert backoff.exhausted
    backoff.succeeded()
    assert not backoff.exhausted
    assert backoff.failed(LOST) == 1


@given(chance=st.floats(0, 1, exclude_max=True), failures=st.integers(1, 5000))
def test_chance_takes_away_half_at_most(chance, failures):
    backoff = Backoff(OPTIONS, lambda: chance)
    for attempt in range(min(failures, 40)):
        longest = min(2.0**attempt, 30.0)
        assert longest / 2 <= backoff.failed(LOST) <= longest
    backoff.attempts = failures
    assert 15 <= backoff.failed(LOST) <= 30 or failures < 5


@pytest.mark.parametrize(
    ("fault", "least"),
    [
        (TransportFault(FaultKind.REFUSED, status=429, retry_after=77.0), 77.0),
        (TransportFault(FaultKind.REFUSED, status=418, retry_after=500.0), 500.0),
        (TransportFault(FaultKind.REFUSED, status=418), 120.0),
        (TransportFault(FaultKind.REFUSED, status=429), 30.0),
        (TransportFault(FaultKind.CLOSED, close_code=1008), 30.0),
        (TransportFault(FaultKind.REFUSED, status=503), 0.5),
        (TransportFault(FaultKind.CLOSED, close_code=1001), 0.5),
    ],
)
def test_an_exchange_that_asks_for_patience_gets_it(fault, least):
    assert Backoff(OPTIONS, lambda: 0.0).failed(fault) == least


@given(
    limit=st.integers(1, 5),
    steps=st.lists(st.floats(0, 20), min_size=1, max_size=60),
)
def test_the_budget_is_never_exceeded(limit, steps):
    budget, now, starts = ConnectBudget(limit, 10.0), 100.0, []
    for step in steps:
        now += step
        while wait := budget.take(now):
            assert 0 < wait <= 10.001
            now += wait
        starts.append(now)
    for first, later in zip(starts, starts[limit:], strict=False):
        assert later - first >= 10.0 - 1e-6


def test_within_the_budget_nobody_waits():
    budget = ConnectBudget(3, 10.0)
    assert [budget.take(0.0) for _ in range(3)] == [0, 0, 0]
    assert budget.take(1.0) == 9.0
    assert budget.take(10.5) == 0.0


def test_a_ban_is_for_everyone():
    budget = ConnectBudget(3, 10.0)
    budget.ban(120.0)
    budget.ban(60.0)
    assert budget.take(100.0) == 20.0
    assert budget.take(120.0) == 0.0
