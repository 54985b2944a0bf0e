"""The archive of raw frames: a task beside the writer that the recording never waits for.

    channel → drafts → files in the spool │ files and manifests → store

What does not work here costs raw frames, counted, and nothing else: a store that is down leaves files in the spool, a full spool
or a failing disk drops frames, and a stop waits a while and goes.
"""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from quantlab_collector.contracts.layout import RawFile, SegmentId
from quantlab_collector.contracts.raw_frames import RawRead
from quantlab_collector.runtime.notices import (
    Notices,
    Quarantined,
    RawDiskFailed,
    RawFilesKept,
    RawFileStored,
    RawFramesDropped,
    RawUploadFailed,
)
from quantlab_collector.storage.objects import FaultKind, Objects, StoreFault
from quantlab_collector.storage.raw_drafts import Draft, Drafts
from quantlab_collector.storage.raw_spool import RawSpool, SpoiledRawFileError, WaitingFile
from quantlab_collector.storage.rawlog import RawManifest, encode_raw_manifest
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer.raw_options import RawArchiveOptions
from quantlab_collector.writer.threads import RAW_UPLOADS, RawThreads

TRIES: Final = 3
FIRST_WAIT: Final = 1.0
"""Seconds after the first failure; twice as long after the second."""
LONGEST_WAIT: Final = 60.0
"""Of what a store may ask for."""
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
    drain_within: float,
    first_wait: float = FIRST_WAIT,
) -> None:
    """Run until the channel's sender has closed; then ship what there is, ``drain_within`` seconds at most."""
    found_send, found_receive = trio.open_memory_channel[WaitingFile](math.inf)
    archive = RawArchive(spool, notices, options, found_send)
    shipper = RawShipper(spool, objects, notices, archive.threads, first_wait)
    async with trio.open_nursery() as nursery:
        with found_send:
            await archive.begin()
            for _ in range(RAW_UPLOADS):
                nursery.start_soon(shipper.run, found_receive, name="raw shipper")
            await archive.gather(receive)
        nursery.cancel_scope.deadline = trio.current_time() + drain_within
    kept = notices.state.raw_archive
    if kept.kept_files:
        notices.tell(RawFilesKept(kept.kept_files, kept.kept_bytes))


class RawArchive:
    """From the channel to files in the spool."""

    def __init__(
        self, spool: Spool, notices: Notices, options: RawArchiveOptions, found: trio.MemorySendChannel[WaitingFile]
    ) -> None:
        self.threads = RawThreads()
        self._spool = spool
        self._folder = RawSpool(spool.raw)
        self._notices = notices
        self._state = notices.state.raw_archive
        self._options = options
        self._found = found
        self._drafts = Drafts(options.rotate_bytes, options.rotate_after)
        self._told_drops: dict[str, int] = {}
        self._epoch_ms: int | None = None
        self._next_seq = 0

    async def begin(self) -> None:
        """Put what an earlier process left on its way. Where the disk does not allow it, the next file tries again."""
        try:
            strangers, waiting, epoch_ms = await self.threads.write(self._look_around)
        except OSError as fault:
            self._notices.tell(RawDiskFailed(str(fault)))
            return
        for path in strangers:
            self._notices.tell(Quarantined(str(path), "not a file of raw frames"))
        for file in waiting:
            self._announce(file)
        self._epoch_ms = epoch_ms

    def _look_around(self) -> tuple[list[Path], list[WaitingFile], int]:
        strangers = [self._spool.quarantine(path) for path in self._folder.tidy()]
        return strangers, self._folder.waiting(), self._folder.begin(time.time_ns() // 1_000_000)

    async def gather(self, receive: trio.MemoryReceiveChannel[RawRead]) -> None:
        """Make files of what comes, until no more will."""
        try:
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
        self._state.queued_bytes -= read.cost
        self._drafts.add(read, trio.current_time())

    async def _store_full(self) -> None:
        """Make files of the drafts that are full. Each stays there until that is done, or given up."""
        full = self._drafts.full
        while full:
            reason = await self._store(full[0])
            draft = full.pop(0)
            if reason is None:
                self._state.account(draft.exchange).archived += draft.frames
            else:
                self._notices.tell(RawFramesDropped(draft.exchange, reason, draft.frames))

    async def _store(self, draft: Draft) -> str | None:
        """Make a file of a draft; why not, if not."""
        if self._state.kept_bytes >= self._options.max_bytes:
            return "spool_full"
        if self._epoch_ms is None:
            await self.begin()
        if self._epoch_ms is None:
            return "disk"
        segment, self._next_seq = SegmentId(self._epoch_ms, self._next_seq), self._next_seq + 1
        dropped = self._state.account(draft.exchange).dropped
        try:
            file = await self.threads.write(self._write, draft, segment, dropped - self._told_drops.get(draft.exchange, 0))
        except OSError as fault:
            self._notices.tell(RawDiskFailed(str(fault)))
            return "disk"
        self._told_drops[draft.exchange] = dropped
        self._announce(file)
        return None

    def _write(self, draft: Draft, segment: SegmentId, dropped: int) -> WaitingFile:
        state = self._notices.state
        manifest, data = draft.finish(state.instance, segment, state.version, self._options.compression, dropped)
        return self._folder.store(segment, manifest, data)

    def _announce(self, file: WaitingFile) -> None:
        self._state.kept_files += 1
        self._state.kept_bytes += file.size
        self._found.send_nowait(file)


class RawShipper:
    """From the spool to the store: a file, its manifest, then forget. What fails three times waits until another got through."""

    def __init__(self, spool: Spool, objects: Objects, notices: Notices, threads: RawThreads, first_wait: float) -> None:
        self._spool = spool
        self._folder = RawSpool(spool.raw)
        self._objects = objects
        self._notices = notices
        self._state = notices.state.raw_archive
        self._threads = threads
        self._first_wait = first_wait
        self._failed: deque[WaitingFile] = deque()

    async def run(self, found: trio.MemoryReceiveChannel[WaitingFile]) -> None:
        """Ship what is found, until no more will be."""
        async for file in found:
            waiting = deque([file])
            while waiting:
                if not await self._ship(waiting[0]):
                    self._failed += waiting
                    break
                waiting.clear()
                if self._failed:
                    waiting.append(self._failed.popleft())

    async def _ship(self, file: WaitingFile) -> bool:
        """Try it three times; whether the store did its part."""
        wait = self._first_wait
        for number in range(1, TRIES + 1):
            last = number == TRIES
            try:
                manifest = await self._threads.upload(self._put, file.path)
            except FileNotFoundError:
                self._notices.tell(RawDiskFailed(f"{file.path} is gone"))
                self._let_go(file)
                return True
            except SpoiledRawFileError as fault:
                await self._put_aside(file, str(fault))
                return True
            except (StoreFault, OSError) as fault:
                asked = fault.retry_after if isinstance(fault, StoreFault) else None
                wait = max(wait, min(asked or 0.0, LONGEST_WAIT))
                self._notices.tell(RawUploadFailed(file.path.name, str(fault), None if last else wait))
            else:
                self._notices.tell(RawFileStored(manifest.key, manifest.frames, manifest.bytes))
                self._let_go(file)
                return True
            if not last:
                await trio.sleep(wait)
                wait *= 2
        return False

    def _put(self, path: Path) -> RawManifest:
        manifest, data = self._folder.load(path)
        place, _ = RawFile.parse(manifest.key)
        try:
            self._objects.put(place.key, data)
            self._objects.settle()  # a manifest whose file a power cut took would be a lie
            self._objects.put(place.manifest_key, encode_raw_manifest(manifest))
            self._objects.settle()
        except StoreFault as fault:
            if fault.kind is FaultKind.AUTH:
                self._objects.renew()
            raise
        self._folder.forget(path)
        return manifest

    async def _put_aside(self, file: WaitingFile, reason: str) -> None:
        try:
            path = await self._threads.write(self._spool.quarantine, file.path)
        except OSError as fault:
            self._notices.tell(RawDiskFailed(str(fault)))
        else:
            self._notices.tell(Quarantined(str(path), reason))
            self._let_go(file)

    def _let_go(self, file: WaitingFile) -> None:
        self._state.kept_files -= 1
        self._state.kept_bytes -= file.size
