"""What the proofs of the traps share: an intake in this process, and the oracle of what it owes."""

from __future__ import annotations

import copy
import json
from collections import Counter
from contextlib import asynccontextmanager, suppress

import attrs
import msgspec
import trio

from quantlab_collector.contracts.events import EVENT_CLASSES, StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.contracts.units import Seconds
from quantlab_collector.exchanges.protocol import Endpoints, Wanted
from quantlab_collector.intake import wire
from quantlab_collector.intake.alignment import Alignment
from quantlab_collector.intake.connection import Connecting
from quantlab_collector.intake.options import IntakeOptions, ReconnectOptions
from quantlab_collector.intake.outlet import Outlet, open_queue
from quantlab_collector.intake.rest import RestClient
from quantlab_collector.intake.supervisor import run_exchange
from quantlab_collector.intake.transport import WireOptions
from quantlab_collector.runtime.notices import Notices
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.simulators.binance_messages import BinanceMessages
from writer.workbench import Log

NOWHERE = Endpoints("ws://127.0.0.1:9", "http://127.0.0.1:9")
SOON = ReconnectOptions(first=Seconds(0.1), cap=Seconds(0.2))
"""Nobody wants to wait for the patience of a real back-off."""
STREAM_OF = {shape: stream for stream, shape in EVENT_CLASSES.items()}


def adapted(exchange, **changes):
    """The exchange with a shorter heartbeat, or other limits."""
    if attrs.has(type(exchange)):
        return attrs.evolve(exchange, **changes)
    other = copy.copy(exchange)
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def plans_of(exchange, symbols, *, streams=None, endpoints=NOWHERE):
    return exchange.plan(Wanted(tuple(symbols), tuple(streams or exchange.streams), endpoints))


def asking(plan, *requests):
    """The plan with other requests than its exchange made."""
    return attrs.evolve(plan, requests=tuple(json.dumps(request).encode() for request in requests))


# --------------------------------------------------------------------------------------------------------- what is recorded


class Recording:
    """An intake that runs, and all that came out of it."""

    def __init__(self, exchange, plans):
        self.exchange = exchange
        self.plans = plans
        self.state = ServiceState("a", "0", 0, 0.0, 1_000_000)
        self.log = Log()
        self.notices = Notices(self.state, self.log)
        self._send, self._queue = open_queue()
        self._events = []

    @property
    def outlet(self):
        return Outlet(self._send, self.notices)

    @property
    def events(self):
        """Everything so far, in the order in which it was received."""
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self._events += self._queue.receive_nowait().events
        return self._events

    def of(self, stream, symbol=None):
        return [e for e in self.events if STREAM_OF[type(e)] is stream and symbol in {None, e.symbol}]

    @property
    def topics(self):
        """What has brought at least one event."""
        return {Topic(event.exchange, STREAM_OF[type(event)], event.symbol) for event in self.events}

    @property
    def wanted(self):
        return {topic for plan in self.plans for topic in plan.topics}

    @property
    def connections(self):
        return {connection.name: connection for connection in self.state.connections}

    @property
    def refused(self):
        return {topic: text for connection in self.state.connections for topic, text in connection.refused.items()}

    @property
    def reconnects(self):
        return sum(connection.reconnects for connection in self.state.connections)

    @property
    def faults(self):
        return [line["fault"] for line in self.log.told("ws_disconnect")]

    @property
    def rejects(self):
        return [line["reason"] for line in self.log.told("frame_rejected")]


@asynccontextmanager
async def recording(exchange, plans, *, rest_url=None, idle=30.0, reconnect=SOON):
    """Record in this process; with ``rest_url`` also align after reconnects. It leaves politely, so what was sent is recorded."""
    running = Recording(exchange, plans)
    options = IntakeOptions(idle_timeout=Seconds(idle))
    tools = Connecting(exchange, options, WireOptions(), wire.open_wire, running.outlet, running.notices)
    async with trio.open_nursery() as intake:
        if rest_url is not None:
            client = await intake.start(hold_rest, exchange, rest_url)
            tools = attrs.evolve(tools, alignment=Alignment(exchange.rest, client, running.notices))
        intake.start_soon(run_exchange, plans, tools, reconnect)
        yield running
        intake.cancel_scope.cancel()


async def hold_rest(exchange, url, *, task_status):
    async with RestClient(url, exchange.rest.limits) as client:
        task_status.started(client)
        await trio.sleep_forever()


def harvest(exchange, symbols, *frames):
    """What one conversation makes of these frames."""
    return session_of(exchange, symbols).decode([f if isinstance(f, bytes) else f.encode() for f in frames], 77)


def session_of(exchange, symbols):
    plans = plans_of(exchange, symbols)
    everything = attrs.evolve(
        plans[0],
        topics=tuple(topic for plan in plans for topic in plan.topics),
        requests=tuple(request for plan in plans for request in plan.requests),
    )
    return exchange.session(everything)


# ------------------------------------------------------------------------------------------------------------- what is owed


def timeless(events):
    """The events with their number of occurrences, whenever they were received."""
    return Counter(msgspec.structs.replace(event, ts_recv=0) for event in events)


def sent(simulator, *, connection=None):
    """What the ledger of a simulator says was sent, as events."""
    found = Counter()
    for entry in simulator.ledger.entries(connection):
        streams = [entry.kind]
        if entry.kind is StreamType.MARK_PRICE and isinstance(simulator.messages, BinanceMessages):
            streams.append(StreamType.FUNDING)  # one message, two events
        found.update(simulator.messages.raw(stream, entry.symbol, entry.number, entry.exchange_ms) for stream in streams)
    return found
