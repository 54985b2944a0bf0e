"""The writer: three tasks in a row, joined by channels, each ending when the one before it has.

    channel → batches → journal │ sealed segments → parts │ parts and manifest → store

What an earlier process left in the spool is put at the head of the same line.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

import trio

from quantlab_collector.contracts.events import Burst
from quantlab_collector.contracts.manifest import Previous
from quantlab_collector.runtime.notices import Notices, Quarantined
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.storage.encoder import Encoded, load_encoded
from quantlab_collector.storage.objects import Objects
from quantlab_collector.storage.spool import Leftovers, Spool
from quantlab_collector.writer.batches import write_batches
from quantlab_collector.writer.context import WriterContext, WriterOptions
from quantlab_collector.writer.segments import SegmentRoll, encode_segments
from quantlab_collector.writer.threads import Threads
from quantlab_collector.writer.uploads import Shipper


async def run_writer(
    receive: trio.MemoryReceiveChannel[Burst],
    *,
    spool: Spool,
    objects: Objects,
    state: ServiceState,
    notices: Notices,
    options: WriterOptions,
    units: Mapping[str, str],
) -> None:
    """Run until the last sender of the channel has closed and everything is in the store."""
    threads = Threads(options.storage.upload_threads)
    leftovers = await threads.encode(spool.leftovers)
    # Two starts within a millisecond, or a clock that went back, must not give two processes one name.
    epoch_ms = max(time.time_ns() // 1_000_000, leftovers.last_epoch_ms + 1)
    context = WriterContext(spool, objects, state, notices, options, threads, units, epoch_ms)
    sealed_send, sealed_receive = trio.open_memory_channel[Path](math.inf)
    encoded_send, encoded_receive = trio.open_memory_channel[Encoded](math.inf)
    async with trio.open_nursery() as nursery:
        with sealed_send:
            for found in await threads.encode(_recover, context, leftovers):
                encoded_send.send_nowait(found)
            for path in leftovers.journals:
                sealed_send.send_nowait(path)
            nursery.start_soon(Shipper(context).run, encoded_receive, name="shipper")
            nursery.start_soon(encode_segments, context, sealed_receive, encoded_send, name="encoder")
            await write_batches(context, receive, SegmentRoll(context, sealed_send))


def _recover(context: WriterContext, leftovers: Leftovers) -> list[Encoded]:
    """The parts that only need shipping. What does not belong into the spool is put aside, never deleted."""
    for path, reason in leftovers.strangers:
        context.notices.tell(Quarantined(str(context.spool.quarantine(path)), reason))
    encoded = [load_encoded(folder) for folder in leftovers.encoded]
    for found in encoded:
        # The crash may have come before this was noted; the oldest comes first, so the newest is noted last.
        context.spool.follow(found.manifest.instance, Previous.of(found.manifest_key, found.manifest_bytes))
    return encoded
