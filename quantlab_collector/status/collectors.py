"""``/collectors``: the connections, the way to the store, and the newest trades. Shapes are a contract, as in ``views``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from quart import Response, request
from quart_trio import QuartTrio

from quantlab_collector.contracts.events import BUY, Trade
from quantlab_collector.runtime.health import not_recording
from quantlab_collector.runtime.notices import plain_text
from quantlab_collector.runtime.state import Snapshot
from quantlab_collector.status import views
from quantlab_collector.status.answers import json_answer, refusal
from quantlab_collector.status.asking import BadQueryError, trades_query
from quantlab_collector.status.times import millis
from quantlab_collector.status.views import Json

ENDPOINTS: Final = ("/collectors/status", "/collectors/storage/stats", "/collectors/trades")


class NewestTrades(Protocol):
    """Gives the newest trades, newest first."""

    def __call__(self, now_ns: int, limit: int, *, symbol: str | None, exchange: str | None) -> list[Trade]:
        """Those of a symbol, of an exchange, or all."""
        ...


def add_collectors(app: QuartTrio, snapshot: Callable[[], Snapshot], trades: NewestTrades | None) -> None:
    """The pages."""

    @app.get("/collectors/status", defaults={"name": None})
    @app.get("/collectors/status/<path:name>")
    def get_collectors(name: str | None) -> Response:
        answer = views.collectors(snapshot(), name)
        return refusal("not found", 404) if answer is None else json_answer(answer)

    @app.get("/collectors/storage/stats")
    def get_storage_stats() -> Response:
        return json_answer(storage_stats(snapshot()))

    @app.get("/collectors/trades")
    def get_trades() -> Response:
        if trades is None:
            return refusal("recent trades are not kept: status.recent_trades is false", 404)
        try:
            query = trades_query(request.args)
        except BadQueryError as error:
            return refusal(str(error), 400)
        known = [topic for connection in snapshot().connections for topic in connection.topics]
        if query.exchange is not None and query.exchange not in {topic.exchange for topic in known}:
            return refusal(f"{plain_text(query.exchange)} is not recorded", 404)
        if query.symbol is not None and query.symbol not in {topic.symbol for topic in known}:
            return refusal(f"{plain_text(query.symbol)} is not recorded", 404)
        found = trades(time.time_ns(), query.limit, symbol=query.symbol, exchange=query.exchange)
        return json_answer({"symbol": query.symbol, "exchange": query.exchange, "trades": [trade_shape(t) for t in found]})


def trade_shape(trade: Trade) -> Json:
    """One trade; times in milliseconds, as everywhere in this interface."""
    return {
        "exchange": trade.exchange,
        "symbol": plain_text(trade.symbol),
        "event_ts": millis(trade.ts_event),
        "recv_ts": millis(trade.ts_recv),
        "price": trade.price,
        "qty": trade.qty,
        "side": "buy" if trade.side == BUY else "sell",
        "trade_id": plain_text(trade.trade_id),
    }


def storage_stats(snapshot: Snapshot) -> Json:
    """``/collectors/storage/stats``: from the queue to the store, what is where, and what is in the way."""
    counters, writer = snapshot.counters, snapshot.writer
    return {
        "reaches_store": writer.storage_fault is None and writer.shipping_blocked is None,
        "not_ready": _text_or_none(not_recording(snapshot)),
        "obstacle": None
        if writer.obstacle is None
        else {"name": writer.obstacle.value, "text": plain_text(writer.obstacle_text)},
        "storage_fault": _text_or_none(writer.storage_fault),
        "shipping_blocked": _text_or_none(writer.shipping_blocked),
        "encode_fault": _text_or_none(writer.encode_fault),
        "queued_events": snapshot.queued,
        "pending_events": counters.pending,
        "written_events": counters.written,
        "segment": {"name": writer.segment, "rows": writer.segment_rows, "bytes": writer.segment_bytes},
        "sealed_segments": writer.sealed_segments,
        "backlog": {
            "segments": writer.backlog_segments,
            "bytes": writer.backlog_bytes,
            "lag_seconds": round(snapshot.upload_lag, 1),
        },
        "spool": {"bytes": writer.spool_bytes, "disk_free": writer.disk_free},
        "uploads": {
            "in_flight": writer.in_flight_uploads,
            "slots": writer.upload_slots,
            "failures": writer.upload_failures,
            "shipped_bytes": writer.shipped_bytes,
        },
        "committed": {
            "segments": writer.segments_committed,
            "files": writer.files_written,
            "recovered_rows": snapshot.recovered_rows,
        },
        "last_sync_ts": millis(writer.last_sync_ns),
        "last_commit_ts": millis(writer.last_commit_ns),
    }


def _text_or_none(text: str | None) -> str | None:
    return None if text is None else plain_text(text)
