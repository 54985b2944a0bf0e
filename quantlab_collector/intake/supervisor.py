"""One nursery per exchange: contain what fails, wait, connect again.

The connections of an exchange are independent: each is looked after alone. A connection that fails never touches its siblings,
and an exchange that fails never touches the others. What is not a transport fault is a bug, and is let through.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import trio

from quantlab_collector.contracts.masking import mask_text
from quantlab_collector.exchanges.protocol import ConnectionPlan
from quantlab_collector.intake.backoff import Backoff, ConnectBudget, is_ban
from quantlab_collector.intake.connection import Connecting, Connection
from quantlab_collector.intake.options import AfterMaxAttempts, ReconnectOptions
from quantlab_collector.intake.transport import FaultKind, TransportFault
from quantlab_collector.runtime.lifecycle import UP, State
from quantlab_collector.runtime.notices import ConnectionEnded, WsDisconnect
from quantlab_collector.runtime.state import ConnectionState


async def run_exchange(plans: tuple[ConnectionPlan, ...], tools: Connecting, reconnect: ReconnectOptions) -> None:
    """Keep all connections of one exchange."""
    limits = tools.exchange.limits
    budget = ConnectBudget(limits.connects, limits.connects_period)
    with tools.outlet:
        async with trio.open_nursery() as nursery:
            if tools.alignment is not None:
                nursery.start_soon(tools.alignment.run, name=f"{tools.exchange.name}/alignment")
            for plan in plans:
                state = ConnectionState(
                    plan.exchange, plan.name, mask_text(plan.url), plan.topics, rhythms=tools.exchange.rhythms
                )
                tools.notices.state.connections.append(state)
                nursery.start_soon(_keep, plan, state, tools, reconnect, budget, name=f"{plan.exchange}/{plan.name}")


async def _keep(
    plan: ConnectionPlan, state: ConnectionState, tools: Connecting, reconnect: ReconnectOptions, budget: ConnectBudget
) -> None:
    """Keep one connection, for ever. One that is given up stays in ERROR, for everyone to see."""
    backoff = Backoff(reconnect, random.random)
    try:
        while True:
            while wait := budget.take(trio.current_time()):  # noqa: ASYNC110 - time decides, and bans that come meanwhile
                await trio.sleep(wait)
            connection = Connection(plan, state, tools)
            fault = TransportFault(FaultKind.CLOSED, "it ended by itself")
            try:
                await connection.run()
            except* TransportFault as faults:
                fault = next(_leaves(faults))
            if connection.flowed_for >= reconnect.stable_after:
                backoff.succeeded()
            wait = backoff.failed(fault)
            if is_ban(fault):
                budget.ban(trio.current_time() + wait)
            given_up = backoff.exhausted and reconnect.after_max_attempts is AfterMaxAttempts.STOP
            _note_loss(state, tools, fault, backoff, None if given_up else wait)
            await trio.sleep(math.inf if given_up else wait)
    finally:
        _note_end(state, tools, "stopped")
        if state.lifecycle.state is not State.STOPPED:
            state.lifecycle.move(State.STOPPED, tools.wall_ns(), "stopped")


def _note_loss(state: ConnectionState, tools: Connecting, fault: TransportFault, backoff: Backoff, wait: float | None) -> None:
    now = tools.wall_ns()
    if state.lifecycle.state in UP:
        state.reconnects += 1
    if state.lost_ns is None and state.last_frame_ns is not None:
        # What the exchange sent after this is missing; the gap is told when data flows again.
        state.lost_ns, state.lost_reason = state.last_frame_ns, str(fault)
    _note_end(state, tools, str(fault))
    state.attempts = backoff.attempts
    state.lifecycle.move(State.ERROR if backoff.exhausted else State.RECONNECTING, now, str(fault))
    tools.notices.tell(
        WsDisconnect(state.exchange, state.name, str(fault), backoff.attempts, None if wait is None else round(wait, 3))
    )


def _note_end(state: ConnectionState, tools: Connecting, reason: str) -> None:
    if state.lifecycle.state in UP:
        tools.notices.tell(ConnectionEnded(state, tools.wall_ns(), reason))


def _leaves(faults: BaseExceptionGroup[TransportFault]) -> Iterator[TransportFault]:
    """The faults themselves: a nursery may have gathered several."""
    for fault in faults.exceptions:
        if isinstance(fault, BaseExceptionGroup):
            yield from _leaves(fault)
        else:
            yield fault
