"""Symbols of which no trade has come: the exchange is asked over REST whether there were any.

A symbol may well trade once in hours, so that silence proves nothing; a trade that REST knows and the connection has not brought
does. What is learnt stands in RAM, beside what the alignment after a reconnect leaves there, and judges nothing by itself:
see ``runtime/freshness.py``.
"""

from __future__ import annotations

from typing import Final, NoReturn

import attrs
import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.contracts.units import Seconds
from quantlab_collector.exchanges.protocol import ConnectionPlan
from quantlab_collector.intake.alignment import Alignment
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.state import ConnectionState, ServiceState

LOOK_EVERY: Final = 60.0


async def ask_about_quiet_trades(
    plans: tuple[ConnectionPlan, ...], alignment: Alignment, state: ServiceState, after: Seconds
) -> NoReturn:
    """Ask of each such topic when its connection has been up for so long, and again each time that has passed."""
    asked: dict[Topic, float] = {}
    while True:
        await trio.sleep(min(LOOK_EVERY, after))
        now = trio.current_time()
        for plan in plans:
            connection = next((c for c in state.connections if (c.exchange, c.name) == (plan.exchange, plan.name)), None)
            if connection is None or connection.lifecycle.state is not State.ACTIVE:
                continue
            due = tuple(topic for topic in _quiet(connection) if now - asked.setdefault(topic, now) >= after)
            if due:
                alignment.ask(attrs.evolve(plan, topics=due), {})
                asked |= dict.fromkeys(due, now)


def _quiet(connection: ConnectionState) -> list[Topic]:
    """The topics of trades that have brought nothing on the present connection, and should."""
    seen = connection.seen.get(StreamType.TRADE, {})
    return [
        topic
        for topic in connection.topics
        if topic.stream is StreamType.TRADE and topic.symbol not in seen and str(topic) not in connection.refused
    ]
