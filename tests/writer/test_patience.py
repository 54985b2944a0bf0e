"""How long a store is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_collector.storage.objects import FaultKind, StoreFault
from quantlab_collector.writer.patience import LONGEST_RETRY_AFTER, OPERATOR_WAIT, Patience

PATIENCE = Patience(1.0, 60.0)
luck = st.floats(0, 1, exclude_max=True)
failures = st.integers(1, 10**6)


def test_transient_doubles_to_the_cap_and_is_spread():
    assert [PATIENCE.wait(StoreFault("x"), n, 1.0) for n in (1, 2, 3, 7, 8, 10**6)] == [1, 2, 4, 60, 60, 60]
    assert [PATIENCE.wait(StoreFault("x"), n, 0.0) for n in (1, 2, 3)] == [0.5, 1, 2]


@given(failures, luck)
def test_throttled_is_longer_than_transient(n, draw):
    throttled = PATIENCE.wait(StoreFault("x", FaultKind.THROTTLED), n, draw)
    assert throttled == 4 * PATIENCE.wait(StoreFault("x"), n, draw)


@given(st.sampled_from(FaultKind), failures, luck, st.floats(0, LONGEST_RETRY_AFTER))
def test_never_sooner_than_the_store_asked_for(kind, n, draw, retry_after):
    assert PATIENCE.wait(StoreFault("x", kind, retry_after), n, draw) >= retry_after


def test_a_store_cannot_ask_for_a_year():
    assert PATIENCE.wait(StoreFault("x", FaultKind.THROTTLED, 31e6), 1, 0.5) == LONGEST_RETRY_AFTER


@pytest.mark.parametrize("kind", [FaultKind.AUTH, FaultKind.CLOCK, FaultKind.CONFIG])
@given(n=failures, draw=luck, first=st.floats(0.01, 10))
def test_what_needs_a_person_is_asked_for_rarely(kind, n, draw, first):
    assert Patience(first, 60.0).wait(StoreFault("x", kind), n, draw) >= OPERATOR_WAIT
