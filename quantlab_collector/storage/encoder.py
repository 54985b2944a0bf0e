"""A segment → parts and their manifest, in the spool. One function for what was just sealed and for what a crash left behind.

All parts are written into an unfinished folder; one rename makes them, and the manifest that names them, exist. Everything in
them is a function of the segment alone, so that doing it again after a crash gives the same keys with the same rows.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import attrs
import msgspec
import pyarrow as pa

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.layout import Partition, SegmentId, manifest_key, parse_part_key, part_key
from quantlab_collector.contracts.manifest import Manifest, NewerManifestError, Part, Previous, decode_manifest, encode_manifest
from quantlab_collector.storage import files, parquet
from quantlab_collector.storage.journal import Segment, SegmentHeader, read_segment
from quantlab_collector.storage.spool import MANIFEST, MANIFEST_SUM, Spool


@attrs.frozen
class Encoded:
    """Parts in the spool, on their way to the store."""

    folder: Path
    segment: SegmentId
    manifest: Manifest
    manifest_key: str
    manifest_bytes: bytes

    def part_path(self, number: int) -> Path:
        """Where the manifest's part of this number waits."""
        return self.folder / part_name(number)

    def rows_by_stream(self) -> dict[tuple[str, StreamType], int]:
        """What the books move when this is committed: rows as they stand in the parts."""
        rows: dict[tuple[str, StreamType], int] = {}
        for part in self.manifest.parts:
            partition, _, _ = parse_part_key(part.key)
            key = (partition.exchange, partition.stream)
            rows[key] = rows.get(key, 0) + part.rows
        return rows


def part_name(number: int) -> str:
    """The name of a part in its folder; the key it will have in the store stands in the manifest."""
    return f"{number:05d}.parquet"


def encode_segment(spool: Spool, journal: Path, upto: int | None = None) -> Encoded | None:
    """Turn a segment into parts and let go of its journal; ``None`` when there is nothing in it to tell.

    Of a segment that a disk error ended only so many bytes count. After an error this is done again: it goes on from the step
    that an earlier attempt has reached. The journal is gone for good when this returns, or it might come back after a power cut,
    when the store has the parts and the spool does not know of them any more.
    """
    folder = spool.encoded_path(SegmentId.parse(journal.stem))
    encoded = _earlier_attempt(spool, folder)
    if encoded is None:
        segment = read_segment(journal, upto)
        if not segment.rows and not _news(segment):
            files.remove_synced(journal)
            return None
        _make(spool, segment, folder)
        encoded = load_encoded(folder)
    files.sync_dir(folder.parent)
    spool.follow(encoded.manifest.instance, Previous.of(encoded.manifest_key, encoded.manifest_bytes))
    files.remove_synced(journal)
    return encoded


def _earlier_attempt(spool: Spool, folder: Path) -> Encoded | None:
    try:
        return load_encoded(folder)
    except FileNotFoundError:
        return None
    except NewerManifestError:
        raise
    except (msgspec.MsgspecError, ValueError):
        spool.quarantine(folder)  # the journal is still there to make it again
        return None


def _make(spool: Spool, segment: Segment, finished: Path) -> None:
    header = segment.header
    folder = spool.unfinished_path(header.segment)
    parts = []
    for number, (partition, table) in enumerate(parquet.partitions(segment.batches)):
        data = parquet.encode(table, _metadata(header, partition))
        files.write_synced(folder / part_name(number), data)
        parts.append(_part(header, partition, table, data))
    manifest = encode_manifest(_manifest(segment, tuple(parts), spool.previous(header.instance)))
    files.write_synced(folder / MANIFEST, manifest)
    files.write_synced(folder / MANIFEST_SUM, _sum(manifest))
    files.sync_dir(folder)
    files.rename(folder, finished)


def load_encoded(folder: Path) -> Encoded:
    """Parts that were encoded before, by this process or an earlier one."""
    data = files.read(folder / MANIFEST)
    manifest = decode_manifest(data)
    # A bit that fell over may leave a manifest that can be read, and says something else. Earlier versions wrote no sum.
    if files.exists(folder / MANIFEST_SUM) and files.read(folder / MANIFEST_SUM) != _sum(data):
        raise ValueError(f"its SHA-256 is not the one in {MANIFEST_SUM}")
    segment = SegmentId.parse(manifest.segment)
    return Encoded(folder, segment, manifest, manifest_key(manifest.instance, segment, manifest.opened), data)


def _sum(manifest: bytes) -> bytes:
    """As ``sha256sum`` writes it, so that it can check it."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def forget(encoded: Encoded) -> None:
    """The store has it all, so the spool need not keep it.

    Renamed first, and that on the disk: half a folder is never taken for a whole one. What the disk does not let us remove stays;
    the next start throws it away, or ships it again, to no effect.
    """
    gone = encoded.folder.with_name(encoded.folder.name + ".tmp")
    with suppress(OSError):
        files.rename(encoded.folder, gone)
        files.sync_dir(gone.parent)
        files.remove_dir(gone)


def _news(segment: Segment) -> bool:
    """Whether there is something to tell although there are no rows. What was abandoned had its news taken over."""
    if segment.abandoned:
        return False
    account = segment.account
    return bool(segment.holes or account.gaps or account.drops or account.rejects or account.downtime)


def _metadata(header: SegmentHeader, partition: Partition) -> dict[str, str]:
    metadata = {"collector": header.collector, "instance": header.instance, "segment": str(header.segment)}
    unit = header.units.get(f"{partition.exchange}/{partition.stream.value}")
    return metadata if unit is None else {**metadata, "quantity_unit": unit}


def _part(header: SegmentHeader, partition: Partition, table: pa.Table, data: bytes) -> Part:
    trade_id = None
    if partition.stream is StreamType.TRADE:
        ids = table.column("trade_id")
        trade_id = (ids[0].as_py(), ids[-1].as_py())
    return Part(
        key=part_key(partition, header.instance, header.segment),
        rows=table.num_rows,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        ts_event=parquet.bounds(table, "ts_event"),
        ts_recv=parquet.bounds(table, "ts_recv"),
        trade_id=trade_id,
    )


def _manifest(segment: Segment, parts: tuple[Part, ...], previous: Previous | None) -> Manifest:
    header, account, footer = segment.header, segment.account, segment.footer
    return Manifest(
        instance=header.instance,
        segment=str(header.segment),
        opened=header.opened_ns,
        sealed=footer.sealed_ns if footer else max((part.ts_recv[1] for part in parts), default=header.opened_ns),
        previous=previous,
        collector=header.collector,
        parts=parts,
        counters=account.counters,
        connections=account.connections,
        gaps=account.gaps,
        mutes=account.mutes,
        silences=account.silences,
        drops=account.drops,
        rejects=account.rejects,
        downtime=account.downtime,
        holes=segment.holes if footer or segment.abandoned else (*segment.holes, "the process ended without sealing it"),
        complete=segment.complete,
    )
