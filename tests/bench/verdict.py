"""The figures that are to be reached, next to those that were measured. All are of one run on one machine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import attrs
from measure import Sample, Wrong
from receivers import BARE, BARE_RAW, CRYPTOFEED, PICOWS, SERVICE, TRIO
from results import PLAIN, TLS, Result, find
from watching import PAGES, Look

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.runtime.histograms import Distribution

PEERS = (
    (PLAIN, BARE_RAW, 1.0),
    (PLAIN, BARE, 1.0),
    (PLAIN, CRYPTOFEED, 0.33),
    (PLAIN, TRIO, 0.17),
    (PLAIN, PICOWS, 3.2),
    (TLS, PICOWS, 2.8),
    (TLS, CRYPTOFEED, 0.4),
)
"""CPU per message of the whole service, to that of others: over which line, of whom, at most."""
OTHER_EXCHANGES = 1.4
"""CPU per event of Bybit and OKX, to that of Binance, at most."""


@attrs.frozen
class Figure:
    """One figure. It is kept when it is not above its target; what was not measured says why."""

    text: str
    value: float | None
    target: float
    unit: str = "×"
    why_not: str = "not measured"

    @property
    def kept(self) -> bool | None:
        return None if self.value is None else self.value <= self.target

    @property
    def line(self) -> str:
        if self.value is None:
            return f"{self.text}: {self.why_not} (target ≤ {self.target:g} {self.unit})"
        return f"{self.text}: {self.value:.4g} {self.unit}, target ≤ {self.target:g} {self.unit}: {'kept' if self.kept else 'MISSED'}"


def comparison(results: list[Result], missing: dict[str, str]) -> Iterator[Figure]:
    """What one table says. ``missing`` tells of rows that could not be measured why."""
    for transport, row, target in PEERS:
        service = find(results, SERVICE, "binance", transport)
        other = service and service.beside(row, results)
        value = service.middle.per_message / other.middle.per_message if service and other else None
        yield Figure(f"{transport}, a message, the service to {row}", value, target, why_not=missing.get(row, "not measured"))
    binance = find(results, SERVICE, "binance", PLAIN)
    for exchange in ("bybit", "okx"):
        other = find(results, SERVICE, exchange, PLAIN)
        value = other.middle.per_event / binance.middle.per_event if binance and other else None
        yield Figure(f"plain, an event, {exchange} to binance", value, OTHER_EXCHANGES)


BYTES = {StreamType.BBO: 0.45, StreamType.TRADE: 0.6}
"""Of all recordings together, to those of the Parquet writer's defaults, at most."""


def sizes(ratios: Mapping[StreamType, float]) -> Iterator[Figure]:
    """What events take on the disk."""
    for stream, target in BYTES.items():
        yield Figure(f"bytes, {stream.value}, all recordings together", ratios.get(stream), target)


# ------------------------------------------------------------------------------------------------- of the service alone

STALL, SYNCED, RSS, ANSWER = 0.05, 1.2, 300.0, 0.020
"""Seconds that the loop may be late at p99.9, and receive → synced take at p99; MB of memory; seconds of an answer at p99."""
GROWN = 1.25
"""CPU per event with 1,500 symbols, to that with ten, at most."""
FLAT = 1.1
"""The last third of a run, to the first, at most; and of memory half to half."""
SETTLED = 60.0
"""Seconds after which the first segment is sealed, at the latest, with as few symbols as are judged here."""


def sustained(sample: Sample) -> Iterator[Figure]:
    """A steady load."""
    yield Figure("dropped", sample.lost, 0, "events")
    yield _latency("loop stall p99.9", sample.seen.loop_lag, 0.999, STALL)
    yield _latency("receive → synced p99", sample.seen.to_sync, 0.99, SYNCED)
    yield Figure("RSS at its highest", sample.rss_mb, RSS, "MB")
    yield _growth_of_memory(sample.seen.looks)
    for page in PAGES:
        times = sample.seen.answer_times(page)
        yield Figure(f"{page} p99", quantile(times, 0.99) * 1e3 if times else None, ANSWER * 1e3, "ms")


def whole_segments(looks: Sequence[Look]) -> tuple[Look, Look]:
    """From one commit to a later one, as far apart as there are: in between is just what the same number of segments takes."""
    commits = [after for before, after in pairwise(looks) if after.commits > before.commits]
    if len(commits) < 2:
        raise Wrong("fewer than two segments were committed: it did not last long enough")
    return commits[0], commits[-1]


def cost_of_whole_segments(sample: Sample) -> float:
    """CPU of an event in µs, without the short first segment and the one that the stop ends: as in a run of days."""
    first, last = whole_segments(sample.seen.looks)
    return (last.cpu - first.cpu) / (last.at - first.at) / (sample.events / sample.read_within) * 1e6


def growth(samples: dict[int, Sample]) -> Iterator[Figure]:
    """More symbols at the same rate."""
    fewest, most = min(samples), max(samples)
    ratio = cost_of_whole_segments(samples[most]) / cost_of_whole_segments(samples[fewest])
    yield Figure(f"an event of whole segments, {most:,} symbols to {fewest:,}", ratio, GROWN)
    yield Figure("dropped", sum(sample.lost for sample in samples.values()), 0, "events")


def steadiness(sample: Sample) -> Iterator[Figure]:
    """Many minutes."""
    looks = sample.seen.looks
    yield Figure("dropped", sample.lost, 0, "events")
    yield _growth_of_memory(looks)
    yield Figure(
        "CPU of the last third to the first", _flatness([after.cpu - before.cpu for before, after in pairwise(looks)]), FLAT
    )
    yield Figure("open files of the last third to the first", _flatness([look.open_files for look in looks]), FLAT)


def quantile(ordered: list[float], share: float) -> float:
    """The smallest value that this share of them does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _latency(text: str, seen: Distribution, share: float, target: float) -> Figure:
    """In ms. Beyond the last bound nothing is known but that it is too long."""
    value = seen.quantile(share)
    return Figure(text, math.inf if value is None else value * 1e3, target * 1e3, "ms")


def _growth_of_memory(looks: Sequence[Look]) -> Figure:
    """Until the first segment has become Parquet, nothing of what that takes is in memory."""
    settled = [look.rss_mb for look in looks if look.at - looks[0].at >= SETTLED]
    half = len(settled) // 2
    value = sum(settled[-half:]) / sum(settled[:half]) if half else None
    return Figure("RSS of the second half to the first, from the second minute on", value, FLAT, why_not="too short a run")


def _flatness(values: Sequence[float]) -> float:
    third = len(values) // 3
    return sum(values[-third:]) / sum(values[:third])
