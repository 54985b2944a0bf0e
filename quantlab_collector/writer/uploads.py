"""Parts, then the manifest, then forget. Retried for ever, bounded in flight.

Segments are shipped one after the other, so that a manifest is never there before the one it follows; the parts of a segment go
side by side. What may be in the way of all of them stands in other files: a store that does not do it in ``gate``, another
collector with our name in ``ownership``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import trio

from quantlab_collector.contracts.manifest import Part
from quantlab_collector.runtime.notices import ForeignManifest, SegmentCommitted
from quantlab_collector.storage.encoder import Encoded, forget
from quantlab_collector.storage.objects import KeyTakenError, StoreFault
from quantlab_collector.writer.backlog import Backlog
from quantlab_collector.writer.context import WriterContext
from quantlab_collector.writer.gate import MAX_IN_FLIGHT, Gate
from quantlab_collector.writer.ownership import Ownership
from quantlab_collector.writer.patience import Patience


class SpoiledPartError(Exception):
    """A part changed while it waited in the spool. It is not shipped; this is a failing disk or a stranger's hand."""


class ForeignManifestError(Exception):
    """Where a manifest of ours belongs there is another one. It is never overwritten."""


class Shipper:
    """Ships what is encoded, until no more comes."""

    def __init__(self, context: WriterContext) -> None:
        self._objects = context.objects
        self._state = context.state
        self._threads = context.threads
        self._notices = context.notices
        self._epoch_ms = context.epoch_ms
        options = context.options.storage
        patience = Patience(options.retry_first, options.retry_cap)
        self._gate = Gate(context.threads.upload, context.objects.renew, patience, context.notices)
        self._ownership = Ownership(context, self._gate)
        self._backlog = Backlog(context.notices)

    async def run(self, encoded: trio.MemoryReceiveChannel[Encoded]) -> None:
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
        async for segment in self._backlog.segments:
            try:
                if not await self._ship(segment):
                    return False
            except ForeignManifestError as fault:
                self._notices.tell(ForeignManifest(str(segment.segment), segment.manifest_key, str(fault)))
                return False
        return True

    async def _ship(self, encoded: Encoded) -> bool:
        """Whether it was shipped; else somebody else ships as our instance, and there is no more time to wait."""
        started = time.monotonic()
        # What was recorded under another name and is still in the spool is shipped in any case: it is finished, and nobody else
        # has it. Else the way out of a conflict, a new ``instance_id``, would leave it behind for ever.
        is_guarded, no_more = encoded.manifest.instance == self._ownership.instance, self._backlog.complete
        if is_guarded and not await self._ownership.acquire(no_more):
            return False
        if not await self._gate.until_done(encoded.manifest_key, lambda: self._is_there(encoded)):
            await self._ship_parts(encoded)
            # A manifest on the disk that names a part which is not there yet would be a lie after a power cut.
            await self._gate.until_done("parts", self._objects.settle)
        if is_guarded and not (await self._ownership.still_ours() or await self._ownership.acquire(no_more)):
            return False
        await self._gate.until_done(encoded.manifest_key, lambda: self._put_manifest(encoded))
        await self._gate.until_done("manifest", self._objects.settle)
        self._commit(encoded, time.monotonic() - started)
        await self._threads.upload(forget, encoded)
        return True

    # ----------------------------------------------------------------------------------------------------------- parts

    async def _ship_parts(self, encoded: Encoded) -> None:
        parts = enumerate(encoded.manifest.parts)
        async with trio.open_nursery() as nursery:
            for _ in range(min(MAX_IN_FLIGHT, len(encoded.manifest.parts))):
                nursery.start_soon(self._ship_some, encoded, parts, name=f"upload {encoded.segment}")

    async def _ship_some(self, encoded: Encoded, parts: Iterator[tuple[int, Part]]) -> None:
        for number, part in parts:

            def put(number: int = number, part: Part = part) -> None:
                data = encoded.part_path(number).read_bytes()
                if hashlib.sha256(data).hexdigest() != part.sha256:
                    raise SpoiledPartError(f"{encoded.part_path(number)} is not what it was ({part.key})")
                self._objects.put(part.key, data)

            await self._gate.until_done(part.key, put)
            self._backlog.shipped(part.bytes)

    # -------------------------------------------------------------------------------------------------------- manifest

    def _is_there(self, encoded: Encoded) -> bool:
        """Whether the manifest is in the store, and with it the parts: we looked away between putting it and noting it.

        Looking first also keeps us from overwriting parts that are named by somebody else's manifest in this place.
        """
        try:
            there = self._objects.get(encoded.manifest_key)
        except FileNotFoundError:
            return False
        if there != encoded.manifest_bytes:
            raise ForeignManifestError(f"{encoded.manifest_key} is another collector's, which has the same instance_id")
        return True

    def _put_manifest(self, encoded: Encoded) -> None:
        try:
            self._objects.put_new(encoded.manifest_key, encoded.manifest_bytes)
        except KeyTakenError:
            # By an attempt of ours whose answer was lost, or by another one at this moment, or by nobody.
            if not self._is_there(encoded):
                raise StoreFault(f"{encoded.manifest_key} was refused as taken, and is not there") from None

    def _commit(self, encoded: Encoded, seconds: float) -> None:
        """The manifest is there: from here on the rows count as written."""
        manifest, books, shown = encoded.manifest, self._state.books, self._state.writer
        if encoded.segment.epoch_ms == self._epoch_ms:
            shown.sealed_segments -= 1
            for (exchange, stream), rows in encoded.rows_by_stream().items():
                books.commit(exchange, stream, rows)
        else:
            books.recovered += manifest.rows
        shown.last_commit_ns = time.time_ns()
        # Not counted anew: with a backlog of a thousand segments that takes longer than shipping one.
        shown.spool_bytes = max(0, shown.spool_bytes - manifest.bytes - len(encoded.manifest_bytes))
        self._backlog.committed()
        self._notices.tell(
            SegmentCommitted(
                segment=manifest.segment,
                rows=manifest.rows,
                parts=len(manifest.parts),
                bytes=manifest.bytes,
                recovered=encoded.segment.epoch_ms != self._epoch_ms,
                seconds=round(seconds, 3),
            )
        )
