"""``/page.json``: everything that the page shows, in one answer that is asked for every other second."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from quantlab_collector.runtime.health import Standing
from quantlab_collector.runtime.history import SPAN
from quantlab_collector.runtime.state import Snapshot
from quantlab_collector.status import views
from quantlab_collector.status.collectors import storage_stats
from quantlab_collector.status.grid import grid
from quantlab_collector.status.times import millis
from quantlab_collector.status.views import Json

_NUMBERS: Final = (
    "queue_size", "queue_maxsize", "queue_utilization_pct", "queue_peak", "events_per_sec", "total_events", "identity",
    "effective_data_loss_rate_pct", "silence_intervals_15m", "rss_mb",
)  # fmt: skip
_OF_CONNECTIONS: Final = (
    "exchange", "connection", "state", "since", "reason", "attempts", "connects", "reconnects", "last_message_ts", "frames",
    "topics",
)  # fmt: skip


def page(snapshot: Snapshot, standing: Standing, after: int, endpoints: Iterable[str]) -> Json:
    """Of the notices only those with a number above ``after``; all else is whole."""
    numbers, connections = views.metrics(snapshot), views.collectors(snapshot)
    return {
        "version": snapshot.version,
        "instance": snapshot.instance,
        "started_ts": millis(snapshot.started_ns),
        "uptime": round(snapshot.uptime, 2),
        "endpoints": list(endpoints),
        "status": views.status(snapshot, standing),
        "ready": views.ready(snapshot),
        "metrics": {name: numbers[name] for name in _NUMBERS},
        "storage": storage_stats(snapshot),
        "history": _history(snapshot),
        "connections": [{key: c[key] for key in _OF_CONNECTIONS} for c in (connections or {"collectors": []})["collectors"]],
        "grid": grid(snapshot),
        "notices": [
            {
                "number": told.number,
                "ts": millis(told.at_ns),
                "level": logging.getLevelName(told.level).lower(),
                "event": told.event,
                "text": told.text,
            }
            for told in snapshot.told
            if told.number > after
        ],
    }


def _history(snapshot: Snapshot) -> Json:
    """``at`` are seconds since the start, as ``uptime`` is."""
    points = snapshot.history
    streams = dict.fromkeys(stream for point in points for stream in point.rates)
    return {
        "span": SPAN,
        "at": [round(point.at, 1) for point in points],
        "events_per_sec": {stream: [round(point.rates.get(stream, 0.0), 1) for point in points] for stream in streams},
    }
