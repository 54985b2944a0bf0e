"""Reading a recording: what the manifests say it holds, and whether that is so.

Only manifests are believed. What lies in the store and is named by none does not exist for a careful reader; it is mentioned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

import attrs
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from quantlab_collector.contracts.layout import MANIFESTS, Partition, parse_manifest_key, parse_part_key
from quantlab_collector.contracts.manifest import Downtime, Gap, Loss, Manifest, Mute, Part, Previous, Silence, decode_manifest
from quantlab_collector.contracts.schemas import RAW
from quantlab_collector.storage.intact import get_intact
from quantlab_collector.storage.objects import Objects

READERS: Final = 8
"""Objects that are read at the same time."""

_PARTS: Final = "exchange="
_Item = TypeVar("_Item")
_Seen = TypeVar("_Seen")
_Trouble = TypeVar("_Trouble", Gap, Mute, Silence)


@attrs.frozen
class Committed:
    """A manifest in the store."""

    key: str
    data: bytes
    manifest: Manifest


@attrs.frozen
class Holding:
    """What a recording has of one partition."""

    partition: Partition
    rows: int
    parts: int
    bytes: int
    ts_recv: tuple[int, int]


@attrs.frozen
class Summary:
    """What a recording holds, by its manifests."""

    manifests: int
    holdings: tuple[Holding, ...]
    gaps: tuple[Gap, ...]
    mutes: tuple[Mute, ...]
    silences: tuple[Silence, ...]
    downtimes: tuple[Downtime, ...]
    """When nobody recorded, as far as the next process knew."""
    drops: tuple[Loss, ...]
    rejects: tuple[Loss, ...]
    incomplete: tuple[tuple[str, tuple[str, ...]], ...]
    """Segments that were not sealed in peace, and what is missing."""

    @property
    def rows(self) -> int:
        """Of all partitions."""
        return sum(holding.rows for holding in self.holdings)

    @property
    def bytes(self) -> int:
        """Of all parts."""
        return sum(holding.bytes for holding in self.holdings)


def manifests(objects: Objects, read: Callable[[int, int], None] = lambda _done, _of: None) -> tuple[list[Committed], list[str]]:
    """All manifests, oldest first, and what is wrong with those that cannot be read.

    ``read`` is told how many were read, and of how many.
    """
    found: list[Committed] = []
    problems: list[str] = []
    keys = [key for key, _ in objects.list(MANIFESTS)]
    for number, manifest in enumerate(_side_by_side(partial(_manifest, objects), keys), 1):
        read(number, len(keys))
        if isinstance(manifest, Committed):
            found.append(manifest)
        else:
            problems.append(manifest)
    found.sort(key=lambda committed: (committed.manifest.instance, parse_manifest_key(committed.key)[2]))
    return found, problems


def _manifest(objects: Objects, key: str) -> Committed | str:
    """A manifest, or what is wrong with it."""
    try:
        parse_manifest_key(key)
        data = objects.get(key)
        return Committed(key, data, decode_manifest(data))
    except (ValueError, msgspec.MsgspecError) as fault:
        return f"{key}: not a readable manifest: {fault}"


def _side_by_side(look: Callable[[_Item], _Seen], items: Iterable[_Item]) -> Iterator[_Seen]:
    """Look at each, some at a time, for a store may be far away; what was seen, in the order of the items."""
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(look, items)


def summarise(committed: Sequence[Committed]) -> Summary:
    """Add up what the manifests say."""
    parts: dict[Partition, list[Part]] = {}
    manifests = [entry.manifest for entry in committed]
    losses: dict[str, Counter[tuple[str, str | None, str]]] = {"drops": Counter(), "rejects": Counter()}
    incomplete = []
    for manifest in manifests:
        for part in manifest.parts:
            parts.setdefault(parse_part_key(part.key)[0], []).append(part)
        for kind, counts in losses.items():
            for loss in getattr(manifest, kind):
                counts[(loss.exchange, loss.stream, loss.reason)] += loss.count
        if not manifest.complete:
            incomplete.append((manifest.segment, manifest.holes))
    return Summary(
        manifests=len(committed),
        holdings=tuple(_holding(partition, parts[partition]) for partition in sorted(parts)),
        gaps=_troubles(manifests, lambda manifest: manifest.gaps),
        mutes=_troubles(manifests, lambda manifest: manifest.mutes),
        silences=_troubles(manifests, lambda manifest: manifest.silences),
        downtimes=tuple(manifest.downtime for manifest in manifests if manifest.downtime is not None),
        drops=_losses(losses["drops"]),
        rejects=_losses(losses["rejects"]),
        incomplete=tuple(incomplete),
    )


def _troubles(manifests: Sequence[Manifest], of: Callable[[Manifest], tuple[_Trouble, ...]]) -> tuple[_Trouble, ...]:
    """What has ended, and what the last word on is that it has not: that is told again in each manifest until it has ended."""
    ended: list[_Trouble] = []
    open_: dict[object, _Trouble] = {}
    for manifest in manifests:
        for trouble in of(manifest):
            about = (manifest.instance, trouble.exchange, trouble.connection, trouble.stream, trouble.symbol, trouble.since)
            if trouble.to is None:
                open_[about] = trouble
            else:
                open_.pop(about, None)
                ended.append(trouble)
    return tuple(ended) + tuple(open_.values())


def _losses(counts: Counter[tuple[str, str | None, str]]) -> tuple[Loss, ...]:
    return tuple(Loss(*key, count) for key, count in sorted(counts.items(), key=str))


def _holding(partition: Partition, parts: list[Part]) -> Holding:
    return Holding(
        partition=partition,
        rows=sum(part.rows for part in parts),
        parts=len(parts),
        bytes=sum(part.bytes for part in parts),
        ts_recv=(min(part.ts_recv[0] for part in parts), max(part.ts_recv[1] for part in parts)),
    )


# ---------------------------------------------------------------------------------------------------------- verifying


def verify(objects: Objects, committed: list[Committed], looked_at: Callable[[str], None] = lambda _: None) -> list[str]:
    """Read everything that the manifests name, to the last page; what is wrong, one line each."""
    problems = list(_broken_chain(committed))
    named: set[str] = set()
    parts = [part for entry in committed for part in entry.manifest.parts]
    for part, problem in zip(parts, _side_by_side(partial(_broken_part, objects), parts), strict=True):
        looked_at(part.key)
        if part.key in named:
            problems.append(f"{part.key}: named by two manifests")
        named.add(part.key)
        if problem is not None:
            problems.append(f"{part.key}: {problem}")
    problems += [f"{key}: named by no manifest" for key, _ in objects.list("") if _is_data(key) and key not in named]
    return problems


def _is_data(key: str) -> bool:
    return key.startswith(_PARTS) and not key.startswith(MANIFESTS)


def _broken_chain(committed: list[Committed]) -> Iterator[str]:
    """Each manifest names the one before it, of its instance. One that is named and not there is missing."""
    present = {entry.key: Previous.of(entry.key, entry.data) for entry in committed}
    for entry in committed:
        previous = entry.manifest.previous
        if previous is None:
            continue
        if previous.key not in present:
            yield f"{previous.key}: missing; {entry.key} follows it"
        elif present[previous.key] != previous:
            yield f"{previous.key}: not what it was when {entry.key} was written"


def _broken_part(objects: Objects, part: Part) -> str | None:
    try:
        data = get_intact(objects, part.key, part.bytes, part.sha256)
    except ValueError as fault:
        return str(fault)
    stream = parse_part_key(part.key)[0].stream
    try:
        table = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as fault:
        return f"not readable: {fault}"
    if not table.schema.remove_metadata().equals(RAW[stream]):
        return "its schema is not RAW v1"
    return None if table.num_rows == part.rows else f"{table.num_rows} rows instead of {part.rows}"
