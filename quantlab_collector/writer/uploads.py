"""Parts, then the manifest, then forget. Retried for ever, bounded in flight.

Segments are shipped one after the other, so that a manifest is never there before the one it follows; the parts of a segment go
side by side (``parts``). What may be in the way of all of them stands in other files: a store that does not do it in ``gate``,
another collector with our name in ``ownership``. Whatever goes through all parts of a segment is done in worker threads.
"""

from __future__ import annotations

import time
from functools import partial

import trio

from quantlab_collector.runtime.notices import Damaged, ForeignManifest, Quarantined, SegmentCommitted
from quantlab_collector.storage import files
from quantlab_collector.storage.objects import KeyTakenError, StoreFault
from quantlab_collector.storage.pack import Pack, PackError, load_pack
from quantlab_collector.storage.shipment import Shipment
from quantlab_collector.writer.backlog import Backlog
from quantlab_collector.writer.context import WriterContext
from quantlab_collector.writer.disk import Disk
from quantlab_collector.writer.gate import Gate
from quantlab_collector.writer.manifests import Stored, found_in_store, to_store
from quantlab_collector.writer.ownership import Ownership
from quantlab_collector.writer.parts import BAD_READS, Parts
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
        self._parts = Parts(context, self._gate, self._backlog)
        self._disk = Disk(context.threads.upload, context.notices)

    async def run(self, encoded: trio.MemoryReceiveChannel[Shipment]) -> None:
        """Ship segments in the order in which they come; what must not be shipped stays in the spool."""
        async with trio.open_nursery() as helpers:
            helpers.start_soon(self._ownership.vouch, name="signs of life")
            helpers.start_soon(self._backlog.tell_progress, name="drain progress")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._backlog.fill, encoded, name="backlog")
                shipped = await self._ship_all()
            helpers.cancel_scope.cancel(reason="no more segments")
        if shipped:
            await self._ownership.release()

    async def _ship_all(self) -> bool:
        """Whether everything was shipped that came."""
        # Before there is anything to ship: whoever gave two collectors one name should learn it now.
        if not await self._ownership.acquire(self._backlog.complete):
            return False
        async for shipment in self._backlog.shipments:
            try:
                if not await self._ship(shipment):
                    return False
            except ForeignManifestError as fault:
                self._notices.tell(ForeignManifest(str(shipment.segment), shipment.key, str(fault)))
                return False
        return True

    async def _ship(self, shipment: Shipment) -> bool:
        """Whether it is done with; else somebody else ships as our instance, and there is no more time to wait."""
        started = time.monotonic()
        # What was recorded under another name and is still in the spool is shipped in any case: it is finished, and nobody else
        # has it. Else the way out of a conflict, a new ``instance_id``, would leave it behind for ever.
        is_guarded, no_more = shipment.instance == self._ownership.instance, self._backlog.complete
        if is_guarded and not await self._ownership.acquire(no_more):
            return False
        pack = await self._unpack(shipment)
        if pack is None:
            self._backlog.done()
            return True
        stored = await self._gate.until_done(shipment.key, partial(self._find_manifest, pack, shipment.key))
        if stored is None:
            stored = await self._ship_parts(pack, shipment.key)
        if is_guarded and not (await self._ownership.still_ours() or await self._ownership.acquire(no_more)):
            return False
        stored = await self._gate.until_done(shipment.key, partial(self._put_manifest, pack, shipment.key, stored))
        await self._gate.until_done("manifest", self._objects.settle)
        self._commit(shipment, stored, time.monotonic() - started)
        await self._disk.until_done(partial(self._let_go, shipment, stored))
        self._state.writer.spool_bytes = await self._threads.upload(self._spool.usage)
        return True

    async def _ship_parts(self, pack: Pack, key: str) -> Stored:
        """The parts are there, safe; the manifest that is to name them."""
        spoiled = await self._parts.ship(pack)
        # A manifest on the disk that names a part which is not there yet would be a lie after a power cut.
        await self._gate.until_done("parts", self._objects.settle)
        previous = await self._disk.until_done(lambda: self._spool.previous(pack.manifest.instance))
        return await self._threads.upload(to_store, key, pack.manifest, spoiled, previous)

    def _let_go(self, shipment: Shipment, stored: Stored) -> None:
        """The store has it. Where something in it was spoiled, somebody may want to look at what is left."""
        self._spool.follow(shipment.instance, stored.name)
        if stored.whole:
            files.remove(shipment.path, missing_ok=True)  # an attempt before this one may have come so far
        else:
            self._put_aside(shipment)

    # ------------------------------------------------------------------------------------------------------- the pack

    async def _unpack(self, shipment: Shipment) -> Pack | None:
        """What is in the pack; ``None`` when the disk has not kept it."""
        try:
            return await self._disk.until_done(partial(load_pack, shipment.path), BAD_READS)
        except PackError as fault:
            await self._disk.until_done(partial(self._put_aside, shipment))
            self._lose(shipment, str(fault))
        except FileNotFoundError as fault:
            self._lose(shipment, str(fault))
        except OSError as fault:
            # Perhaps it can be read after the next start: until then its events wait, and so it says in the books.
            self._notices.tell(Quarantined(str(shipment.path), f"left where it is: {fault}"))
        return None

    def _put_aside(self, shipment: Shipment) -> None:
        if files.exists(shipment.path):  # an attempt before this one may have come so far
            self._spool.quarantine(shipment.path)

    def _lose(self, shipment: Shipment, reason: str) -> None:
        self._notices.tell(Quarantined(str(shipment.path), reason))
        if shipment.segment.epoch_ms == self._epoch_ms:
            self._state.writer.sealed_segments -= 1
            for (exchange, stream), rows in shipment.rows.items():
                self._notices.tell(Damaged(exchange, stream, rows))

    # -------------------------------------------------------------------------------------------------------- manifest

    def _find_manifest(self, pack: Pack, key: str) -> Stored | None:
        """The manifest as it is in the store, and with it the parts: we were gone between putting it and noting that it is there.

        Looking first also keeps us from overwriting parts that are named by somebody else's manifest in this place.
        """
        try:
            data = self._objects.get(key)
        except FileNotFoundError:
            return None
        found = found_in_store(key, data, pack.manifest)
        if found is None:
            raise ForeignManifestError(f"{key} is another collector's, which has the same instance_id")
        return found

    def _put_manifest(self, pack: Pack, key: str, ours: Stored) -> Stored:
        """The manifest as it is in the store now."""
        try:
            self._objects.put_new(key, ours.data)
        except KeyTakenError:
            # By an attempt of ours whose answer was lost, or by another one at this moment, or by nobody.
            there = self._find_manifest(pack, key)
            if there is None:
                raise StoreFault(f"{key} was refused as taken, and is not there") from None
            return there
        return ours

    def _commit(self, shipment: Shipment, stored: Stored, seconds: float) -> None:
        """The manifest is there: from here on the rows count as written, and those of spoiled parts as lost."""
        books, now_ns = self._state.books, time.time_ns()
        recovered = shipment.segment.epoch_ms != self._epoch_ms
        if recovered:
            books.recovered += stored.rows.total()
        else:
            self._state.writer.sealed_segments -= 1
            for (exchange, stream), rows in stored.rows.items():
                books.commit(exchange, stream, rows)
            for (exchange, stream), rows in (shipment.rows - stored.rows).items():
                self._notices.tell(Damaged(exchange, stream, rows))
            if stored.oldest is not None:
                self._state.latencies.committed(now_ns - stored.oldest)
        self._state.writer.last_commit_ns = now_ns
        self._backlog.done()
        self._notices.tell(
            SegmentCommitted(
                segment=str(shipment.segment),
                rows=stored.rows.total(),
                parts=stored.parts,
                bytes=stored.size,
                recovered=recovered,
                seconds=round(seconds, 3),
            )
        )
