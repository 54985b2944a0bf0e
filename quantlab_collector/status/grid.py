"""Exchange × symbol × stream: how fresh each topic is, in a form that stays small for thousands of topics.

A cell is a number, the milliseconds since something came, or a word where nothing did on the present connection.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.lifecycle import UP
from quantlab_collector.runtime.state import ConnectionView, Snapshot
from quantlab_collector.status.views import REFUSED, Json, topic_state

Cell: TypeAlias = int | str

WAITING: Final = "waiting"
"""Nothing yet, which is no wonder so far."""
NOTHING: Final = "nothing"
"""Nothing, for longer than this stream is ever quiet."""
DOWN: Final = "down"
"""The connection is not open."""

PATIENCE_NS: Final = 45 * 1_000_000_000
PATIENCE_WITH_TRADES_NS: Final = 900 * 1_000_000_000
"""A symbol that nobody trades is quiet with good reason."""


def grid(snapshot: Snapshot) -> list[Json]:
    """One table for each exchange: symbols as rows, streams as columns, and ``null`` where nothing is wanted."""
    now_ns = snapshot.started_ns + int(snapshot.uptime * 1e9)
    by_exchange: dict[str, dict[str, dict[StreamType, Cell]]] = {}
    for connection in snapshot.connections:
        for topic in connection.topics:
            row = by_exchange.setdefault(topic.exchange, {}).setdefault(topic.symbol, {})
            row[topic.stream] = cell(connection, topic, now_ns)
    tables = []
    for exchange, rows in sorted(by_exchange.items()):
        streams = [stream for stream in StreamType if any(stream in row for row in rows.values())]
        tables.append(
            {
                "exchange": exchange,
                "symbols": list(rows),
                "streams": [stream.value for stream in streams],
                "cells": [[row.get(stream) for stream in streams] for row in rows.values()],
            }
        )
    return tables


def cell(connection: ConnectionView, topic: Topic, now_ns: int) -> Cell:
    """How one topic is doing."""
    if connection.state not in UP:
        return DOWN
    state = topic_state(connection, topic)
    if state == REFUSED:
        return REFUSED
    if topic in connection.last_seen:
        return max(0, (now_ns - connection.last_seen[topic]) // 1_000_000)
    patience = PATIENCE_WITH_TRADES_NS if topic.stream is StreamType.TRADE else PATIENCE_NS
    return NOTHING if now_ns - connection.since_ns > patience else WAITING
