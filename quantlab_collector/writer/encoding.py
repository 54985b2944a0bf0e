"""Who makes parts of what was filled: one segment after the other, in order."""

from __future__ import annotations

import errno
from collections import Counter
from pathlib import Path
from typing import Final

import trio

from quantlab_collector.runtime.notices import Damaged, EncodeFailed, Quarantined, SegmentRecovered
from quantlab_collector.storage import files
from quantlab_collector.storage.encoder import encode_segment
from quantlab_collector.storage.journal import (
    GoneJournalError,
    JournalError,
    NewerJournalError,
    UnbegunJournalError,
    UnreadableJournalError,
)
from quantlab_collector.storage.pack import NewerPackError
from quantlab_collector.storage.shipment import Shipment
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer.context import WriterContext
from quantlab_collector.writer.disk import until_disk_does
from quantlab_collector.writer.segments import Filled

BAD_READS: Final = 3
"""So often a disk may fail to give a segment back before the segments behind it have their turn."""


async def encode_segments(
    context: WriterContext,
    filled: trio.MemoryReceiveChannel[Filled],
    shipments: trio.MemorySendChannel[Shipment],
) -> None:
    """Run until no more comes. What the disk refuses is tried again until it does not: the journal is still there."""
    with shipments:
        async for segment in filled:
            result = await _until_done(context, segment)
            context.state.writer.spool_bytes = await context.threads.encode(context.spool.usage)
            _tell_of_damage(context, segment, result)
            if result is None:
                context.state.writer.sealed_segments -= segment.rows is not None
                continue
            if segment.rows is None:
                context.notices.tell(SegmentRecovered(str(result.segment), result.rows.total(), result.holes))
            shipments.send_nowait(result)


async def _until_done(context: WriterContext, segment: Filled) -> Shipment | None:
    async def attempt(number: int) -> Shipment | None:
        return await _encode(context, segment, give_up=number > BAD_READS)

    def refused(_: int, fault: OSError, delay: float) -> None:
        context.notices.tell(EncodeFailed(str(segment.path), str(fault), delay))

    result = await until_disk_does(attempt, refused)
    context.state.writer.encode_fault = None
    return result


async def _encode(context: WriterContext, segment: Filled, *, give_up: bool) -> Shipment | None:
    """The segment's parts; ``None`` when there is nothing to ship."""
    encode, spool, tell = context.threads.encode, context.spool, context.notices.tell
    try:
        return await encode(_make_shipment, spool, segment.path, segment.upto)
    except (NewerJournalError, NewerPackError) as fault:
        tell(Quarantined(str(segment.path), f"left where it is: {fault}"))
    except UnbegunJournalError:
        await encode(files.remove_synced, segment.path)
    except GoneJournalError:
        pass  # an earlier attempt has put it aside, or removed it
    except JournalError as fault:
        tell(Quarantined(str(await encode(spool.quarantine, segment.path)), str(fault)))
    except UnreadableJournalError as fault:
        if not (give_up and fault.errno == errno.EIO):
            raise
        tell(Quarantined(str(await encode(spool.quarantine, segment.path)), f"the disk does not give it back: {fault}"))
    return None


def _make_shipment(spool: Spool, journal: Path, upto: int | None) -> Shipment | None:
    pack = encode_segment(spool, journal, upto)
    return Shipment.of(pack) if pack is not None else None


def _tell_of_damage(context: WriterContext, segment: Filled, result: Shipment | None) -> None:
    """What this process had brought to the disk and the disk did not give back is lost, and said to be."""
    if segment.rows is None:
        return
    lost = Counter(segment.rows)
    if result is not None:
        lost.subtract(result.rows)
    for (exchange, stream), count in lost.items():
        if count > 0:
            context.notices.tell(Damaged(exchange, stream, count))
