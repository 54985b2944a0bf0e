"""Parts, then the manifest, then forget. Retried for ever, bounded in flight.

Segments are shipped one after the other, so that a manifest is never there before the one it follows; the parts of a segment go
side by side. What may be in the way of all of them stands in other files: a store that does not do it in ``gate``, another
collector with our name in ``ownership``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

import msgspec
import trio

from quantlab_collector.contracts.layout import manifest_key
from quantlab_collector.contracts.manifest import Manifest, Part, Previous, decode_manifest, encode_manifest
from quantlab_collector.runtime.notices import Damaged, ForeignManifest, PartSpoiled, SegmentCommitted
from quantlab_collector.storage import files
from quantlab_collector.storage.objects import KeyTakenError, StoreFault
from quantlab_collector.storage.pack import Pack, SpoiledPartError, rows_by_stream
from quantlab_collector.writer.backlog import Backlog
from quantlab_collector.writer.context import WriterContext
from quantlab_collector.writer.disk import Disk
from quantlab_collector.writer.gate import MAX_IN_FLIGHT, Gate
from quantlab_collector.writer.ownership import Ownership
from quantlab_collector.writer.patience import Patience


class ForeignManifestError(Exception):
    """Where a manifest of ours belongs there is another one. It is never overwritten."""


class Shipper:
    """Ships what is encoded, until no more comes."""

    def __init__(self, context: WriterContext) -> None:
        self._objects = context.objects
        self._spool = context.spool
        self._state = context.state
        self._threads = context.threads
        self._notices = context.notices
        self._epoch_ms = context.epoch_ms
        options = context.options.storage
        patience = Patience(options.retry_first, options.retry_cap)
        self._gate = Gate(context.threads.upload, context.objects.renew, patience, context.notices)
        self._ownership = Ownership(context, self._gate)
        self._backlog = Backlog(context.notices)
        self._disk = Disk(context.threads.upload, context.notices)

    async def run(self, packs: trio.MemoryReceiveChannel[Pack]) -> None:
        """Ship segments in the order in which they come; what must not be shipped stays in the spool."""
        async with trio.open_nursery() as helpers:
            helpers.start_soon(self._ownership.vouch, name="signs of life")
            helpers.start_soon(self._backlog.tell_progress, name="drain progress")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._backlog.fill, packs, name="backlog")
                shipped = await self._ship_all()
            helpers.cancel_scope.cancel(reason="no more segments")
        if shipped:
            await self._ownership.release()

    async def _ship_all(self) -> bool:
        """Whether everything was shipped that came."""
        # Before there is anything to ship: whoever gave two collectors one name should learn it now.
        if not await self._ownership.acquire(self._backlog.complete):
            return False
        async for pack in self._backlog.packs:
            key = manifest_key(pack.manifest.instance, pack.segment, pack.manifest.opened)
            try:
                if not await self._ship(pack, key):
                    return False
            except ForeignManifestError as fault:
                self._notices.tell(ForeignManifest(pack.manifest.segment, key, str(fault)))
                return False
        return True

    async def _ship(self, pack: Pack, key: str) -> bool:
        """Whether it was shipped; else somebody else ships as our instance, and there is no more time to wait."""
        started = time.monotonic()
        # What was recorded under another name and is still in the spool is shipped in any case: it is finished, and nobody else
        # has it. Else the way out of a conflict, a new ``instance_id``, would leave it behind for ever.
        is_guarded, no_more = pack.manifest.instance == self._ownership.instance, self._backlog.complete
        if is_guarded and not await self._ownership.acquire(no_more):
            return False
        data = await self._gate.until_done(key, lambda: self._find_manifest(pack, key))
        if data is None:
            kept = await self._ship_parts(pack)
            # A manifest on the disk that names a part which is not there yet would be a lie after a power cut.
            await self._gate.until_done("parts", self._objects.settle)
            previous = await self._disk.until_done(lambda: self._spool.previous(pack.manifest.instance))
            data = encode_manifest(_shipped(pack.manifest, kept, previous))
        if is_guarded and not (await self._ownership.still_ours() or await self._ownership.acquire(no_more)):
            return False
        put = partial(self._put_manifest, pack, key, data)
        stored = await self._gate.until_done(key, put)
        await self._gate.until_done("manifest", self._objects.settle)
        self._commit(pack, decode_manifest(stored), time.monotonic() - started)
        await self._disk.until_done(partial(self._let_go, pack, key, stored))
        self._state.writer.spool_bytes = await self._threads.upload(self._spool.usage)
        return True

    def _let_go(self, pack: Pack, key: str, stored: bytes) -> None:
        """The store has it. Where something in it was spoiled, somebody may want to look at what is left."""
        self._spool.follow(pack.manifest.instance, Previous.of(key, stored))
        if files.exists(pack.path):  # an attempt before this one may have come so far
            if decode_manifest(stored).parts == pack.manifest.parts:
                files.remove(pack.path)
            else:
                self._spool.quarantine(pack.path)

    # ----------------------------------------------------------------------------------------------------------- parts

    async def _ship_parts(self, pack: Pack) -> tuple[Part, ...]:
        """The parts that the store has now: all, but for those that the disk did not keep."""
        parts = zip(pack.manifest.parts, pack.places, strict=True)
        spoiled: set[str] = set()
        async with trio.open_nursery() as nursery:
            for _ in range(min(MAX_IN_FLIGHT, len(pack.manifest.parts))):
                nursery.start_soon(self._ship_some, pack, parts, spoiled, name=f"upload {pack.segment}")
        return tuple(part for part in pack.manifest.parts if part.key not in spoiled)

    async def _ship_some(self, pack: Pack, parts: Iterator[tuple[Part, int]], spoiled: set[str]) -> None:
        for part, place in parts:
            try:
                await self._gate.until_done(part.key, partial(self._put_part, pack, part, place))
            except SpoiledPartError as fault:
                self._notices.tell(PartSpoiled(part.key, part.rows, str(fault)))
                spoiled.add(part.key)
            else:
                self._backlog.shipped(part.bytes)

    def _put_part(self, pack: Pack, part: Part, place: int) -> None:
        self._objects.put(part.key, pack.read_part(part, place))

    # -------------------------------------------------------------------------------------------------------- manifest

    def _find_manifest(self, pack: Pack, key: str) -> bytes | None:
        """The manifest as it is in the store, and with it the parts: we were gone between putting it and noting that it is there.

        Looking first also keeps us from overwriting parts that are named by somebody else's manifest in this place.
        """
        try:
            data = self._objects.get(key)
        except FileNotFoundError:
            return None
        if not _is_ours(data, pack.manifest):
            raise ForeignManifestError(f"{key} is another collector's, which has the same instance_id")
        return data

    def _put_manifest(self, pack: Pack, key: str, data: bytes) -> bytes:
        """The manifest as it is in the store now."""
        try:
            self._objects.put_new(key, data)
        except KeyTakenError:
            # By an attempt of ours whose answer was lost, or by another one at this moment, or by nobody.
            there = self._find_manifest(pack, key)
            if there is None:
                raise StoreFault(f"{key} was refused as taken, and is not there") from None
            return there
        return data

    def _commit(self, pack: Pack, manifest: Manifest, seconds: float) -> None:
        """The manifest is there: from here on the rows count as written, and those of spoiled parts as lost."""
        books, now_ns = self._state.books, time.time_ns()
        if pack.segment.epoch_ms == self._epoch_ms:
            self._state.writer.sealed_segments -= 1
            stored = Counter(rows_by_stream(manifest.parts))
            for (exchange, stream), rows in stored.items():
                books.commit(exchange, stream, rows)
            for (exchange, stream), rows in (Counter(pack.rows_by_stream()) - stored).items():
                self._notices.tell(Damaged(exchange, stream, rows))
            if manifest.parts:
                self._state.latencies.committed(now_ns - min(part.ts_recv[0] for part in manifest.parts))
        else:
            books.recovered += manifest.rows
        self._state.writer.last_commit_ns = now_ns
        self._backlog.committed()
        self._notices.tell(
            SegmentCommitted(
                segment=manifest.segment,
                rows=manifest.rows,
                parts=len(manifest.parts),
                bytes=manifest.bytes,
                recovered=pack.segment.epoch_ms != self._epoch_ms,
                seconds=round(seconds, 3),
            )
        )


def _shipped(manifest: Manifest, kept: tuple[Part, ...], previous: Previous | None) -> Manifest:
    """The manifest as it is stored: what it follows, and what the spool did not keep."""
    lost = tuple(f"{part.key} spoiled in the spool: {part.rows} rows" for part in manifest.parts if part not in kept)
    return msgspec.structs.replace(
        manifest, previous=previous, parts=kept, holes=(*manifest.holes, *lost), complete=manifest.complete and not lost
    )


def _is_ours(data: bytes, ours: Manifest) -> bool:
    """Whether a manifest in the store came from the same pack. What it follows and what was spoiled, the one there says."""
    try:
        there = decode_manifest(data)
    except (msgspec.MsgspecError, ValueError):
        return False
    alike = msgspec.structs.replace(there, previous=ours.previous, parts=ours.parts, holes=ours.holes, complete=ours.complete)
    return alike == ours and set(there.parts) <= set(ours.parts)
