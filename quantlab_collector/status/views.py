"""What the HTTP interface answers: a snapshot in, plain JSON shapes out.

The shapes are a contract: keys may be added, never changed. Texts that a peer may have written are cut and cleaned on the way.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import Identity
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.health import Standing, not_recording, queue_pct
from quantlab_collector.runtime.notices import plain_text
from quantlab_collector.runtime.state import ConnectionView, Snapshot
from quantlab_collector.status import delays
from quantlab_collector.status.times import iso, millis
from quantlab_collector.status.trouble_views import Freshness, last_seen

Json: TypeAlias = dict[str, Any]

LIVE, WAITING, REFUSED = "live", "waiting", "refused"


def health(snapshot: Snapshot) -> Json:
    """``/health``: the process lives, for whoever would restart it. A store that is down is no reason to."""
    writer = snapshot.writer
    return {
        "status": "ok",
        "uptime": round(snapshot.uptime, 2),
        "last_event_ts": millis(snapshot.last_event_ns),
        # Written is what is safe: on the local disk, or in the store already.
        "last_write_ts": millis(max((ns for ns in (writer.last_sync_ns, writer.last_commit_ns) if ns is not None), default=None)),
        "last_commit_ts": millis(writer.last_commit_ns),
    }


def ready(snapshot: Snapshot) -> Json:
    """``/ready``: recording, and data reaching storage; if not, why."""
    reason = not_recording(snapshot)
    return {"ready": reason is None, "reason": _text_or_none(reason)}


def streams(snapshot: Snapshot) -> Json:
    """``/streams``: what is recorded, and how each of it does."""
    symbols: set[str] = set()
    freshness = Freshness(snapshot)
    by_exchange: defaultdict[str, set[StreamType]] = defaultdict(set)
    for connection in snapshot.connections:
        for topic in connection.topics:
            symbols.add(topic.symbol)
            by_exchange[topic.exchange].add(topic.stream)
    return {
        "symbols": sorted(symbols),
        "streams": {
            exchange: [stream.value for stream in StreamType if stream in by_exchange[exchange]]
            for exchange in sorted(by_exchange)
        },
        "topics": [_topic(connection, topic, freshness) for connection in snapshot.connections for topic in connection.topics],
    }


def metrics(snapshot: Snapshot) -> Json:
    """``/metrics`` as JSON."""
    counters, writer = snapshot.counters, snapshot.writer
    reconnects: Counter[str] = Counter()
    for connection in snapshot.connections:
        reconnects[connection.exchange] += connection.reconnects
    return {
        "queue_size": snapshot.queued,
        "queue_maxsize": snapshot.queue_capacity,
        "queue_utilization_pct": round(queue_pct(snapshot), 3),
        "queue_peak": snapshot.queue_peak,
        "dropped_events_total": counters.dropped,
        "silence_intervals_15m": snapshot.signals.silences.last_15m,
        "silence_intervals_total": snapshot.signals.silences.total,
        "silences_open": len(snapshot.signals.silences.open),
        "mutes_open": len(snapshot.signals.mutes.open),
        "mutes_total": snapshot.signals.mutes.total,
        "gaps_15m": snapshot.signals.gaps.last_15m,
        "gaps_total": snapshot.signals.gaps.total,
        "missed_events_total": sum(snapshot.signals.missed.values()),
        "repeated_numbers_total": sum(snapshot.signals.repeated.values()),
        "ws_reconnect_total": dict(reconnects),
        "snapshot_fetches_total": snapshot.alignment_fetches,
        "snapshot_events_seen": snapshot.alignment_events_seen,
        "gap_alignment_corrections": snapshot.alignment_corrections,
        "effective_data_loss_rate_pct": data_loss_pct(snapshot),
        "events_per_sec": {stream: round(rate, 3) for stream, rate in snapshot.events_per_sec.items()},
        "total_events": counters.received,
        "writer": {
            "total_written": counters.written,
            "files_written": writer.files_written,
            "pending_events": counters.pending,
            "active_buffers": writer.active_buffers,
            "in_flight_uploads": writer.in_flight_uploads,
            "upload_failures": writer.upload_failures,
            "segments_committed": writer.segments_committed,
            "sealed_segments": writer.sealed_segments,
            "segment_rows": writer.segment_rows,
            "segment_bytes": writer.segment_bytes,
            "spool_bytes": writer.spool_bytes,
            "upload_slots": writer.upload_slots,
            "backlog_segments": writer.backlog_segments,
            "backlog_bytes": writer.backlog_bytes,
            "shipped_bytes": writer.shipped_bytes,
            "upload_lag": round(snapshot.upload_lag, 1),
            "storage_fault": _text_or_none(writer.storage_fault),
            "shipping_blocked": _text_or_none(writer.shipping_blocked),
        },
        "raw_archive": _raw_archive(snapshot),
        "identity": _identity(counters),
        "by_stream": {name: _identity(identity) for name, identity in counters.by_stream.items()},
        "dropped_by_reason": _by_reason(snapshot.drops),
        "rejected_by_reason": _by_reason(snapshot.rejects),
        "unknown_messages": _unknown(snapshot),
        "recovered_rows": snapshot.recovered_rows,
        "rss_mb": rss_mb(snapshot),
        "latencies": delays.as_json(snapshot),
        "log_lines_dropped_total": snapshot.log_dropped,
    }


def status(snapshot: Snapshot, standing: Standing) -> Json:
    """``/status``: the state in one word, since when, and why."""
    return {
        "state": standing.assessment.state.value,
        "since": iso(standing.since_ns),
        "metrics": {
            "queue_pct": round(queue_pct(snapshot), 3),
            "silence_15m": snapshot.signals.silences.last_15m,
            "gaps_15m": snapshot.signals.gaps.last_15m,
            "mutes": len(snapshot.signals.mutes.open),
            "drops_15m": snapshot.drops_15m,
            "reconnects_15m": snapshot.reconnects_15m,
            "rss_mb": rss_mb(snapshot),
        },
        "reasons": [plain_text(reason) for reason in standing.assessment.reasons],
    }


def collectors(snapshot: Snapshot, name: str | None = None) -> Json | None:
    """``/collectors/status``: all connections, those of one exchange, or one; ``None`` if there is nothing of that name."""
    chosen = [c for c in snapshot.connections if name in (None, c.exchange, f"{c.exchange}/{c.name}")]
    if name is not None and not chosen:
        return None
    return {"collectors": [_connection(connection) for connection in chosen]}


# --------------------------------------------------------------------------------------------------------- small parts


def rss_mb(snapshot: Snapshot) -> float:
    """Memory in megabytes."""
    return round(snapshot.rss_bytes / 1e6, 1)


def data_loss_pct(snapshot: Snapshot) -> float:
    """How much of what is known to have been sent is lost: dropped here, or missing from the exchange's numbers.

    What is missing while a connection was down is in it only where events are numbered. Never rounded: one event in a thousand
    million is a loss.
    """
    missed = sum(snapshot.signals.missed.values())
    sent = snapshot.counters.received + missed
    return 100.0 * (snapshot.counters.dropped + missed) / sent if sent else 0.0


def topic_state(connection: ConnectionView, topic: Topic) -> str:
    """Whether a topic delivers. An acknowledgement alone proves nothing, so there is no word for it."""
    if topic in connection.last_seen:
        return LIVE
    return REFUSED if str(topic) in connection.refused else WAITING


def _text_or_none(text: str | None) -> str | None:
    return None if text is None else plain_text(text)


def _topic(connection: ConnectionView, topic: Topic, freshness: Freshness) -> Json:
    state = topic_state(connection, topic)
    shown: Json = {
        "exchange": topic.exchange,
        "stream": topic.stream.value,
        "symbol": topic.symbol,
        "connection": connection.name,
        "state": state,
        "last_recv_ts": millis(connection.last_seen.get(topic)),
        "freshness": None if state == REFUSED else freshness.word(connection, topic),
        "last_seen": last_seen(connection, topic),
    }
    if state == REFUSED:
        shown["reason"] = plain_text(connection.refused[str(topic)])
    return shown


def _connection(connection: ConnectionView) -> Json:
    states = Counter(topic_state(connection, topic) for topic in connection.topics)
    return {
        "exchange": connection.exchange,
        "connection": connection.name,
        "state": connection.state.value,
        "since": iso(connection.since_ns) if connection.since_ns else None,
        "reason": plain_text(connection.reason),
        "attempts": connection.attempts,
        "connects": connection.connects,
        "reconnects": connection.reconnects,
        "last_message_ts": millis(connection.last_frame_ns),
        "frames": connection.frames,
        "received_bytes": connection.received_bytes,
        "topics": {state: states[state] for state in (LIVE, WAITING, REFUSED)},
        "refused": {plain_text(topic): plain_text(words) for topic, words in connection.refused.items()},
    }


def _identity(identity: Identity) -> Json:
    return {
        "received": identity.received,
        "written": identity.written,
        "dropped": identity.dropped,
        "pending": identity.pending,
        "rejected": identity.rejected,
        "holds": identity.holds,
    }


def _raw_archive(snapshot: Snapshot) -> Json:
    raw = snapshot.raw_archive
    return {
        "enabled": raw.enabled,
        "frames": {
            exchange: {"received": account.received, "archived": account.archived, "dropped": account.dropped}
            for exchange, account in raw.accounts.items()
        },
        "queued_bytes": raw.queued_bytes,
        "files": raw.files,
        "kept_files": raw.kept_files,
        "kept_bytes": raw.kept_bytes,
        "upload_failures": raw.upload_failures,
        "fault": None if raw.fault is None else plain_text(raw.fault),
    }


def _by_reason(counts: Mapping[tuple[str, str, str], int]) -> Json:
    return _nested((f"{exchange}/{stream}", reason, count) for (exchange, stream, reason), count in counts.items())


def _unknown(snapshot: Snapshot) -> Json:
    return _nested((exchange, plain_text(kind), count) for (exchange, kind), count in snapshot.unknown.items())


def _nested(rows: Iterator[tuple[str, str, int]]) -> Json:
    shown: Json = {}
    for outer, inner, count in rows:
        of = shown.setdefault(outer, {})
        of[inner] = of.get(inner, 0) + count  # two names may look the same once they are cleaned
    return shown
