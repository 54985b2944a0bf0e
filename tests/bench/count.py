"""Receivers that only count frames: what is left when the collector is taken away from the wire.

    python count.py wire wss://localhost:4321 10 ca.pem

They subscribe as the collector does, count until a SIGTERM, and print what they counted.
"""

from __future__ import annotations

import signal
import ssl
import sys

import attrs
import trio
import trio_websocket
from mix import symbol_names

from quantlab_collector.exchanges.protocol import ConnectionPlan, Endpoints, Wanted
from quantlab_collector.exchanges.registry import EXCHANGES
from quantlab_collector.intake import wire, wire_trio_websocket
from quantlab_collector.intake.transport import OpenWire, WireOptions

BINANCE = EXCHANGES["binance"]


@attrs.define
class Tally:
    frames: int = 0


async def over_wire(open_wire: OpenWire, plan: ConnectionPlan, tls: ssl.SSLContext | None, tally: Tally) -> None:
    """One of the collector's wires."""
    async with open_wire(plan.url, WireOptions(tls=tls)) as connection:
        for request in plan.requests:
            await connection.send(request)
        while True:
            messages = await connection.receive()  # in a line of its own: += reads the old value before it waits
            tally.frames += len(messages)


async def over_default_wire(plan: ConnectionPlan, tls: ssl.SSLContext | None, tally: Tally) -> None:
    await over_wire(wire.open_wire, plan, tls, tally)


async def over_tuned_library(plan: ConnectionPlan, tls: ssl.SSLContext | None, tally: Tally) -> None:
    """The library with the collector's settings: larger reads, a longer queue."""
    await over_wire(wire_trio_websocket.open_wire, plan, tls, tally)


async def over_library(plan: ConnectionPlan, tls: ssl.SSLContext | None, tally: Tally) -> None:
    """trio-websocket as it comes."""
    async with trio_websocket.open_websocket_url(plan.url, tls) as connection:
        for request in plan.requests:
            await connection.send_message(request.decode())
        while True:
            await connection.get_message()
            tally.frames += 1


KINDS = {"wire": over_default_wire, "trio-websocket": over_library, "trio-websocket-tuned": over_tuned_library}


async def main(kind: str, url: str, symbols: str, ca_file: str) -> None:
    plans = BINANCE.plan(Wanted(symbol_names(int(symbols)), BINANCE.streams, Endpoints(url, "")))
    tls = ssl.create_default_context(cafile=ca_file) if url.startswith("wss:") else None
    tally = Tally()
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            for plan in plans:
                nursery.start_soon(KINDS[kind], plan, tls, tally)
            await anext(signals)
            nursery.cancel_scope.cancel()
    print(tally.frames)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
