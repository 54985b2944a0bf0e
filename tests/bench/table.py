"""Figures for people and for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version

import attrs
from receivers import ROWS, SERVICE
from results import Result

HEADER = (
    "receiver", "exchange", "line", "events/s", "µs/message", "from – to", "µs/event", "service ÷ this", "RSS MB",
    "bytes/event", "files", "mean kB", "synced p50 s", "synced p99 s", "loop p99.9 ms", "dropped", "feed busy",
)  # fmt: skip
WORDS = 3
"""So many columns are words; the others are numbers."""

Line = Sequence[str]


def rows(results: list[Result]) -> list[Line]:
    """The table of a comparison."""
    return [HEADER, *(_line(result, results) for result in results)]


def text(lines: Sequence[Line], words: int = WORDS) -> str:
    """A table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def markdown(lines: Sequence[Line], words: int = WORDS) -> str:
    """The same for a page."""
    header, *rest = lines
    rule = ["---" if at < words else "---:" for at in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rest))


def _line(result: Result, results: list[Result]) -> Line:
    sample = result.middle
    costs = [each.per_message for each in result.samples]
    service = result.beside(SERVICE, results)
    files, seen = sample.files, sample.seen
    return (
        ROWS[result.row].title + (f", {result.rate:,.0f}/s" if result.rate else ""),
        result.exchange,
        result.transport,
        f"{sample.events / sample.seconds:,.0f}",
        f"{sample.per_message:.2f}",
        f"{min(costs):.2f} – {max(costs):.2f}",
        f"{sample.per_event:.2f}",
        "" if service in (None, result) else f"{service.middle.per_message / sample.per_message:.2f}",
        f"{max(each.rss_mb for each in result.samples):,.0f}",
        f"{files.bytes / sample.events:.1f}" if files.count else "",
        f"{files.count:,}" if files.count else "",
        f"{files.mean_bytes / 1e3:,.0f}" if files.count else "",
        *(_seconds(seen and seen.to_sync.quantile(share)) for share in (0.5, 0.99)),
        _seconds(seen and seen.loop_lag.quantile(0.999), 1e3),
        f"{result.lost:,}" if seen else "",
        f"{sample.feed_busy:.0%}",
    )


def _seconds(value: float | None, unit: float = 1.0) -> str:
    return "" if value is None else f"≤ {value * unit:g}"


def plain(results: list[Result], settings: dict) -> dict:
    """The same as JSON."""
    return {
        "settings": {
            name: value if isinstance(value, int | float | list | None) else str(value) for name, value in settings.items()
        },
        "machine": machine(),
        "results": [
            {
                **attrs.asdict(result, filter=attrs.filters.exclude("samples")),
                "us_per_message": result.middle.per_message,
                "us_per_event": result.middle.per_event,
                "samples": [attrs.asdict(sample) for sample in result.samples],
            }
            for result in results
        ],
    }


def machine() -> dict[str, object]:
    """Where it was measured."""
    names = ("trio", "msgspec", "pyarrow")
    return {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }
