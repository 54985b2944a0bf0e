"""A segment → parts and their manifest, in the spool. One function for what was just sealed and for what a crash left behind.

Everything in the parts is a function of the segment alone, so that doing it again after a crash gives the same keys with the same
rows.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from quantlab_collector.contracts.layout import Partition, SegmentId, part_key
from quantlab_collector.contracts.manifest import Manifest, Part
from quantlab_collector.storage import files
from quantlab_collector.storage.journal import SegmentHeader
from quantlab_collector.storage.journal_reading import Segment, read_segment
from quantlab_collector.storage.pack import NewerPackError, Pack, PackError, PackWriter, load_pack
from quantlab_collector.storage.parquet import Encoded, encode
from quantlab_collector.storage.partitions import partitions
from quantlab_collector.storage.spool import Spool


def encode_segment(spool: Spool, journal: Path, upto: int | None = None) -> Pack | None:
    """Turn a segment into parts and let go of its journal; ``None`` when there is nothing in it to tell.

    Of a segment that a disk error ended only so many bytes count. After an error this is done again: it goes on from the step
    that an earlier attempt has reached. The journal is gone for good when this returns, or it might come back after a power cut,
    when the store has the parts and the spool does not know of them any more.
    """
    finished = spool.pack_path(SegmentId.parse(journal.stem))
    pack = _earlier_attempt(spool, finished)
    if pack is None:
        segment = read_segment(journal, upto)
        if not segment.rows and not _news(segment):
            files.remove_synced(journal)
            return None
        pack = _make(spool, segment, finished)
        pa.default_memory_pool().release_unused()
    files.remove_synced(journal)
    return pack


def _earlier_attempt(spool: Spool, finished: Path) -> Pack | None:
    try:
        pack = load_pack(finished)
    except FileNotFoundError:
        return None
    except NewerPackError:
        raise
    except PackError:
        spool.quarantine(finished)  # the journal is still there to make it again
        return None
    files.sync_dir(finished.parent)
    return pack


def _make(spool: Spool, segment: Segment, finished: Path) -> Pack:
    header, parts = segment.header, []
    with PackWriter(spool.unfinished_path(header.segment)) as writer, closing(partitions(segment, spool.aside)) as found:
        for partition, tables in found:
            encoded = encode(tables, _metadata(header, partition))
            data = memoryview(encoded.data)
            writer.add(data)
            parts.append(_part(header, partition, encoded, hashlib.sha256(data).hexdigest()))
        return writer.finish(_manifest(segment, tuple(parts)), finished)


def _news(segment: Segment) -> bool:
    """Whether there is something to tell although there are no rows. What was abandoned had its news taken over."""
    if segment.abandoned:
        return False
    return bool(segment.holes) or segment.account.has_news


def _metadata(header: SegmentHeader, partition: Partition) -> dict[str, str]:
    metadata = {"collector": header.collector, "instance": header.instance, "segment": str(header.segment)}
    unit = header.units.get(f"{partition.exchange}/{partition.stream.value}")
    return metadata if unit is None else {**metadata, "quantity_unit": unit}


def _part(header: SegmentHeader, partition: Partition, encoded: Encoded, sha256: str) -> Part:
    return Part(
        key=part_key(partition, header.instance, header.segment),
        rows=encoded.rows,
        bytes=encoded.data.size,
        sha256=sha256,
        ts_event=encoded.ts_event,
        ts_recv=encoded.ts_recv,
        trade_id=encoded.trade_id,
    )


def _manifest(segment: Segment, parts: tuple[Part, ...]) -> Manifest:
    header, account, footer = segment.header, segment.account, segment.footer
    return Manifest(
        instance=header.instance,
        segment=str(header.segment),
        opened=header.opened_ns,
        sealed=footer.sealed_ns if footer else max((part.ts_recv[1] for part in parts), default=header.opened_ns),
        previous=None,  # the shipper knows
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
