"""The shapes of the JSON pages, to the letter: they are a contract."""

from __future__ import annotations

import attrs
import msgspec
import pytest

from quantlab_collector.runtime.health import Assessment, Health, ServiceHealth, Standing
from quantlab_collector.runtime.state import ServiceState, Snapshot
from quantlab_collector.status import views
from quantlab_collector.status.times import iso


def test_health(snapshot: Snapshot) -> None:
    assert views.health(snapshot) == {
        "status": "ok",
        "uptime": 147.82,
        "last_event_ts": 1767280498692,
        "last_write_ts": 1767280498691,
        "last_commit_ts": 1767280470000,
    }


def test_health_of_a_service_that_has_just_begun(empty: Snapshot) -> None:
    assert views.health(empty) == {
        "status": "ok",
        "uptime": 0.0,
        "last_event_ts": None,
        "last_write_ts": None,
        "last_commit_ts": None,
    }


def test_ready(snapshot: Snapshot, empty: Snapshot) -> None:
    assert views.ready(snapshot) == {"ready": True, "reason": None}
    assert views.ready(empty) == {"ready": False, "reason": "no WebSocket is connected"}
    assert views.ready(attrs.evolve(snapshot, stopping=True)) == {"ready": False, "reason": "stopping"}


def test_streams(snapshot: Snapshot) -> None:
    assert views.streams(snapshot) == {
        "symbols": ["BTCUSDT", "ETHUSDT", "XYZUSDT"],
        "streams": {"binance": ["bbo"], "okx": ["trade"]},
        "topics": [
            {
                "exchange": "binance",
                "stream": "bbo",
                "symbol": "BTCUSDT",
                "connection": "public-0",
                "state": "live",
                "last_recv_ts": 1767280498692,
                "freshness": "fresh",
                "last_seen": 1767280498692,
            },
            {
                "exchange": "binance",
                "stream": "bbo",
                "symbol": "ETHUSDT",
                "connection": "public-0",
                "state": "waiting",
                "last_recv_ts": None,
                "freshness": "quiet",
                "last_seen": None,
            },
            {
                "exchange": "binance",
                "stream": "bbo",
                "symbol": "XYZUSDT",
                "connection": "public-0",
                "state": "refused",
                "last_recv_ts": None,
                "freshness": None,
                "last_seen": None,
                "reason": "Invalid symbol.\\n",
            },
            {
                "exchange": "okx",
                "stream": "trade",
                "symbol": "BTCUSDT",
                "connection": "public-0",
                "state": "waiting",
                "last_recv_ts": None,
                "freshness": "quiet",
                "last_seen": None,
            },
        ],
    }


def test_streams_come_in_the_order_of_the_contract(state: ServiceState) -> None:
    from quantlab_collector.contracts.events import StreamType
    from quantlab_collector.contracts.topics import Topic

    state.connections[0].topics = tuple(Topic("bybit", stream, "BTCUSDT") for stream in reversed(StreamType))
    del state.connections[1:]

    assert views.streams(state.snapshot(0.0))["streams"] == {"bybit": ["bbo", "trade", "mark_price", "funding", "open_interest"]}


def test_metrics(snapshot: Snapshot) -> None:
    assert views.metrics(snapshot) == {
        "queue_size": 45,
        "queue_maxsize": 1000,
        "queue_utilization_pct": 4.5,
        "queue_peak": 99,
        "dropped_events_total": 2,
        "silence_intervals_15m": 0,
        "silence_intervals_total": 0,
        "silences_open": 0,
        "mutes_open": 0,
        "mutes_total": 0,
        "gaps_15m": 0,
        "gaps_total": 0,
        "missed_events_total": 0,
        "repeated_numbers_total": 0,
        "ws_reconnect_total": {"binance": 0, "okx": 2},
        "snapshot_fetches_total": 0,
        "snapshot_events_seen": 0,
        "gap_alignment_corrections": 0,
        "effective_data_loss_rate_pct": 100 * 2 / 110,
        "events_per_sec": {"bbo": 12.75, "trade": 0.75, "unreadable": 0.25},
        "total_events": 110,
        "writer": {
            "total_written": 40,
            "files_written": 4,
            "pending_events": 65,
            "active_buffers": 2,
            "in_flight_uploads": 1,
            "upload_failures": 3,
            "segments_committed": 2,
            "sealed_segments": 1,
            "segment_rows": 10,
            "segment_bytes": 2000,
            "spool_bytes": 5000,
            "upload_slots": 16,
            "backlog_segments": 3,
            "backlog_bytes": 4000,
            "shipped_bytes": 9000,
            "upload_lag": 20.1,
            "storage_fault": None,
            "shipping_blocked": None,
        },
        "raw_archive": {
            "enabled": True,
            "frames": {"binance": {"received": 102, "archived": 90, "dropped": 5}},
            "queued_bytes": 11,
            "files": 12,
            "kept_files": 13,
            "kept_bytes": 14,
            "upload_failures": 15,
            "fault": "503\\nSlow down",
        },
        "identity": {"received": 110, "written": 40, "dropped": 2, "pending": 65, "rejected": 3, "holds": True},
        "by_stream": {
            "binance/bbo": {"received": 102, "written": 40, "dropped": 2, "pending": 60, "rejected": 0, "holds": True},
            "okx/trade": {"received": 6, "written": 0, "dropped": 0, "pending": 5, "rejected": 1, "holds": True},
            "okx/unreadable": {"received": 2, "written": 0, "dropped": 0, "pending": 0, "rejected": 2, "holds": True},
        },
        "dropped_by_reason": {"binance/bbo": {"queue_full": 2}},
        "rejected_by_reason": {"okx/trade": {"not_a_number": 1}, "okx/unreadable": {"not_json": 2}},
        "unknown_messages": {"okx": {"maintenance": 2, "news": 1}},
        "recovered_rows": 7,
        "rss_mb": 91.2,
        "latencies": {
            "transit": {"okx/trade": {"count": 3, "sum": 0.1, "p50": 0.05, "p99": 0.1, "p999": 0.1}},
            "transit_least": {"okx": -0.002},
            "to_sync": {"okx/trade": {"count": 1, "sum": 0.4, "p50": 0.5, "p99": 0.5, "p999": 0.5}},
            "to_commit": {"count": 1, "sum": 61.0, "p50": 75.0, "p99": 75.0, "p999": 75.0},
            "loop_lag": {"count": 1, "sum": 0.001, "p50": 0.001, "p99": 0.001, "p999": 0.001},
            "queue_age": 0.25,
        },
        "log_lines_dropped_total": 4,
    }


def test_metrics_of_nothing(empty: Snapshot) -> None:
    assert views.metrics(empty)["effective_data_loss_rate_pct"] == 0.0
    assert views.metrics(empty)["identity"]["holds"] is True


def test_one_loss_in_many_events_is_not_rounded_away(state: ServiceState) -> None:
    from quantlab_collector.contracts.events import StreamType

    state.books.receive("bybit", StreamType.BBO, kept=10**10, dropped=0, reason="queue_full")

    assert views.metrics(state.snapshot(0.0))["effective_data_loss_rate_pct"] > 0


def test_books_that_do_not_balance_are_shown(state: ServiceState) -> None:
    state.books.accounts["okx", "trade"].received += 1

    shown = views.metrics(state.snapshot(0.0))

    assert shown["identity"]["holds"] is False
    assert [name for name, identity in shown["by_stream"].items() if not identity["holds"]] == ["okx/trade"]


def test_status(snapshot: Snapshot, standing: Standing) -> None:
    assert views.status(snapshot, standing) == {
        "state": "DEGRADED",
        "since": "2026-01-01T15:12:30.890602+00:00",
        "metrics": {
            "queue_pct": 4.5,
            "silence_15m": 0,
            "gaps_15m": 0,
            "mutes": 0,
            "drops_15m": 2,
            "reconnects_15m": 2,
            "rss_mb": 91.2,
        },
        "reasons": ["2 events dropped in the last 15 minutes"],
    }


def test_status_before_the_first_connection(empty: Snapshot) -> None:
    shown = views.status(empty, Health(empty.started_ns).standing)

    assert (shown["state"], shown["since"]) == ("OFFLINE", "2026-01-01T15:12:30.872000+00:00")
    assert shown["reasons"] == ["no WebSocket is connected"]


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (1_767_280_350_890_602_999, "2026-01-01T15:12:30.890602+00:00"),
        (1_767_280_350_000_000_000, "2026-01-01T15:12:30.000000+00:00"),
        (4_102_444_799_999_999_999, "2099-12-31T23:59:59.999999+00:00"),
    ],
)
def test_a_time_always_has_six_digits_and_is_never_rounded_up(ns: int, shown: str) -> None:
    assert iso(ns) == shown


OKX = {
    "exchange": "okx",
    "connection": "public-0",
    "state": "RECONNECTING",
    "since": "2026-01-01T15:12:32.872000+00:00",
    "reason": "closed by the peer: \\x1b[31mgo away",
    "attempts": 3,
    "connects": 2,
    "reconnects": 2,
    "last_message_ts": 1767280352000,
    "frames": 5,
    "received_bytes": 900,
    "topics": {"live": 0, "waiting": 1, "refused": 0},
    "refused": {},
}
BINANCE = {
    "exchange": "binance",
    "connection": "public-0",
    "state": "ACTIVE",
    "since": "2026-01-01T15:12:31.372000+00:00",
    "reason": "",
    "attempts": 0,
    "connects": 1,
    "reconnects": 0,
    "last_message_ts": 1767280498692,
    "frames": 102,
    "received_bytes": 20400,
    "topics": {"live": 1, "waiting": 1, "refused": 1},
    "refused": {"binance/bbo/XYZUSDT": "Invalid symbol.\\n"},
}


def test_collectors(snapshot: Snapshot) -> None:
    assert views.collectors(snapshot) == {"collectors": [BINANCE, OKX]}
    assert views.collectors(snapshot, "okx") == {"collectors": [OKX]}
    assert views.collectors(snapshot, "binance/public-0") == {"collectors": [BINANCE]}
    assert views.collectors(snapshot, "public-0") is None
    assert views.collectors(snapshot, "kraken") is None


def test_there_are_no_collectors_before_the_plan(empty: Snapshot) -> None:
    assert views.collectors(empty) == {"collectors": []}


def test_a_connection_that_was_never_tried_has_no_since(state: ServiceState) -> None:
    from quantlab_collector.runtime.lifecycle import Lifecycle

    state.connections[0].lifecycle = Lifecycle()

    shown = views.collectors(state.snapshot(0.0), "binance")

    assert shown is not None
    assert (shown["collectors"][0]["state"], shown["collectors"][0]["since"]) == ("STOPPED", None)


def test_what_a_peer_writes_cannot_break_a_page(state: ServiceState) -> None:
    """Lone surrogates are no UTF-8, and a megabyte is no reason."""
    evil = "\ud800\x00" + "x" * 1_000_000
    state.unknown["okx", evil] = 1
    state.connections[0].refused[evil] = evil
    state.connections[0].lifecycle.reason = evil
    snapshot = state.snapshot(0.0)
    standing = Standing(Assessment(ServiceHealth.ERROR, (evil,)), 0)

    pages = (views.metrics(snapshot), views.streams(snapshot), views.collectors(snapshot), views.status(snapshot, standing))

    assert all(len(msgspec.json.encode(page)) < 10_000 for page in pages)
