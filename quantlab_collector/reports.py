"""How plans and recordings are shown to a person, and to a machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import msgspec
from rich import box
from rich.table import Table

from quantlab_collector.contracts.manifest import Downtime, Gap, Loss, Mute, Silence
from quantlab_collector.contracts.masking import mask_text
from quantlab_collector.exchanges.protocol import ConnectionPlan
from quantlab_collector.storage.raw_recording import RawHolding
from quantlab_collector.storage.recording import Summary


def plan_tables(plans: Mapping[str, Iterable[ConnectionPlan]]) -> Iterator[Table]:
    """Connections and what is asked of each."""
    table = _table("plan", "exchange", "connection", "address", "topics", "requests")
    for exchange, connections in plans.items():
        for plan in connections:
            table.add_row(exchange, plan.name, mask_text(plan.url), str(len(plan.topics)), str(len(plan.requests)))
    yield table


def summary_tables(summary: Summary) -> Iterator[Table]:
    """What a recording holds, and what it lacks."""
    holdings = _table("recorded", "exchange", "stream", "symbol", "date", "rows", "parts", "bytes", "first", "last")
    for holding in summary.holdings:
        place = holding.partition
        holdings.add_row(
            *(place.exchange, place.stream.value, place.symbol, place.date),
            *(f"{holding.rows:,}", str(holding.parts), f"{holding.bytes:,}", *map(_clock, holding.ts_recv)),
        )
    holdings.caption = f"{summary.rows:,} rows, {summary.bytes:,} bytes, {summary.manifests} manifests"
    yield holdings
    yield from (table for table in _missing(summary) if table.row_count)
    for title, losses in (("dropped", summary.drops), ("rejected", summary.rejects)):
        if losses:
            yield _losses(title, losses)
    if summary.incomplete:
        incomplete = _table("not sealed in peace", "segment", "what is missing")
        for segment, holes in summary.incomplete:
            incomplete.add_row(segment, "; ".join(holes))
        yield incomplete


def _missing(summary: Summary) -> Iterator[Table]:
    """What did not come, or should have come sooner."""
    place = ("exchange", "connection", "stream", "symbol", "from", "to")
    gaps, mutes = _table("gaps", *place, "missed", "reason"), _table("mutes", *place, "reason")
    silences, downtimes = _table("silences", *place, "expected every"), _table("nobody recorded", "from", "to", "seconds")
    for gap in summary.gaps:
        gaps.add_row(*_place(gap), *_stretch(gap), "?" if gap.missed is None else f"{gap.missed:,}", gap.reason)
    for mute in summary.mutes:
        mutes.add_row(*_place(mute), *_stretch(mute), mute.reason)
    for silence in summary.silences:
        silences.add_row(*_place(silence), *_stretch(silence), f"{silence.expected:g} s")
    for down in summary.downtimes:
        downtimes.add_row(*_stretch(down), f"{(down.to - down.since) / 1e9:,.1f}")
    yield from (gaps, mutes, silences, downtimes)


def raw_tables(holdings: Iterable[RawHolding]) -> Iterator[Table]:
    """What the archive of raw frames holds, where there is one."""
    table = _table("raw frames", "exchange", "files", "frames", "dropped", "bytes", "first", "last")
    for held in holdings:
        counts = (held.files, held.frames, held.dropped, held.bytes)
        table.add_row(held.exchange, *(f"{count:,}" for count in counts), *map(_clock, held.ts_recv))
    if table.row_count:
        yield table


def summary_as_json(summary: Summary, problems: list[str], *, verified: bool, raw: Iterable[RawHolding] = ()) -> dict[str, Any]:
    """The same for machines."""
    return {
        "rows": summary.rows,
        "bytes": summary.bytes,
        "manifests": summary.manifests,
        "holdings": [
            {
                "exchange": holding.partition.exchange,
                "stream": holding.partition.stream.value,
                "symbol": holding.partition.symbol,
                "date": holding.partition.date,
                "rows": holding.rows,
                "parts": holding.parts,
                "bytes": holding.bytes,
                "ts_recv": list(holding.ts_recv),
            }
            for holding in summary.holdings
        ],
        "gaps": msgspec.to_builtins(summary.gaps),
        "mutes": msgspec.to_builtins(summary.mutes),
        "silences": msgspec.to_builtins(summary.silences),
        "downtimes": msgspec.to_builtins(summary.downtimes),
        "drops": msgspec.to_builtins(summary.drops),
        "rejects": msgspec.to_builtins(summary.rejects),
        "incomplete": [{"segment": segment, "holes": list(holes)} for segment, holes in summary.incomplete],
        "raw_archive": [attrs.asdict(held) for held in raw],
        "verified": verified,
        "problems": problems,
    }


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left", caption_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _place(trouble: Gap | Mute | Silence) -> tuple[str, str, str, str]:
    return (trouble.exchange, trouble.connection, trouble.stream or "all", trouble.symbol or "all")


def _stretch(trouble: Gap | Mute | Silence | Downtime) -> tuple[str, str]:
    return (_clock(trouble.since), "not ended" if trouble.to is None else _clock(trouble.to))


def _losses(title: str, losses: Iterable[Loss]) -> Table:
    table = _table(title, "exchange", "stream", "reason", "events")
    for loss in losses:
        table.add_row(loss.exchange, loss.stream or "?", loss.reason, f"{loss.count:,}")
    return table


def _clock(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns / 1e9, UTC).strftime("%H:%M:%S.%f")[:-3]
