"""Bybit on loopback: linear perpetuals, or spot with ``market="spot"``."""

from __future__ import annotations

from functools import partial

import trio

from quantlab_collector.simulators.bybit_connection import answer_request
from quantlab_collector.simulators.bybit_rest import BybitRest
from quantlab_collector.simulators.bybit_simulator import BybitOptions, BybitSimulator

__all__ = ["BybitOptions", "BybitSimulator", "serve_bybit"]


async def serve_bybit(  # noqa: ASYNC128 - the simulator says it
    options: BybitOptions,
    *,
    task_status: trio.TaskStatus[BybitSimulator] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be Bybit until cancelled."""
    simulator = BybitSimulator(options)
    rest = BybitRest(simulator.messages, simulator.feed, options.market, options.wall_clock)
    await simulator.serve(partial(answer_request, simulator), rest.answer, task_status=task_status)
