"""The service alone, for longer: at a steady load, with ever more symbols, and for many minutes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import attrs
import table
from compare import SLOWER, TRIES, tell
from measure import Feed, Load, Sample, feed, run
from receivers import Receiver, collector
from results import PLAIN
from verdict import Figure, cost_of_whole_segments, growth, quantile, steadiness, sustained, whole_segments
from watching import PAGES, Look, Onlooker

from quantlab_collector.writer.options import FlushOptions
from quantlab_collector.writer.sealing import first_latest

SHARE = 0.6
"""Of the highest rate, for a steady load."""
SYMBOLS = (10, 150, 1500)
GROWTH_RATE = 40_000
"""Messages a second that are comfortable also with all symbols."""
BUNCH = 20
"""Messages that come at once on one connection, however many connections there are."""
STREAMS = 4
"""Of Binance, each a file for each symbol in each segment."""
SHIPPED_WITHIN = 30
"""Seconds from the end of a segment to its manifest, at most."""
TENTHS = 10


@attrs.frozen
class Report:
    """A table, and figures with targets."""

    title: str
    lines: list[table.Line]
    figures: list[Figure]
    words: int = 1
    """So many columns are words; the others are numbers."""


def sustain(options: argparse.Namespace) -> Report:
    """A share of the highest rate for a while, and how it feels to look at the service meanwhile."""
    symbols = options.symbols or 150
    with feed("binance", symbols) as source:
        highest = _highest_rate(source, options)
        rate = options.rate or highest * SHARE
        tell(f"highest rate: {highest:,.0f} messages/s; now {rate:,.0f}/s for {options.sustained} s")
        watched = collector(watch=partial(Onlooker, every=0.1, pages=PAGES))
        sample = _play(watched, source, rate, options.sustained, options)
    lines = [
        ("", "figure"),
        ("symbols", f"{symbols}"),
        ("highest rate without drops", f"{highest:,.0f} messages/s"),
        ("played", f"{sample.messages / sample.read_within:,.0f} messages/s for {sample.read_within:.0f} s"),
        ("CPU", f"{sample.per_event:.2f} µs/event, {sample.cpu / sample.seconds:.0%} of a core"),
        ("receive → synced, p50 / p99", " / ".join(_bound(sample.seen.to_sync.quantile(share)) for share in (0.5, 0.99))),
        (
            "files",
            f"{sample.files.count:,}, {sample.files.mean_bytes / 1e3:,.0f} kB on average, {_files_per_hour(sample):,.0f} an hour",
        ),
        ("bytes an event", f"{sample.files.bytes / sample.events:.1f}"),
        ("RSS by tenths of the run, MB", " ".join(f"{_mean(part, 'rss_mb'):.0f}" for part in _parts(sample.seen.looks, TENTHS))),
        *((f"{page}, p50 / p99 / longest", _latencies(sample.seen.answer_times(page))) for page in PAGES),
    ]
    return Report(f"{options.sustained} s at {SHARE:.0%} of the highest rate", lines, list(sustained(sample)), words=2)


def grow(options: argparse.Namespace) -> Report:
    """The same rate with ever more symbols, each for so long that a segment is filled, encoded and shipped as in a run of days."""
    rate = options.rate or GROWTH_RATE
    samples = {}
    for symbols in SYMBOLS:
        seconds = max(options.growth, _two_segments(symbols * STREAMS, rate))
        tell(f"{symbols} symbols at {rate:,.0f}/s for {seconds:,.0f} s")
        with feed("binance", symbols) as source:
            watched = collector(watch=partial(Onlooker, every=1.0))
            samples[symbols] = _play(watched, source, rate, seconds, options, bunch=BUNCH)
    header = (
        "symbols",
        "seconds",
        "segments",
        "µs/event",
        "start and stop too",
        "RSS MB",
        "files",
        "mean kB",
        "files/hour",
        "bytes/event",
        "synced p99 s",
        "loop p99.9 ms",
        "dropped",
    )
    lines = [
        header,
        *(
            (
                f"{symbols:,}",
                f"{sample.read_within:,.0f}",
                f"{sample.seen.looks[-1].commits}",
                f"{cost_of_whole_segments(sample):.2f}",
                f"{sample.per_event:.2f}",
                f"{sample.rss_mb:.0f}",
                f"{sample.files.count:,}",
                f"{sample.files.mean_bytes / 1e3:.1f}",
                f"{_files_per_hour_in_between(sample, symbols * STREAMS):,.0f}",
                f"{sample.files.bytes / sample.events:.1f}",
                _bound(sample.seen.to_sync.quantile(0.99)),
                _bound(sample.seen.loop_lag.quantile(0.999), 1e3),
                f"{sample.lost:,}",
            )
            for symbols, sample in samples.items()
        ),
    ]
    return Report(f"{rate:,.0f} messages/s, {BUNCH} at once on one connection", lines, list(growth(samples)))


def _two_segments(parts: int, rate: float) -> float:
    """Seconds until the second segment of a run is committed."""
    options = FlushOptions()
    filling = min(options.part_rows * parts / rate, options.max_interval)
    return first_latest(options, parts, 1.0) + max(filling, options.interval) + SHIPPED_WITHIN


def last(options: argparse.Namespace) -> Report:
    """One long run, by tenths of its length."""
    symbols, rate = options.symbols or 50, options.rate or 20_000
    seconds = options.minutes * 60
    with feed("binance", symbols) as source:
        watched = collector(watch=partial(Onlooker, every=min(5.0, seconds / 100)))
        sample = _play(watched, source, rate, seconds, options)
    parts = _parts(sample.seen.looks, TENTHS)
    events = sample.events / sample.read_within
    lines = [
        ("tenth", "µs/event", "RSS MB", "open files", "spool MB"),
        *(
            (
                f"{number}",
                f"{_cpu(part) / events * 1e6:.2f}",
                f"{_mean(part, 'rss_mb'):.0f}",
                f"{max(look.open_files for look in part)}",
                f"{max(look.spool_bytes for look in part) / 1e6:.0f}",
            )
            for number, part in enumerate(parts, start=1)
        ),
    ]
    return Report(f"{options.minutes:g} min, {symbols} symbols at {rate:,.0f} messages/s", lines, list(steadiness(sample)))


def _play(
    receiver: Receiver, source: Feed, rate: float, seconds: float, options: argparse.Namespace, bunch: int | None = None
) -> Sample:
    return run(receiver, source, PLAIN, Load(int(rate * seconds), rate, bunch), options.folder)


def _highest_rate(source: Feed, options: argparse.Namespace) -> float:
    """What the service takes and stores without dropping anything, in messages a second."""
    rate = None
    for _ in range(TRIES):
        tell(f"looking for the highest rate: {f'{rate:,.0f}/s' if rate else 'as fast as it is read'}")
        sample = run(collector(), source, PLAIN, Load(options.messages * 2, rate), options.folder)
        taken = sample.messages / sample.seconds
        if not sample.lost:
            return taken
        rate = taken * SLOWER
    raise RuntimeError("it drops events at every rate")


def _parts(looks: list[Look], count: int) -> list[list[Look]]:
    """As many equal parts; each begins with the look that ends the one before."""
    size = (len(looks) - 1) // count
    return [looks[at * size : (at + 1) * size + 1] for at in range(count)]


def _cpu(looks: list[Look]) -> float:
    """CPU seconds a second."""
    return (looks[-1].cpu - looks[0].cpu) / (looks[-1].at - looks[0].at)


def _mean(looks: list[Look], name: str) -> float:
    return sum(getattr(look, name) for look in looks) / len(looks)


def _files_per_hour(sample: Sample) -> float:
    return sample.files.count / sample.seconds * 3600


def _files_per_hour_in_between(sample: Sample, parts: int) -> float:
    """Without the first segment, which is a short one, and the last one, which the stop ends."""
    first, last = whole_segments(sample.seen.looks)
    return parts * (last.commits - first.commits) / (last.at - first.at) * 3600


def _bound(value: float | None, unit: float = 1.0) -> str:
    return "?" if value is None else f"≤ {value * unit:g}"


def _latencies(seconds: list[float]) -> str:
    return " / ".join(f"{quantile(seconds, share) * 1e3:.1f}" for share in (0.5, 0.99, 1.0)) + " ms"


MODES: dict[str, Callable[[argparse.Namespace], Report]] = {"sustained": sustain, "growth": grow, "minutes": last}
