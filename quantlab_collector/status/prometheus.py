"""The numbers of ``/metrics`` for Prometheus.

All of them are read from one snapshot, into a registry that lives as long as the answer: nothing is counted a second time.
What is not measured yet is left out; a constant zero would look like good news.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from quantlab_collector.runtime.health import ServiceHealth, Standing, not_recording, queue_pct
from quantlab_collector.runtime.lifecycle import UP, State
from quantlab_collector.runtime.state import Snapshot
from quantlab_collector.status import delays
from quantlab_collector.status.views import data_loss_pct, topic_state

Rows: TypeAlias = Iterable[tuple[Sequence[str], float]]
"""Label values, and the number."""

MAX_MUTES = 1_000
"""More are only counted: a scrape has to stay small, also on a day on which everything is mute."""

TEXT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OPENMETRICS_TYPE = openmetrics.CONTENT_TYPE_LATEST


def as_text(snapshot: Snapshot, standing: Standing) -> bytes:
    """Prometheus text."""
    return generate_latest(_registry(snapshot, standing))


def as_openmetrics(snapshot: Snapshot, standing: Standing) -> bytes:
    """OpenMetrics."""
    text: bytes = openmetrics.generate_latest(_registry(snapshot, standing))  # type: ignore[no-untyped-call]
    return text


def _registry(snapshot: Snapshot, standing: Standing) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Exposition(snapshot, standing))
    return registry


class _Exposition(Collector):
    def __init__(self, snapshot: Snapshot, standing: Standing) -> None:
        self._snapshot = snapshot
        self._standing = standing

    def collect(self) -> Iterator[Metric]:
        yield from _process(self._snapshot, self._standing)
        yield from _events(self._snapshot)
        yield from _connections(self._snapshot)
        yield from _signals(self._snapshot)
        yield from _writer(self._snapshot)
        yield from delays.families(self._snapshot)
        if self._snapshot.raw_archive.enabled:
            yield from _raw_archive(self._snapshot)


# ---------------------------------------------------------------------------------------------------------- the metrics


def _process(snapshot: Snapshot, standing: Standing) -> Iterator[Metric]:
    yield InfoMetricFamily(
        "quantlab_collector", "Which collector this is.", {"version": snapshot.version, "instance": snapshot.instance}
    )
    yield _gauge("uptime_seconds", "How long the process runs.", snapshot.uptime)
    yield _gauge("resident_memory_bytes", "Memory of the process.", snapshot.rss_bytes)
    yield _gauges(
        "state",
        "The state of the service: 1 for the one it is in.",
        ("state",),
        (((state.value,), state is standing.assessment.state) for state in ServiceHealth),
    )
    yield _gauge("state_since_timestamp_seconds", "When the present state began.", standing.since_ns / 1e9)
    yield _counter("log_lines_dropped", "Lines of the log that nobody took in time.", snapshot.log_dropped)
    yield _gauge("ready", "Whether data is recorded and reaches the store.", not_recording(snapshot) is None)


def _events(snapshot: Snapshot) -> Iterator[Metric]:
    by_stream = [(name.split("/", 1), identity) for name, identity in snapshot.counters.by_stream.items()]
    labels, with_reason = ("exchange", "stream"), ("exchange", "stream", "reason")
    yield _counters("events_received", "Events received.", labels, ((of, i.received) for of, i in by_stream))
    yield _counters("events_written", "Events in files that a manifest names.", labels, ((of, i.written) for of, i in by_stream))
    yield _counters("events_dropped", "Events received and lost.", labels, ((of, i.dropped) for of, i in by_stream))
    yield _counters("events_rejected", "Messages not readable.", labels, ((of, i.rejected) for of, i in by_stream))
    yield _gauges("events_pending", "Events on their way to the store.", labels, ((of, i.pending) for of, i in by_stream))
    yield _counters("events_dropped_by_reason", "Events received and lost, and why.", with_reason, snapshot.drops.items())
    yield _counters("events_rejected_by_reason", "Messages not readable, and why.", with_reason, snapshot.rejects.items())
    yield _gauge("books_balanced", "Whether received = written + dropped + pending + rejected.", snapshot.counters.holds)
    yield _gauge("data_loss_ratio", "Dropped and missed, of what is known to have been sent.", data_loss_pct(snapshot) / 100)
    yield _gauges(
        "events_per_second",
        "Events received per second, of late.",
        ("stream",),
        (((stream,), rate) for stream, rate in snapshot.events_per_sec.items()),
    )
    yield _counter("recovered_rows", "Rows of an earlier process that this one committed.", snapshot.recovered_rows)
    yield _time("last_event_timestamp_seconds", "When the newest data came.", snapshot.last_event_ns)
    yield _gauge("queue_events", "Events in the queue.", snapshot.queued)
    yield _gauge("queue_capacity_events", "Events that the queue can hold.", snapshot.queue_capacity)
    yield _gauge("queue_peak_events", "The most events that were in the queue.", snapshot.queue_peak)
    yield _gauge("queue_utilization_ratio", "How full the queue is.", queue_pct(snapshot) / 100)


def _connections(snapshot: Snapshot) -> Iterator[Metric]:
    labels, with_state = ("exchange", "connection"), ("exchange", "connection", "state")
    connections = [((c.exchange, c.name), c) for c in snapshot.connections]
    yield _gauges("ws_up", "Whether the socket is open.", labels, ((of, c.state in UP) for of, c in connections))
    yield _gauges(
        "ws_state",
        "The state of a connection: 1 for the one it is in.",
        with_state,
        (((*of, state.value), c.state is state) for of, c in connections for state in State),
    )
    yield _gauges("ws_failed_attempts", "Failed attempts in a row.", labels, ((of, c.attempts) for of, c in connections))
    yield _counters("ws_connects", "How often the socket was opened.", labels, ((of, c.connects) for of, c in connections))
    yield _counters("ws_reconnects", "How often it was lost.", labels, ((of, c.reconnects) for of, c in connections))
    yield _counters("ws_frames", "Frames of data received.", labels, ((of, c.frames) for of, c in connections))
    yield _counters("ws_received_bytes", "Bytes received.", labels, ((of, c.received_bytes) for of, c in connections))
    yield _gauges(
        "ws_last_frame_timestamp_seconds",
        "When the newest frame of data came.",
        labels,
        ((of, c.last_frame_ns / 1e9) for of, c in connections if c.last_frame_ns is not None),
    )
    topics = Counter((c.exchange, topic_state(c, topic)) for c in snapshot.connections for topic in c.topics)
    yield _gauges("topics", "What is recorded, by how it does.", ("exchange", "state"), topics.items())
    unknown: Counter[tuple[str]] = Counter()
    for (exchange, _), count in snapshot.unknown.items():
        unknown[(exchange,)] += count  # the kinds are in the JSON: a peer chooses them, which no label should be
    yield _counters("unknown_messages", "Messages of kinds that nobody asked for.", ("exchange",), unknown.items())


def _signals(snapshot: Snapshot) -> Iterator[Metric]:
    signals, by_stream = snapshot.signals, ("exchange", "stream")
    yield _counter("gaps", "Gaps: outages of connections, and holes in numbers outside them.", signals.gaps.total)
    yield _gauge("gaps_15m", "Of these, within 15 minutes.", signals.gaps.last_15m)
    yield _gauge("gaps_open", "Connections that have lost their data and not got it back.", len(signals.gaps.open))
    yield _counters("events_missed", "Events that the exchange numbered and that never came.", by_stream, signals.missed.items())
    yield _counters("numbers_repeated", "Events whose number had passed already.", by_stream, signals.repeated.items())
    yield _counter("silence_intervals", "Times that a topic was silent beyond its exchange's rhythm.", signals.silences.total)
    yield _gauge("silence_intervals_15m", "Of these, within 15 minutes.", signals.silences.last_15m)
    yield _gauge("silences_open", "Topics that are silent now.", len(signals.silences.open))
    yield _counter("mutes", "Times that a topic was found mute.", signals.mutes.total)
    yield _gauge("mutes_open", "Topics that are mute now.", len(signals.mutes.open))
    yield _gauges(
        "stream_mute_since_timestamp_seconds",
        "Since when a topic is mute; for open mutes only.",
        ("exchange", "connection", "stream", "symbol"),
        (((m.exchange, m.connection, m.stream or "", m.symbol or ""), m.since / 1e9) for m in signals.mutes.open[:MAX_MUTES]),
    )


def _writer(snapshot: Snapshot) -> Iterator[Metric]:
    writer = snapshot.writer
    yield _counter("files_written", "Parquet files in the store, named by a manifest.", writer.files_written)
    yield _counter("segments_committed", "Segments whose manifest is in the store.", writer.segments_committed)
    yield _counter("upload_failures", "Uploads that failed; each is tried again.", writer.upload_failures)
    yield _gauge("uploads_in_flight", "Uploads going on.", writer.in_flight_uploads)
    yield _gauge("active_buffers", "Buffers that hold events in memory.", writer.active_buffers)
    yield _gauge("segment_rows", "Rows in the open segment.", writer.segment_rows)
    yield _gauge("segment_bytes", "Bytes of the open segment.", writer.segment_bytes)
    yield _gauge("sealed_segments", "Segments sealed and not yet committed.", writer.sealed_segments)
    yield _gauge("spool_bytes", "Bytes in the spool.", writer.spool_bytes)
    yield _gauges("spool_capacity_bytes", "What the spool may hold.", (), _known(writer.spool_max_bytes))
    yield _gauges("disk_free_bytes", "What the disk of the spool still takes.", (), _known(writer.disk_free))
    yield _gauge("recording_hindered", "Whether the local disk takes no events at present.", writer.obstacle is not None)
    yield _gauge("upload_slots", "How many uploads may go on at once; fewer while the store throttles.", writer.upload_slots)
    yield _gauge("backlog_segments", "Segments encoded and not yet committed.", writer.backlog_segments)
    yield _gauge("backlog_bytes", "Bytes of parts encoded and not yet in the store.", writer.backlog_bytes)
    yield _counter("shipped_bytes", "Bytes of parts that the store has taken.", writer.shipped_bytes)
    yield _gauge("upload_lag_seconds", "Age of the oldest segment that is not in the store; 0: none.", snapshot.upload_lag)
    yield _gauge("shipping_allowed", "Whether this collector may ship as its instance.", writer.shipping_blocked is None)
    yield _gauge("storage_up", "Whether the store takes data, as far as is known.", writer.storage_fault is None)
    yield _time("last_sync_timestamp_seconds", "When events were last made safe on the local disk.", writer.last_sync_ns)
    yield _time("last_commit_timestamp_seconds", "When a segment was last committed.", writer.last_commit_ns)


def _raw_archive(snapshot: Snapshot) -> Iterator[Metric]:
    raw = snapshot.raw_archive
    for word, text in (
        ("received", "Frames that the archive of raw frames was offered."),
        ("archived", "Raw frames in a file, in the spool or in the store."),
        ("dropped", "Raw frames that are in no file; their events are recorded all the same."),
    ):
        rows = (((exchange,), getattr(account, word)) for exchange, account in raw.accounts.items())
        yield _counters(f"raw_frames_{word}", text, ("exchange",), rows)
    yield _gauge("raw_queued_bytes", "Memory of raw frames on their way to a file.", raw.queued_bytes)
    yield _counter("raw_files", "Files of raw frames in the store.", raw.files)
    yield _gauge("raw_kept_files", "Files of raw frames in the spool only.", raw.kept_files)
    yield _gauge("raw_kept_bytes", "Bytes of those.", raw.kept_bytes)
    yield _counter("raw_upload_failures", "Uploads of raw frames that failed.", raw.upload_failures)


# ------------------------------------------------------------------------------------------------------------ families


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"quantlab_{name}", text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"quantlab_{name}", text, value)


def _gauges(name: str, text: str, labels: Sequence[str], rows: Rows) -> Metric:
    return _filled(GaugeMetricFamily(f"quantlab_{name}", text, labels=labels), rows)


def _counters(name: str, text: str, labels: Sequence[str], rows: Rows) -> Metric:
    return _filled(CounterMetricFamily(f"quantlab_{name}", text, labels=labels), rows)


def _time(name: str, text: str, ns: int | None) -> Metric:
    """A moment; no sample as long as there was none."""
    return _gauges(name, text, (), _known(None if ns is None else ns / 1e9))


def _known(value: float | None) -> Rows:
    return [] if value is None else [((), value)]


def _filled(family: GaugeMetricFamily | CounterMetricFamily, rows: Rows) -> Metric:
    for labels, value in rows:
        family.add_metric(labels, value)
    return family
