"""A stall of the loop is measured."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from quantlab_collector.runtime.latencies import Latencies
from quantlab_collector.status.loop_lag import SLEEP, run_loop_lag


async def test_a_loop_in_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    latencies = Latencies()
    nursery.start_soon(run_loop_lag, latencies)
    await trio.sleep(10.01)

    lag = latencies.view().loop_lag
    assert (lag.count, lag.quantile(1.0)) == (100, lag.bounds[0])


@pytest.mark.parametrize("stall", [1.0, 5.0])
async def test_a_stall_shows_to_the_length_of_a_nap(stall: float, mock_clock: MockClock, nursery: trio.Nursery) -> None:
    """While somebody computes, no timer is looked at: to a sleeper the time jumps."""
    latencies = Latencies()
    nursery.start_soon(run_loop_lag, latencies)
    await wait_all_tasks_blocked()
    mock_clock.jump(stall)
    await wait_all_tasks_blocked()

    lag = latencies.view().loop_lag
    assert (lag.count, lag.sum) == (1, pytest.approx(stall - SLEEP))
