"""OKX perpetual swaps on loopback."""

from __future__ import annotations

import trio

from quantlab_collector.simulators.okx_connection import Doorkeeper
from quantlab_collector.simulators.okx_rest import OkxRest
from quantlab_collector.simulators.okx_simulator import OkxOptions, OkxSimulator

__all__ = ["OkxOptions", "OkxSimulator", "serve_okx"]


async def serve_okx(  # noqa: ASYNC128 - the simulator says it
    options: OkxOptions,
    *,
    task_status: trio.TaskStatus[OkxSimulator] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be OKX until cancelled."""
    simulator = OkxSimulator(options)
    rest = OkxRest(simulator.messages, simulator.feed, options.wall_clock)
    await simulator.serve(Doorkeeper(simulator).answer_request, rest.answer, task_status=task_status)
