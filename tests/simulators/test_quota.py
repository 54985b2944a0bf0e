"""So many in a time, and no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quantlab_collector.simulators.quota import Quota

steps = st.lists(st.integers(0, 4), max_size=60)


@given(steps, st.integers(1, 5), st.integers(1, 10))
def test_no_window_holds_more_than_the_limit_and_nobody_is_refused_before(waits, limit, period):
    quota, now, admitted = Quota(limit, period), 0, []
    for wait in waits:
        now += wait
        recent = sum(1 for at in admitted if now - at < period)
        assert quota.admits(now) == (recent < limit)
        if recent < limit:
            admitted.append(now)
