"""Prometheus and JSON tell the same numbers."""

from __future__ import annotations

import attrs
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from quantlab_collector.runtime.health import Health, Standing
from quantlab_collector.runtime.state import ServiceState, Snapshot
from quantlab_collector.status import prometheus, views
from quantlab_collector.status.accept import Form, wanted_form


@attrs.frozen
class Scrape:
    """What a scrape gave: sample name and labels, and the value."""

    values: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def __call__(self, name: str, **labels: str) -> float:
        return self.values[f"quantlab_{name}", frozenset(labels.items())]

    def total(self, name: str) -> float:
        return sum(value for (sample, _), value in self.values.items() if sample == f"quantlab_{name}")


def scrape(text: bytes, read=read_text) -> Scrape:
    samples = [sample for family in read(text.decode()) for sample in family.samples]
    return Scrape({(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples})


@pytest.fixture(params=["text", "openmetrics"])
def scraped(request, snapshot: Snapshot, standing: Standing) -> Scrape:
    if request.param == "text":
        return scrape(prometheus.as_text(snapshot, standing))
    return scrape(prometheus.as_openmetrics(snapshot, standing), read_openmetrics)


def test_the_books(scraped: Scrape, snapshot: Snapshot) -> None:
    json = views.metrics(snapshot)

    for name, identity in json["by_stream"].items():
        exchange, stream = name.split("/")
        for term in ("received", "written", "dropped", "rejected"):
            assert scraped(f"events_{term}_total", exchange=exchange, stream=stream) == identity[term]
        assert scraped("events_pending", exchange=exchange, stream=stream) == identity["pending"]
    for term in ("received", "written", "dropped", "rejected"):
        assert scraped.total(f"events_{term}_total") == json["identity"][term]
    assert scraped("books_balanced") == json["identity"]["holds"]
    assert scraped("data_loss_ratio") * 100 == pytest.approx(json["effective_data_loss_rate_pct"])
    assert scraped("recovered_rows_total") == json["recovered_rows"]


def test_the_reasons(scraped: Scrape, snapshot: Snapshot) -> None:
    json = views.metrics(snapshot)

    for word in ("dropped", "rejected"):
        for name, reasons in json[f"{word}_by_reason"].items():
            exchange, stream = name.split("/")
            for reason, count in reasons.items():
                assert scraped(f"events_{word}_by_reason_total", exchange=exchange, stream=stream, reason=reason) == count
        assert scraped.total(f"events_{word}_by_reason_total") == json["identity"][word]
    assert scraped("unknown_messages_total", exchange="okx") == sum(json["unknown_messages"]["okx"].values())


def test_the_queue_and_the_process(scraped: Scrape, snapshot: Snapshot) -> None:
    json = views.metrics(snapshot)

    assert scraped("queue_events") == json["queue_size"]
    assert scraped("queue_capacity_events") == json["queue_maxsize"]
    assert scraped("queue_peak_events") == json["queue_peak"]
    assert scraped("queue_utilization_ratio") * 100 == json["queue_utilization_pct"]
    assert {stream: scraped("events_per_second", stream=stream) for stream in json["events_per_sec"]} == json["events_per_sec"]
    assert scraped("resident_memory_bytes") == 91_234_567
    assert scraped("log_lines_dropped_total") == json["log_lines_dropped_total"]
    assert scraped("uptime_seconds") == pytest.approx(views.health(snapshot)["uptime"], abs=0.01)
    assert scraped("last_event_timestamp_seconds") == views.health(snapshot)["last_event_ts"] / 1000
    assert scraped("collector_info", version="0.1.0", instance="a") == 1


def test_the_writer(scraped: Scrape, snapshot: Snapshot) -> None:
    writer = views.metrics(snapshot)["writer"]

    assert scraped.total("events_written_total") == writer["total_written"]
    assert scraped.total("events_pending") == writer["pending_events"]
    assert scraped("files_written_total") == writer["files_written"]
    assert scraped("segments_committed_total") == writer["segments_committed"]
    assert scraped("upload_failures_total") == writer["upload_failures"]
    assert scraped("uploads_in_flight") == writer["in_flight_uploads"]
    for name in ("active_buffers", "sealed_segments", "segment_rows", "segment_bytes", "spool_bytes"):
        assert scraped(name) == writer[name]
    for name in ("upload_slots", "backlog_segments", "backlog_bytes"):
        assert scraped(name) == writer[name]
    assert scraped("shipped_bytes_total") == writer["shipped_bytes"]
    assert scraped("upload_lag_seconds") == pytest.approx(writer["upload_lag"], abs=0.1)
    assert scraped("shipping_allowed") == 1
    assert scraped("storage_up") == 1
    assert scraped("last_sync_timestamp_seconds") == views.health(snapshot)["last_write_ts"] / 1000
    assert scraped("last_commit_timestamp_seconds") == views.health(snapshot)["last_commit_ts"] / 1000


def test_how_long_events_are_under_way(scraped: Scrape, snapshot: Snapshot) -> None:
    json = views.metrics(snapshot)["latencies"]
    of = {"exchange": "okx", "stream": "trade"}
    for name, labels, figures in (
        ("event_transit", of, json["transit"]["okx/trade"]),
        ("event_sync", of, json["to_sync"]["okx/trade"]),
        ("event_commit", {}, json["to_commit"]),
        ("loop_lag", {}, json["loop_lag"]),
    ):
        assert scraped(f"{name}_seconds_count", **labels) == figures["count"]
        assert scraped(f"{name}_seconds_sum", **labels) == figures["sum"]
        assert scraped(f"{name}_seconds_bucket", **labels, le=str(figures["p50"])) >= figures["count"] / 2
        assert scraped(f"{name}_seconds_bucket", **labels, le="+Inf") == figures["count"]
    assert scraped("queue_age_seconds") == pytest.approx(json["queue_age"])
    assert scraped("event_transit_least_seconds", exchange="okx") == json["transit_least"]["okx"]


def test_the_local_disk(scraped: Scrape) -> None:
    assert scraped("spool_capacity_bytes") == 20_000
    assert scraped("disk_free_bytes") == 700_000
    assert scraped("recording_hindered") == 0


def test_the_archive_of_raw_frames(scraped: Scrape, snapshot: Snapshot, empty: Snapshot) -> None:
    raw = views.metrics(snapshot)["raw_archive"]
    for word, count in raw["frames"]["binance"].items():
        assert scraped(f"raw_frames_{word}_total", exchange="binance") == count
    for name in ("queued_bytes", "files_total", "kept_files", "kept_bytes", "upload_failures_total"):
        assert scraped(f"raw_{name}") == raw[name.removesuffix("_total")]
    # Zeros of something that is off would look like good news.
    assert not [name for name, _ in scrape(prometheus.as_text(empty, Health(0).standing)).values if "_raw_" in name]


def test_the_connections(scraped: Scrape, snapshot: Snapshot) -> None:
    json = views.metrics(snapshot)
    for connection in views.collectors(snapshot)["collectors"]:
        of = {"exchange": connection["exchange"], "connection": connection["connection"]}
        assert scraped("ws_reconnects_total", **of) == json["ws_reconnect_total"][of["exchange"]]
        assert scraped("ws_connects_total", **of) == connection["connects"]
        assert scraped("ws_failed_attempts", **of) == connection["attempts"]
        assert scraped("ws_frames_total", **of) == connection["frames"]
        assert scraped("ws_received_bytes_total", **of) == connection["received_bytes"]
        assert scraped("ws_last_frame_timestamp_seconds", **of) == connection["last_message_ts"] / 1000
        assert scraped("ws_state", **of, state=connection["state"]) == 1
    assert scraped.total("ws_state") == 2
    assert scraped.total("ws_up") == 1
    assert scraped("topics", exchange="binance", state="live") == 1


def test_the_state(scraped: Scrape, snapshot: Snapshot, standing: Standing) -> None:
    assert scraped("state", state=views.status(snapshot, standing)["state"]) == 1
    assert scraped.total("state") == 1
    assert scraped("state_since_timestamp_seconds") == pytest.approx(standing.since_ns / 1e9)
    assert scraped("ready") == 1


def test_what_never_happened_has_no_time(empty: Snapshot) -> None:
    scraped = scrape(prometheus.as_text(empty, Health(0).standing))

    for name in ("last_event", "last_sync", "last_commit"):
        assert (f"quantlab_{name}_timestamp_seconds", frozenset()) not in scraped.values
    assert scraped("ready") == 0


def test_names_follow_the_conventions(snapshot: Snapshot, standing: Standing) -> None:
    families = list(read_text(prometheus.as_text(snapshot, standing).decode()))

    assert all(family.name.startswith("quantlab_") for family in families)
    assert all(family.documentation for family in families)
    for family in families:
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name


def test_nothing_of_another_scrape_or_library_is_in_it(snapshot: Snapshot, standing: Standing) -> None:
    assert prometheus.as_text(snapshot, standing) == prometheus.as_text(snapshot, standing)
    assert b"python_info" not in prometheus.as_text(snapshot, standing)


def test_labels_are_escaped(state: ServiceState, standing: Standing) -> None:
    state.books.reject("okx", None, 'a "strange"\nreason\\')

    scraped = scrape(prometheus.as_text(state.snapshot(0.0), standing))

    assert scraped("events_rejected_by_reason_total", exchange="okx", stream="unreadable", reason='a "strange"\nreason\\') == 1


PROMETHEUS_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_2_OLD = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6," + PROMETHEUS_3
)
CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (PROMETHEUS_2, Form.OPENMETRICS),
        (PROMETHEUS_2_OLD, Form.TEXT),
        (PROMETHEUS_3, Form.OPENMETRICS),
        (PROMETHEUS_PROTOBUF, Form.OPENMETRICS),
        ("text/plain", Form.TEXT),
        ("text/plain;version=0.0.4", Form.TEXT),
        ("text/*", Form.TEXT),
        ("TEXT/PLAIN; Q=0.5", Form.TEXT),
        ("text/plain, */*", Form.TEXT),
        ("application/openmetrics-text", Form.OPENMETRICS),
        ("", Form.JSON),
        ("*/*", Form.JSON),
        ("application/json", Form.JSON),
        ("application/*", Form.JSON),
        ("application/json, text/plain, */*", Form.JSON),
        ("application/json;q=0.4, text/plain;q=0.5", Form.TEXT),
        ("text/plain;q=0.1, */*", Form.JSON),
        ("text/plain;q=0", Form.JSON),
        ("application/json;q=0, */*", Form.OPENMETRICS),
        ("text/html", Form.JSON),
        (CHROMIUM, Form.JSON),
        ("text/plain;q=much", Form.JSON),
        (";;;,,,=;q", Form.JSON),
        ("text/plain;q=nan", Form.JSON),
    ],
)
def test_which_form_a_client_wants(accept: str, form: Form) -> None:
    assert wanted_form(accept) is form
