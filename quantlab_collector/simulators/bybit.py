"""Bybit on loopback: linear perpetuals, or spot with ``market="spot"``."""

from __future__ import annotations

from functools import partial

import trio

from quantlab_collector.simulators.bybit_connection import answer_request
from quantlab_collector.simulators.bybit_rest import BybitRest
from quantlab_collector.simulators.bybit_simulator import BybitMix, BybitOptions, BybitSimulator
from quantlab_collector.simulators.ledger import keep_flushed
from quantlab_collector.simulators.rest_server import serve_rest
from quantlab_collector.simulators.sockets import serve_sockets

__all__ = ["BybitMix", "BybitOptions", "BybitSimulator", "serve_bybit"]


async def serve_bybit(options: BybitOptions, *, task_status: trio.TaskStatus[BybitSimulator] = trio.TASK_STATUS_IGNORED) -> None:
    """Be Bybit until cancelled."""
    simulator = BybitSimulator(options)
    faults = simulator.faults
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(simulator.feed.run)
            talk = partial(answer_request, simulator)
            simulator.ws_url = await nursery.start(serve_sockets, talk, options.host, options.port, options.ssl_context, faults)
            rest = BybitRest(simulator.messages, simulator.feed, options.market, options.wall_clock)
            simulator.rest_url = await nursery.start(serve_rest, rest.answer, options.host, options.rest_port, faults.rest_door)
            nursery.start_soon(keep_flushed, simulator.ledger)
            task_status.started(simulator)
    finally:
        simulator.ledger.close()
