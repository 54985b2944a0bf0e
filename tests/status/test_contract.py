"""The shapes that the outside relies on, to the letter: every key and the type of its value. Keys may be added, never changed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from quantlab_collector.contracts.events import BUY, Trade
from quantlab_collector.runtime.health import Standing
from quantlab_collector.runtime.notices import Notices, StateChange
from quantlab_collector.runtime.recent_trades import RecentTrades
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.status.app import create_app
from quantlab_collector.status.options import StatusOptions

NUMBER, MAYBE_TEXT, MAYBE_INT = (int, float), (str, type(None)), (int, type(None))

IDENTITY = {"received": int, "written": int, "dropped": int, "pending": int, "rejected": int, "holds": bool}
CONNECTION = {
    "exchange": str,
    "connection": str,
    "state": str,
    "since": MAYBE_TEXT,
    "reason": str,
    "attempts": int,
    "connects": int,
    "reconnects": int,
    "last_message_ts": MAYBE_INT,
    "frames": int,
    "received_bytes": int,
    "topics": {"live": int, "waiting": int, "refused": int},
    "refused": dict,
}
STORAGE = {
    "reaches_store": bool,
    "not_ready": MAYBE_TEXT,
    "obstacle": (dict, type(None)),
    "storage_fault": MAYBE_TEXT,
    "shipping_blocked": MAYBE_TEXT,
    "encode_fault": MAYBE_TEXT,
    "queued_events": int,
    "pending_events": int,
    "written_events": int,
    "segment": {"name": MAYBE_TEXT, "rows": int, "bytes": int},
    "sealed_segments": int,
    "backlog": {"segments": int, "bytes": int, "lag_seconds": NUMBER},
    "spool": {"bytes": int, "disk_free": MAYBE_INT},
    "uploads": {"in_flight": int, "slots": int, "failures": int, "shipped_bytes": int},
    "committed": {"segments": int, "files": int, "recovered_rows": int},
    "last_sync_ts": MAYBE_INT,
    "last_commit_ts": MAYBE_INT,
}
TRADE = {
    "exchange": str, "symbol": str, "event_ts": int, "recv_ts": int, "price": NUMBER, "qty": NUMBER, "side": str, "trade_id": str,
}  # fmt: skip
STATUS = {
    "state": str,
    "since": str,
    "metrics": {"queue_pct": NUMBER, "silence_15m": int, "drops_15m": int, "reconnects_15m": int, "rss_mb": NUMBER},
    "reasons": [str],
}
READY = {"ready": bool, "reason": MAYBE_TEXT}

SHAPES: dict[str, Any] = {
    "/health": {"status": str, "uptime": NUMBER, "last_event_ts": MAYBE_INT, "last_write_ts": MAYBE_INT},
    "/ready": READY,
    "/streams": {
        "symbols": [str],
        "streams": {"binance": [str], "okx": [str]},
        "topics": [
            {"exchange": str, "stream": str, "symbol": str, "connection": str, "state": str, "last_recv_ts": MAYBE_INT},
        ],
    },
    "/metrics": {
        "queue_size": int,
        "queue_maxsize": int,
        "queue_utilization_pct": NUMBER,
        "dropped_events_total": int,
        "silence_intervals_15m": int,
        "silence_intervals_total": int,
        "ws_reconnect_total": {"binance": int, "okx": int},
        "snapshot_fetches_total": int,
        "snapshot_events_seen": int,
        "gap_alignment_corrections": int,
        "effective_data_loss_rate_pct": NUMBER,
        "events_per_sec": {"bbo": NUMBER, "trade": NUMBER},
        "total_events": int,
        "writer": {
            "total_written": int,
            "files_written": int,
            "pending_events": int,
            "active_buffers": int,
            "in_flight_uploads": int,
            "upload_failures": int,
        },
        "identity": IDENTITY,
        "by_stream": {"binance/bbo": IDENTITY},
    },
    "/status": STATUS,
    "/collectors/status": {"collectors": [CONNECTION]},
    "/collectors/status/okx": {"collectors": [CONNECTION]},
    "/collectors/status/binance/public-0": {"collectors": [CONNECTION]},
    "/collectors/storage/stats": STORAGE,
    "/collectors/trades?symbol=BTCUSDT&limit=10": {"symbol": MAYBE_TEXT, "exchange": MAYBE_TEXT, "trades": [TRADE]},
    "/page.json": {
        "version": str,
        "instance": str,
        "started_ts": int,
        "uptime": NUMBER,
        "endpoints": [str],
        "status": STATUS,
        "ready": READY,
        "metrics": {"queue_size": int, "queue_maxsize": int, "identity": IDENTITY, "events_per_sec": {"bbo": NUMBER}},
        "storage": STORAGE,
        "history": {"span": NUMBER, "at": [NUMBER], "events_per_sec": {"bbo": [NUMBER]}},
        "connections": [{"exchange": str, "connection": str, "state": str, "since": MAYBE_TEXT, "reason": str, "attempts": int}],
        "grid": [{"exchange": str, "symbols": [str], "streams": [str], "cells": [list]}],
        "notices": [{"number": int, "ts": int, "level": str, "event": str, "text": str}],
    },
    "/debug/tasks": {"name": str, "at": str, "nurseries": [list]},
    "/debug/storage": {"stats": STORAGE, "uploading": dict, "spool": dict},
}


def differences(shape: Any, answer: Any, place: str = "") -> list[str]:
    """Where an answer is not of a shape; a list in a shape must have an item, or it would prove nothing."""
    if isinstance(shape, dict):
        if not isinstance(answer, dict):
            return [f"{place} is no object"]
        missing = [f"{place}.{key} is missing" for key in shape.keys() - answer.keys()]
        return missing + [
            line for key in shape.keys() & answer.keys() for line in differences(shape[key], answer[key], f"{place}.{key}")
        ]
    if isinstance(shape, list):
        if not isinstance(answer, list) or not answer:
            return [f"{place} is no list with something in it"]
        return [line for number, item in enumerate(answer) for line in differences(shape[0], item, f"{place}[{number}]")]
    kinds = shape if isinstance(shape, tuple) else (shape,)
    # A bool is an int for Python, and not for anybody else.
    return [] if isinstance(answer, kinds) and (type(answer) is not bool or bool in kinds) else [f"{place} is {answer!r}"]


class NoLog:
    def log(self, level: int, event: str, **fields: Any) -> None:
        pass


@pytest.fixture
def answer(state: ServiceState, standing: Standing):
    trades = RecentTrades()
    trades.add([Trade(1, time.time_ns(), "okx", "BTCUSDT", 1.0, 2.0, BUY, "7")])
    Notices(state, NoLog()).tell(StateChange("OFFLINE", "READY", ("because",)))
    app = create_app(
        lambda: state.snapshot(1147.82), lambda: standing, StatusOptions(debug=True), trades=trades.newest, spool=dict
    )

    async def answer(path: str) -> Any:
        return await (await app.test_client().get(path)).get_json()

    return answer


@pytest.mark.parametrize("path", SHAPES)
async def test_shape(answer, path: str) -> None:
    assert differences(SHAPES[path], await answer(path)) == []


def test_a_difference_is_found() -> None:
    shape = {"a": int, "b": [{"c": str}], "d": NUMBER}

    assert differences(shape, {"a": 1, "b": [{"c": "x", "new": 1}], "d": 1.5}) == []
    assert differences(shape, {"a": True, "b": [{"c": "x"}], "d": 1}) == [".a is True"]
    assert differences(shape, {"a": 1, "b": [], "d": 1}) == [".b is no list with something in it"]
    assert differences(shape, {"a": 1, "b": [{}], "d": 1}) == [".b[0].c is missing"]


async def test_the_values_that_are_words(answer) -> None:
    assert (await answer("/health"))["status"] == "ok"
    assert (await answer("/status"))["state"] in {"READY", "DEGRADED", "OFFLINE", "ERROR"}
    assert {topic["state"] for topic in (await answer("/streams"))["topics"]} <= {
        "live", "fresh", "quiet", "silent", "mute", "waiting", "refused",
    }  # fmt: skip
    assert {c["state"] for c in (await answer("/collectors/status"))["collectors"]} <= {
        "STOPPED", "CONNECTING", "CONNECTED", "SUBSCRIBING", "ACTIVE", "RECONNECTING", "ERROR",
    }  # fmt: skip
    assert (await answer("/collectors/trades"))["trades"][0]["side"] == "buy"


async def test_the_identity_is_in_the_numbers(answer) -> None:
    identity = (await answer("/metrics"))["identity"]

    assert identity["received"] == sum(identity[term] for term in ("written", "dropped", "pending", "rejected"))
