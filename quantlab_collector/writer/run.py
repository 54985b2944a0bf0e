"""The writer: three tasks in a row, joined by channels, each ending when the one before it has.

    channel → batches → journal │ sealed segments → parts │ parts and manifest → store

What an earlier process left in the spool is put at the head of the same line.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Final

import trio

from quantlab_collector.contracts.events import Burst
from quantlab_collector.runtime.notices import Notices
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.storage.objects import Objects
from quantlab_collector.storage.shipment import Shipment
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer.batches import write_batches
from quantlab_collector.writer.context import WriterContext, WriterOptions
from quantlab_collector.writer.encoding import encode_segments
from quantlab_collector.writer.recovery import recover
from quantlab_collector.writer.segments import Filled, SegmentRoll
from quantlab_collector.writer.threads import Threads
from quantlab_collector.writer.uploads import Shipper

ALIVE_EVERY: Final = 1.0
"""Seconds between two signs of life in the spool."""


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
    recovered = await threads.encode(recover, spool)
    for notice in recovered.notices:
        notices.tell(notice)
    # Two starts within a millisecond, or a clock that went back, must not give two processes one name.
    epoch_ms = max(time.time_ns() // 1_000_000, recovered.last_epoch_ms + 1)
    context = WriterContext(spool, objects, state, notices, options, threads, units, epoch_ms)
    state.writer.spool_max_bytes = options.spool.max_bytes
    filled_send, filled_receive = trio.open_memory_channel[Filled](math.inf)
    shipments_send, shipments_receive = trio.open_memory_channel[Shipment](math.inf)
    async with trio.open_nursery() as nursery:
        with filled_send:
            for found in recovered.shipments:
                shipments_send.send_nowait(found)
            for segment in recovered.filled:
                filled_send.send_nowait(segment)
            nursery.start_soon(Shipper(context).run, shipments_receive, name="shipper")
            nursery.start_soon(encode_segments, context, filled_receive, shipments_send, name="encoder")
            async with trio.open_nursery() as living:
                living.start_soon(_mark_alive, context, name="sign of life")
                await write_batches(context, receive, SegmentRoll(context, filled_send))
                living.cancel_scope.cancel("nothing more is received")


async def _mark_alive(context: WriterContext) -> None:
    """From this the next start knows how long nothing was recorded."""
    while True:
        await context.threads.journal(context.spool.mark_alive, time.time_ns())
        await trio.sleep(ALIVE_EVERY)
