"""How long events are under way, for readers: as Prometheus histograms, and as a few figures in JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from quantlab_collector.runtime.histograms import Distribution
from quantlab_collector.runtime.latencies import Place
from quantlab_collector.runtime.state import Snapshot

Rows: TypeAlias = Iterable[tuple[Sequence[str], Distribution]]


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """For Prometheus."""
    of = snapshot.latencies
    place = ("exchange", "stream")
    yield _histogram(
        "event_transit_seconds",
        "From the exchange's time of an event to receiving it, newest of a burst.",
        place,
        of.transit.items(),
    )
    yield _histogram(
        "event_sync_seconds",
        "From receiving an event to having it on the local disk, oldest of a batch.",
        place,
        of.to_sync.items(),
    )
    yield _histogram(
        "event_commit_seconds", "From receiving an event to its manifest, oldest of a segment.", (), [((), of.to_commit)]
    )
    yield _histogram("loop_lag_seconds", "How late the event loop came back to a task that was due.", (), [((), of.loop_lag)])
    yield GaugeMetricFamily(
        "quantlab_queue_age_seconds", "Age of the oldest event that is in memory only; 0: none.", snapshot.queue_age
    )
    least = GaugeMetricFamily(
        "quantlab_event_transit_least_seconds",
        "The shortest transit of the last one to two minutes. Below zero: our clock is behind.",
        labels=("exchange",),
    )
    for exchange, seconds in of.least_transit.items():
        least.add_metric((exchange,), seconds)
    yield least


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """For ``/metrics``; seconds. A quantile is the bound of a bucket, and null beyond the last one."""
    of = snapshot.latencies
    return {
        "transit": _by_place(of.transit),
        "transit_least": {exchange: round(seconds, 6) for exchange, seconds in of.least_transit.items()},
        "to_sync": _by_place(of.to_sync),
        "to_commit": _figures(of.to_commit),
        "loop_lag": _figures(of.loop_lag),
        "queue_age": round(snapshot.queue_age, 3),
    }


def _histogram(name: str, text: str, labels: Sequence[str], rows: Rows) -> Metric:
    family = HistogramMetricFamily(f"quantlab_{name}", text, labels=labels)
    for values, distribution in rows:
        bounds = (*map(floatToGoString, distribution.bounds), "+Inf")
        family.add_metric(values, list(zip(bounds, distribution.cumulative, strict=True)), sum_value=distribution.sum)
    return family


def _by_place(distributions: Mapping[Place, Distribution]) -> dict[str, Any]:
    return {f"{exchange}/{stream}": _figures(distribution) for (exchange, stream), distribution in distributions.items()}


def _figures(distribution: Distribution) -> dict[str, Any]:
    return {
        "count": distribution.count,
        "sum": round(distribution.sum, 6),
        "p50": distribution.quantile(0.5),
        "p99": distribution.quantile(0.99),
        "p999": distribution.quantile(0.999),
    }
