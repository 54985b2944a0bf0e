"""The archive of raw frames: a task beside the writer that the recording never waits for.

    channel → drafts → files in the spool │ files and manifests → store

What does not work here costs raw frames, counted, and nothing else: a store that is down leaves files in the spool, a full spool
or a failing disk drops frames, and a stop waits a while and goes.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from quantlab_collector.contracts.layout import SegmentId
from quantlab_collector.contracts.raw_frames import RawRead
from quantlab_collector.runtime.notices import Notices, Quarantined, RawDiskFailed, RawFilesKept, RawFramesDropped
from quantlab_collector.runtime.obstacles import Obstacle, obstacle_of
from quantlab_collector.storage.objects import Objects
from quantlab_collector.storage.raw_drafts import Draft, Drafts
from quantlab_collector.storage.raw_spool import RawSpool, WaitingFile
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer.raw_context import RawContext
from quantlab_collector.writer.raw_options import RawArchiveOptions
from quantlab_collector.writer.raw_shipping import RawShipper
from quantlab_collector.writer.threads import RAW_UPLOADS

FIRST_WAIT: Final = 1.0
"""Seconds after the first failure of an upload; twice as long after the second."""
READS_AT_ONCE: Final = 64
"""Without a pause for others: about 10 ms if each brought as much as one can."""
HARD_STOP_LIMIT: Final = 1.2
"""Seconds to wait for the last connection, when we are told to be gone; as in ``batches.py``."""


async def run_raw_archive(
    receive: trio.MemoryReceiveChannel[RawRead],
    *,
    spool: Spool,
    objects: Objects,
    notices: Notices,
    options: RawArchiveOptions,
    keep_free: int,
    drain_within: float,
    first_wait: float = FIRST_WAIT,
) -> None:
    """Run until the channel's sender has closed; then ship what there is, ``drain_within`` seconds at most.

    ``keep_free`` bytes of the disk are left to the recording.
    """
    context = RawContext(spool, RawSpool(spool.raw, keep_free), objects, notices, options, first_wait)
    found_send, found_receive = trio.open_memory_channel[WaitingFile](math.inf)
    archive, shipper = RawArchive(context, found_send), RawShipper(context)
    async with trio.open_nursery() as nursery:
        with found_send:
            for _ in range(RAW_UPLOADS):
                nursery.start_soon(shipper.run, found_receive, name="raw shipper")
            await archive.gather(receive)
        nursery.cancel_scope.deadline = trio.current_time() + drain_within
    if context.shown.kept_files:
        notices.tell(RawFilesKept(context.shown.kept_files, context.shown.kept_bytes))


class RawArchive:
    """From the channel to files in the spool."""

    def __init__(self, context: RawContext, found: trio.MemorySendChannel[WaitingFile]) -> None:
        self._context = context
        self._notices = context.notices
        self._shown = context.shown
        self._options = context.options
        self._write_in_thread = context.threads.write
        self._found = found
        self._drafts = Drafts(context.options.rotate_bytes, context.options.rotate_after)
        self._told_drops: dict[str, int] = {}
        self._epoch_ms: int | None = None
        self._next_seq = 0

    async def _try_to_begin(self) -> None:
        """Put what an earlier process left on its way. Where the disk does not allow it, the first file tries again."""
        try:
            await self._begin()
        except OSError as fault:
            self._notices.tell(RawDiskFailed(str(fault)))

    async def _begin(self) -> int:
        strangers, waiting, epoch_ms = await self._write_in_thread(self._look_around)
        for path in strangers:
            self._notices.tell(Quarantined(str(path), "not a file of raw frames"))
        for file in waiting:
            self._announce(file)
        self._epoch_ms = epoch_ms
        return epoch_ms

    def _look_around(self) -> tuple[list[Path], list[WaitingFile], int]:
        spool, folder = self._context.spool, self._context.folder
        strangers = [spool.quarantine(path) for path in folder.tidy()]
        return strangers, folder.waiting(), folder.begin(time.time_ns() // 1_000_000)

    async def gather(self, receive: trio.MemoryReceiveChannel[RawRead]) -> None:
        """Make files of what comes, until no more will."""
        try:
            await self._try_to_begin()
            more = True
            while more:
                more = await self._collect(receive)
                self._drafts.age(trio.current_time() if more else math.inf)
                await self._store_full()
        except trio.Cancelled:
            # As the writer does: what the connections still bring while they take their leave is to be on the disk.
            with trio.move_on_after(HARD_STOP_LIMIT, shield=True):
                async for read in receive:
                    self._add(read)
            with trio.move_on_after(HARD_STOP_LIMIT, shield=True):
                self._drafts.age(math.inf)
                await self._store_full()
            raise

    async def _collect(self, receive: trio.MemoryReceiveChannel[RawRead]) -> bool:
        """Take frames until a draft is full or old enough; ``False`` when no more will come."""
        with trio.move_on_at(self._drafts.due) as scope:
            while not self._drafts.full:
                try:
                    self._add(await receive.receive())
                    self._take_more(receive)
                except trio.EndOfChannel:
                    return False
                scope.deadline = self._drafts.due
        return True

    def _take_more(self, receive: trio.MemoryReceiveChannel[RawRead]) -> None:
        """Take what is there already: much cheaper than to wait for each, and never so much that others have to wait."""
        with suppress(trio.WouldBlock):
            for _ in range(READS_AT_ONCE):
                if self._drafts.full:
                    return
                self._add(receive.receive_nowait())

    def _add(self, read: RawRead) -> None:
        self._shown.queued_bytes -= read.cost
        self._drafts.add(read, trio.current_time())

    async def _store_full(self) -> None:
        """Make files of the drafts that are full. Each stays there until that is done, or given up."""
        full = self._drafts.full
        while full:
            obstacle = await self._store(full[0])
            draft = full.pop(0)
            if obstacle is None:
                self._shown.account(draft.exchange).archived += draft.frames
            else:
                self._notices.tell(RawFramesDropped(draft.exchange, obstacle.value, draft.frames))

    async def _store(self, draft: Draft) -> Obstacle | None:
        """Make a file of a draft; why not, if not."""
        if self._shown.kept_bytes >= self._options.max_bytes:
            return Obstacle.SPOOL_FULL
        dropped = self._shown.account(draft.exchange).dropped
        try:
            epoch_ms = await self._begin() if self._epoch_ms is None else self._epoch_ms
            segment, self._next_seq = SegmentId(epoch_ms, self._next_seq), self._next_seq + 1
            file = await self._write_in_thread(self._write, draft, segment, dropped - self._told_drops.get(draft.exchange, 0))
        except OSError as fault:
            self._notices.tell(RawDiskFailed(str(fault)))
            return obstacle_of(fault)
        self._told_drops[draft.exchange] = dropped
        self._announce(file)
        return None

    def _write(self, draft: Draft, segment: SegmentId, dropped: int) -> WaitingFile:
        self._context.folder.check_room()
        state = self._notices.state
        manifest, data = draft.finish(state.instance, segment, state.version, self._options.compression, dropped)
        return self._context.folder.store(segment, manifest, data)

    def _announce(self, file: WaitingFile) -> None:
        self._context.keep(file)
        self._found.send_nowait(file)
