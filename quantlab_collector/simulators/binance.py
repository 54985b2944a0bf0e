"""Binance on loopback: USD-M futures, or spot with ``venue=SPOT``."""

from __future__ import annotations

from functools import partial

import trio

from quantlab_collector.simulators.binance_connection import answer_request
from quantlab_collector.simulators.binance_simulator import DEFAULT_SYMBOLS, BinanceOptions, BinanceSimulator, ConnectionInfo
from quantlab_collector.simulators.binance_venue import SPOT, USDM, Venue
from quantlab_collector.simulators.ledger import keep_flushed
from quantlab_collector.simulators.rest_server import serve_rest
from quantlab_collector.simulators.sockets import serve_sockets

__all__ = ["DEFAULT_SYMBOLS", "SPOT", "USDM", "BinanceOptions", "BinanceSimulator", "ConnectionInfo", "Venue", "serve_binance"]


async def serve_binance(
    options: BinanceOptions, *, task_status: trio.TaskStatus[BinanceSimulator] = trio.TASK_STATUS_IGNORED
) -> None:
    """Be Binance until cancelled."""
    simulator = BinanceSimulator(options)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(simulator.feed.run)
            talk = partial(answer_request, simulator)
            faults = simulator.faults
            simulator.ws_url = await nursery.start(serve_sockets, talk, options.host, options.port, options.ssl_context, faults)
            rest = options.venue.rest(simulator.market, simulator.feed, options.dead_symbols, options.wall_clock)
            simulator.rest_url = await nursery.start(serve_rest, rest.answer, options.host, options.rest_port, faults.rest_door)
            nursery.start_soon(keep_flushed, simulator.ledger)
            task_status.started(simulator)
    finally:
        simulator.ledger.close()
