"""What the window may have of the loop's time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from quantlab_collector.status.budget import REQUEST_COST, SAVINGS, SHARE, Budget


async def test_what_comes_now_and_then_does_not_wait(autojump_clock: MockClock) -> None:
    budget = Budget()
    for _ in range(100):
        began = trio.current_time()
        for _ in range(10):
            await budget.wait_turn(REQUEST_COST)
        assert trio.current_time() == began
        await trio.sleep(1)


@pytest.mark.parametrize("making", [0.0, 0.004])
async def test_a_flood_gets_its_share_and_no_more(making: float, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    budget, served = Budget(), 0

    async def ask() -> None:
        nonlocal served
        while True:
            await budget.wait_turn(REQUEST_COST)
            budget.spend(making)
            served += 1

    for _ in range(64):
        nursery.start_soon(ask)
    await trio.sleep(100)

    allowed = 100 * SHARE + SAVINGS
    assert served * (REQUEST_COST + making) == pytest.approx(allowed, rel=0.01)


async def test_the_line_is_in_order_and_who_leaves_it_has_not_paid(mock_clock: MockClock, nursery: trio.Nursery) -> None:
    budget, turns = Budget(), []

    async def ask(number: int, patience: float = 1000) -> None:
        with trio.move_on_after(patience):
            await budget.wait_turn(REQUEST_COST)
            turns.append((number, round(trio.current_time(), 6)))

    budget.spend(SAVINGS + SHARE)  # for one second there is nothing to spend
    for number in range(4):
        nursery.start_soon(ask, number, 0.5 if number in {1, 2} else 1000)
        await wait_all_tasks_blocked()
    for _ in range(200):
        mock_clock.jump(0.01)
        await wait_all_tasks_blocked()

    assert turns == [(0, 1.0), (3, 1.01)]
