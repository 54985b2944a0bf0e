"""Figures for people and for programs."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import attrs
from measure import Sample, events_of
from receivers import REFERENCE, ROWS


@attrs.frozen
class Result:
    """Some runs of one row over one transport."""

    row: str
    transport: str
    rate: float | None
    samples: list[Sample]

    @property
    def middle(self) -> Sample:
        """The run with the median of CPU."""
        return sorted(self.samples, key=per_message)[len(self.samples) // 2]


def per_message(sample: Sample) -> float:
    """CPU in µs."""
    return sample.cpu / sample.messages * 1e6


def ratio(result: Result, results: list[Result]) -> float | None:
    """CPU per message, to that of trio-websocket over the same transport and at the same rate."""
    for reference in results:
        if (reference.row, reference.transport, reference.rate) == (REFERENCE, result.transport, result.rate):
            return per_message(result.middle) / per_message(reference.middle)
    return None


HEADER = ("", "", "messages", "messages/s", "µs/message", "from – to", "µs/event", "ratio", "dropped", "RSS MB", "feed busy")


def text(results: list[Result]) -> str:
    """The table."""
    lines = [HEADER, *(_line(result, results) for result in results)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    columns, first_number = range(len(HEADER)), HEADER.index("messages")
    return "\n".join(
        "  ".join(line[at].ljust(widths[at]) if at < first_number else line[at].rjust(widths[at]) for at in columns)
        for line in lines
    )


def _line(result: Result, results: list[Result]) -> tuple[str, ...]:
    sample = result.middle
    costs = [per_message(sample) for sample in result.samples]
    to_reference = ratio(result, results)
    stores = result.row.startswith("service")
    return (
        ROWS[result.row].title + (f", {result.rate:,.0f}/s" if result.rate else ""),
        result.transport,
        f"{sample.messages:,}",
        f"{sample.messages / sample.seconds:,.0f}",
        f"{per_message(sample):.2f}",
        f"{min(costs):.2f} – {max(costs):.2f}",
        f"{sample.cpu / events_of(sample.messages) * 1e6:.2f}" if stores else "",
        "" if to_reference is None else f"{to_reference:.3f}",
        f"{max(sample.lost for sample in result.samples):,}" if stores else "",
        f"{max(sample.rss_mb for sample in result.samples):,.0f}",
        f"{sample.feed_busy:.0%}",
    )


def plain(results: list[Result], settings: dict) -> dict:
    """The same as JSON."""
    return {
        "settings": settings,
        "machine": {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("trio", "trio-websocket", "websockets", "msgspec", "pyarrow")},
        "results": [
            {
                "row": result.row,
                "transport": result.transport,
                "rate": result.rate,
                "us_per_message": per_message(result.middle),
                "ratio": ratio(result, results),
                "dropped": max(sample.lost for sample in result.samples),
                "samples": [attrs.asdict(sample) for sample in result.samples],
            }
            for result in results
        ],
    }
