"""Binance on loopback: USD-M futures, or spot with ``venue=SPOT``."""

from __future__ import annotations

from functools import partial

import trio

from quantlab_collector.simulators.binance_connection import answer_request
from quantlab_collector.simulators.binance_simulator import BinanceOptions, BinanceSimulator
from quantlab_collector.simulators.binance_venue import SPOT, USDM, Venue

__all__ = ["SPOT", "USDM", "BinanceOptions", "BinanceSimulator", "Venue", "serve_binance"]


async def serve_binance(  # noqa: ASYNC128 - the simulator says it
    options: BinanceOptions,
    *,
    task_status: trio.TaskStatus[BinanceSimulator] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be Binance until cancelled."""
    simulator = BinanceSimulator(options)
    rest = options.venue.rest(simulator.market, simulator.feed, options.dead_symbols, options.wall_clock)
    await simulator.serve(partial(answer_request, simulator), rest.answer, task_status=task_status)
