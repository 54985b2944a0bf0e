"""One connection, from connect to close: subscribe, read, heartbeat, watch for idleness.

It ends by a fault, or by being cancelled. When it is cancelled it leaves politely: it sends its close frame and goes on
recording until the exchange has answered it, so that everything the exchange had sent by then is recorded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import suppress

import attrs
import trio

from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.protocol import (
    ConnectionPlan,
    Exchange,
    Harvest,
    Heartbeat,
    Hole,
    Notice,
    Outcome,
    Pong,
    Refused,
    Repeat,
    Session,
    Subscribed,
    Unknown,
)
from quantlab_collector.intake.alignment import Alignment
from quantlab_collector.intake.options import IntakeOptions
from quantlab_collector.intake.outlet import Outlet
from quantlab_collector.intake.raw_tap import RawTap
from quantlab_collector.intake.transport import FaultKind, OpenWire, TransportFault, Wire, WireOptions
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.notices import (
    MISSING,
    MISSING_ACROSS,
    ExchangeNotice,
    FrameRejected,
    GapDetected,
    Notices,
    NumberRepeated,
    SubscribeRefused,
    UnknownMessage,
    WsConnect,
)
from quantlab_collector.runtime.state import ConnectionState, last_seen

MAX_REFUSED = 1_000
"""The exchange chooses what it refuses; more than this is not kept for showing."""
LEAVE_LIMIT = 1.0
"""Seconds for the exchange to answer our close frame."""


@attrs.frozen(eq=False)
class Connecting:
    """What every connection of an exchange is made with."""

    exchange: Exchange
    options: IntakeOptions
    wire_options: WireOptions
    open_wire: OpenWire
    outlet: Outlet
    notices: Notices
    alignment: Alignment | None = None
    raw_tap: RawTap | None = None

    def wall_ns(self) -> int:
        """The time, on the clock of the wires."""
        return self.wire_options.wall_ns()


class AnnouncedEnd(TransportFault):
    """The exchange is about to close. We go first, politely, and come back at once: nobody's failure."""


class Connection:
    """One socket's life."""

    def __init__(self, plan: ConnectionPlan, state: ConnectionState, tools: Connecting) -> None:
        self._plan = plan
        self._state = state
        self._tools = tools
        self._session: Session = tools.exchange.session(plan)
        self._trades = tools.notices.state.trades
        self._socket = plan.name
        """What the frames of this one socket are marked with."""
        self._to_say = deque(plan.requests)
        self._something_to_say = trio.Event()
        self._last_message = self._last_data = 0.0
        self.flowed_for = 0.0
        """Seconds from the first data to the last."""
        self._first_data: float | None = None
        self._leaving = False
        self._seen_before: Mapping[Topic, int] = {}
        """What the connections before this one had last received, by topic."""

    async def run(self) -> None:
        """Run until a ``TransportFault``."""
        tools, state = self._tools, self._state
        state.lifecycle.move(State.CONNECTING, tools.wall_ns())
        async with tools.open_wire(self._plan.url, tools.wire_options) as wire:
            now = tools.wall_ns()
            state.lifecycle.move(State.CONNECTED, now)
            state.connects += 1
            self._socket = f"{self._plan.name}#{state.connects}"
            state.connected_ns = now
            self._seen_before = state.seen_before = {**state.seen_before, **last_seen(state)}
            state.seen = self._session.seen
            self._session.next_numbers.update(state.next_numbers)
            state.next_numbers = self._session.next_numbers
            tools.notices.tell(WsConnect(self._plan.exchange, self._plan.name, state.url, len(self._plan.topics)))
            self._last_message = self._last_data = trio.current_time()
            state.lifecycle.move(State.SUBSCRIBING, now)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._speak, wire)
                    nursery.start_soon(self._watch_idleness)
                    if tools.exchange.heartbeat is not None:
                        nursery.start_soon(self._beat, wire, tools.exchange.heartbeat)
                    while True:
                        self._take(await wire.receive(), wire.ts_recv)
            except* (trio.Cancelled, AnnouncedEnd):
                with trio.move_on_after(LEAVE_LIMIT, shield=True):
                    await self._leave(wire)
                raise

    # ---------------------------------------------------------------------------------------------------------- tasks

    async def _speak(self, wire: Wire) -> None:
        """Subscribe, then say what the session wants to say, never faster than the exchange allows."""
        while True:
            while self._to_say:
                await wire.send(self._to_say.popleft())
                await trio.sleep(self._tools.exchange.limits.request_gap)
            self._something_to_say = trio.Event()
            await self._something_to_say.wait()

    async def _beat(self, wire: Wire, heartbeat: Heartbeat) -> None:
        due = trio.current_time() + heartbeat.interval
        while True:
            await trio.sleep_until(due)
            if heartbeat.when_quiet:
                due = self._last_message + heartbeat.interval
                if trio.current_time() < due:
                    continue
            await wire.send(heartbeat.message)
            due = trio.current_time() + heartbeat.interval

    async def _watch_idleness(self) -> None:
        limit = self._tools.options.idle_timeout
        while True:
            quiet = trio.current_time() - self._last_data
            if quiet >= limit:
                raise TransportFault(FaultKind.IDLE, f"no data for {quiet:.0f} s")
            await trio.sleep(limit - quiet)

    async def _leave(self, wire: Wire) -> None:  # noqa: ASYNC910 - start_close() or receive() is a checkpoint
        """Say good-bye, and record what is still on its way to us."""
        self._leaving = True
        with suppress(TransportFault):
            await wire.start_close(1000, "")
            while True:
                self._take(await wire.receive(), wire.ts_recv)

    # ---------------------------------------------------------------------------------------------------------- frames

    def _take(self, messages: list[bytes], ts_recv: int) -> None:
        """What one read brought: to events, to the queue, to the log. No waiting here."""
        if not messages:
            return
        self._last_message = trio.current_time()
        tools, state = self._tools, self._state
        harvest = self._session.decode(messages, ts_recv)
        state.frames += len(messages)
        state.received_bytes += sum(map(len, messages))
        if tools.raw_tap is not None:
            tools.raw_tap.offer(self._plan.exchange, self._socket, ts_recv, messages, harvest.trade)
        if harvest.trade and self._trades is not None:
            self._trades.add(harvest.trade)
        bursts = harvest.bursts(self._plan.exchange)
        if bursts:
            self._last_data = self._last_message
            self._data_flows(ts_recv)
            tools.outlet.offer(bursts)
        if harvest.replies:
            self._to_say.extend(harvest.replies)
            self._something_to_say.set()
        if harvest.rejects or harvest.outcomes:
            self._tell(harvest)

    def _data_flows(self, ts_recv: int) -> None:
        state = self._state
        if state.lifecycle.state is State.SUBSCRIBING:
            state.lifecycle.move(State.ACTIVE, ts_recv)
        if self._first_data is None:
            self._first_data = self._last_data
            if state.lost_ns is not None:
                lost, state.lost_ns = state.lost_ns, None
                if self._tools.alignment is not None:
                    self._tools.alignment.ask(self._plan, self._seen_before)
                self._tools.notices.tell(
                    GapDetected(
                        self._plan.exchange, self._plan.name, lost, ts_recv, round((ts_recv - lost) / 1e9, 3), state.lost_reason
                    )
                )
        self.flowed_for = self._last_data - self._first_data
        state.last_frame_ns = ts_recv

    def _tell(self, harvest: Harvest) -> None:
        tell, exchange = self._tools.notices.tell, self._plan.exchange
        for reject in harvest.rejects:
            tell(FrameRejected(exchange, reject.stream, reject.reason, reject.frame))
        for outcome in harvest.outcomes:
            self._hear(outcome)

    def _hear(self, outcome: Outcome) -> None:
        tell, exchange, name = self._tools.notices.tell, self._plan.exchange, self._plan.name
        match outcome:
            case Refused(topic, code, text):
                if len(self._state.refused) < MAX_REFUSED:
                    self._state.refused[topic or "a request"] = text
                tell(SubscribeRefused(exchange, name, topic, code, text))
            case Notice(kind, text, reconnect):
                tell(ExchangeNotice(exchange, name, kind, text))
                if reconnect and not self._leaving:
                    raise AnnouncedEnd(FaultKind.ANNOUNCED, kind)
            case Unknown(kind):
                tell(UnknownMessage(exchange, kind))
            case Hole():
                tell(self._gap(outcome))
            case Repeat(stream, symbol, number):
                tell(NumberRepeated(exchange, name, stream.value, symbol, number))
            case Subscribed() | Pong():
                pass

    def _gap(self, hole: Hole) -> GapDetected:
        """Numbers were left out: in the flow, or across an outage, which is a gap of its own already."""
        plan, across = self._plan, hole.since is None
        before = hole.since or self._seen_before.get(Topic(plan.exchange, hole.stream, hole.symbol), hole.to)
        return GapDetected(
            exchange=plan.exchange,
            connection=plan.name,
            since=before,
            to=hole.to,
            seconds=round((hole.to - before) / 1e9, 3),
            reason=MISSING_ACROSS if across else MISSING,
            stream=hole.stream.value,
            symbol=hole.symbol,
            missed=hole.missed,
        )
