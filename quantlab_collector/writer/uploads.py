"""Parts, then the manifest, then forget. Retried for ever, bounded in flight.

Segments are shipped one after the other, so that a manifest is never there before the one it follows; the parts of a segment go
side by side. A file that fails holds up only itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import msgspec
import trio

from quantlab_collector.contracts.layout import manifest_key
from quantlab_collector.contracts.manifest import Part, Previous, encode_manifest
from quantlab_collector.runtime.notices import SegmentCommitted, UploadFailed
from quantlab_collector.storage import files
from quantlab_collector.storage.objects import StoreFault
from quantlab_collector.storage.pack import Pack
from quantlab_collector.writer.context import WriterContext

MAX_IN_FLIGHT = 16


class Shipper:
    """Ships what is encoded, until no more comes."""

    def __init__(self, context: WriterContext) -> None:
        self._objects = context.objects
        self._spool = context.spool
        self._state = context.state
        self._threads = context.threads
        self._notices = context.notices
        self._options = context.options.storage
        self._epoch_ms = context.epoch_ms

    async def run(self, packs: trio.MemoryReceiveChannel[Pack]) -> None:
        """Ship segments in the order in which they come."""
        async for pack in packs:
            await self._ship(pack)

    async def _ship(self, pack: Pack) -> None:
        started = time.monotonic()
        parts = zip(pack.manifest.parts, pack.places, strict=True)
        async with trio.open_nursery() as nursery:
            for _ in range(min(MAX_IN_FLIGHT, len(pack.manifest.parts))):
                nursery.start_soon(self._ship_parts, pack, parts, name=f"upload {pack.segment}")
        # A manifest on the disk that names a part which is not there yet would be a lie after a power cut.
        await self._until_done("parts", self._objects.settle)
        manifest = msgspec.structs.replace(pack.manifest, previous=self._spool.previous(pack.manifest.instance))
        key, data = manifest_key(manifest.instance, pack.segment, manifest.opened), encode_manifest(manifest)
        await self._put(key, lambda: data)
        await self._until_done("manifest", self._objects.settle)
        self._commit(pack, time.monotonic() - started)
        await self._threads.upload(self._spool.follow, manifest.instance, Previous.of(key, data))
        await self._threads.upload(files.remove, pack.path)
        self._state.writer.spool_bytes = await self._threads.upload(self._spool.usage)

    async def _ship_parts(self, pack: Pack, parts: Iterator[tuple[Part, int]]) -> None:
        for part, place in parts:
            await self._put(part.key, partial(pack.read_part, part, place))

    async def _put(self, key: str, load: Callable[[], bytes]) -> None:
        await self._until_done(key, lambda: self._objects.put(key, load()))

    async def _until_done(self, what: str, work: Callable[[], None]) -> None:
        """Do it until the store has done it."""
        delay: float = self._options.retry_first
        while True:
            self._state.writer.in_flight_uploads += 1
            try:
                await self._threads.upload(work)
                return
            except StoreFault as fault:
                self._notices.tell(UploadFailed(what, str(fault), delay))
            finally:
                self._state.writer.in_flight_uploads -= 1
            await trio.sleep(delay)
            delay = min(delay * 2, self._options.retry_cap)

    def _commit(self, pack: Pack, seconds: float) -> None:
        """The manifest is there: from here on the rows count as written."""
        manifest, books = pack.manifest, self._state.books
        if pack.segment.epoch_ms == self._epoch_ms:
            self._state.writer.sealed_segments -= 1
            for (exchange, stream), rows in pack.rows_by_stream().items():
                books.commit(exchange, stream, rows)
        else:
            books.recovered += manifest.rows
        self._state.writer.last_commit_ns = time.time_ns()
        self._notices.tell(
            SegmentCommitted(
                segment=manifest.segment,
                rows=manifest.rows,
                parts=len(manifest.parts),
                bytes=sum(part.bytes for part in manifest.parts),
                recovered=pack.segment.epoch_ms != self._epoch_ms,
                seconds=round(seconds, 3),
            )
        )
