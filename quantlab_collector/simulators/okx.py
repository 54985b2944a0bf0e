"""OKX perpetual swaps on loopback."""

from __future__ import annotations

import trio

from quantlab_collector.simulators.ledger import keep_flushed
from quantlab_collector.simulators.okx_connection import Doorkeeper
from quantlab_collector.simulators.okx_rest import OkxRest
from quantlab_collector.simulators.okx_simulator import OkxMix, OkxOptions, OkxSimulator
from quantlab_collector.simulators.rest_server import serve_rest
from quantlab_collector.simulators.sockets import serve_sockets

__all__ = ["OkxMix", "OkxOptions", "OkxSimulator", "serve_okx"]


async def serve_okx(options: OkxOptions, *, task_status: trio.TaskStatus[OkxSimulator] = trio.TASK_STATUS_IGNORED) -> None:
    """Be OKX until cancelled."""
    simulator = OkxSimulator(options)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(simulator.feed.run)
            talk = Doorkeeper(simulator).answer_request
            simulator.ws_url = await nursery.start(
                serve_sockets, talk, options.host, options.port, options.ssl_context, simulator.faults
            )
            rest = OkxRest(simulator.messages, simulator.feed, options.wall_clock)
            simulator.rest_url = await nursery.start(
                serve_rest, rest.answer, options.host, options.rest_port, simulator.faults.rest_door
            )
            nursery.start_soon(keep_flushed, simulator.ledger)
            task_status.started(simulator)
    finally:
        simulator.ledger.close()
