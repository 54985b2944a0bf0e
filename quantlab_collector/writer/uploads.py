"""Parts, then the manifest, then forget. Retried for ever, bounded in flight.

Segments are shipped one after the other, so that a manifest is never there before the one it follows; the parts of a segment go
side by side. A file that fails holds up only itself.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator

import trio

from quantlab_collector.contracts.manifest import Part
from quantlab_collector.runtime.notices import SegmentCommitted, UploadFailed
from quantlab_collector.storage.encoder import Encoded, forget
from quantlab_collector.storage.objects import StoreFault
from quantlab_collector.writer.context import WriterContext

MAX_IN_FLIGHT = 16


class SpoiledPartError(Exception):
    """A part changed while it waited in the spool. It is not shipped; this is a failing disk or a stranger's hand."""


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

    async def run(self, encoded: trio.MemoryReceiveChannel[Encoded]) -> None:
        """Ship segments in the order in which they come."""
        async for segment in encoded:
            await self._ship(segment)

    async def _ship(self, encoded: Encoded) -> None:
        started = time.monotonic()
        parts = enumerate(encoded.manifest.parts)
        async with trio.open_nursery() as nursery:
            for _ in range(min(MAX_IN_FLIGHT, len(encoded.manifest.parts))):
                nursery.start_soon(self._ship_parts, encoded, parts, name=f"upload {encoded.segment}")
        # A manifest on the disk that names a part which is not there yet would be a lie after a power cut.
        await self._until_done("parts", self._objects.settle)
        await self._put(encoded.manifest_key, lambda: encoded.manifest_bytes)
        await self._until_done("manifest", self._objects.settle)
        self._commit(encoded, time.monotonic() - started)
        await self._threads.upload(forget, encoded)
        self._state.writer.spool_bytes = await self._threads.upload(self._spool.usage)

    async def _ship_parts(self, encoded: Encoded, parts: Iterator[tuple[int, Part]]) -> None:
        for number, part in parts:

            def load(number: int = number, part: Part = part) -> bytes:
                data = encoded.part_path(number).read_bytes()
                if hashlib.sha256(data).hexdigest() != part.sha256:
                    raise SpoiledPartError(f"{encoded.part_path(number)} is not what it was ({part.key})")
                return data

            await self._put(part.key, load)

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

    def _commit(self, encoded: Encoded, seconds: float) -> None:
        """The manifest is there: from here on the rows count as written."""
        manifest, books = encoded.manifest, self._state.books
        if encoded.segment.epoch_ms == self._epoch_ms:
            self._state.writer.sealed_segments -= 1
            for (exchange, stream), rows in encoded.rows_by_stream().items():
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
                recovered=encoded.segment.epoch_ms != self._epoch_ms,
                seconds=round(seconds, 3),
            )
        )
