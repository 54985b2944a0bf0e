"""When a segment is opened and sealed, and who encodes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import trio

from quantlab_collector.contracts.schemas import identity
from quantlab_collector.runtime.account import account, final_account
from quantlab_collector.runtime.notices import Quarantined, SegmentRecovered
from quantlab_collector.storage.encoder import Encoded, encode_segment
from quantlab_collector.storage.journal import JournalError, NewerJournalError, SegmentHeader, SegmentWriter
from quantlab_collector.writer.context import WriterContext


class SegmentRoll:
    """The segment being written, and the next one when it is full or old enough."""

    def __init__(
        self,
        context: WriterContext,
        sealed: trio.MemorySendChannel[Path],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._state = context.state
        self._journal = context.threads.journal
        self._sealed = sealed
        self._clock = clock
        self._next_seq = 0
        self._writer: SegmentWriter | None = None
        # A cancellation between taking batches and writing them must not lose them: they stay here until they are written.
        self._waiting: list[pa.RecordBatch] = []
        self._opened = 0.0

    async def append(self, batches: list[pa.RecordBatch], *, sealing: bool = True) -> None:
        """Bring batches to the disk. A segment is opened only when there is something to put into it."""
        self._waiting += batches
        if self._waiting:
            if self._writer is None:
                self._writer = await self._journal(self._open)
                self._opened = self._clock()
            await self._journal(self._writer.append, self._waiting, account(self._state))
            for batch in self._waiting:
                self._state.books.journal(*identity(batch.schema), batch.num_rows)
            self._waiting = []
            self._state.writer.last_sync_ns = time.time_ns()
            self._publish()
        if sealing and self._due():
            await self.seal()

    async def seal(self) -> None:
        """Close the segment and pass it on to the encoder."""
        if self._writer is None:
            if not self._has_news():
                return
            self._writer = await self._journal(self._open)
        writer, self._writer = self._writer, None
        path = self._context.spool.sealed_path(writer.header.segment)
        await self._journal(writer.seal, final_account(self._state), time.time_ns(), path)
        self._state.writer.sealed_segments += 1
        self._publish()
        self._sealed.send_nowait(path)

    def _open(self) -> SegmentWriter:
        context = self._context
        header = SegmentHeader(
            instance=self._state.instance,
            epoch_ms=context.epoch_ms,
            seq=self._next_seq,
            opened_ns=time.time_ns(),
            collector=self._state.version,
            units=dict(context.units),
        )
        self._next_seq += 1
        return SegmentWriter(context.spool.open_path(header.segment), header)

    def _due(self) -> bool:
        writer, options = self._writer, self._context.options.flush
        return writer is not None and (writer.size >= options.max_bytes or self._clock() - self._opened >= options.interval)

    def _has_news(self) -> bool:
        known = account(self._state)
        return bool(known.gaps or known.drops or known.rejects)

    def _publish(self) -> None:
        shown, writer = self._state.writer, self._writer
        shown.segment = str(writer.header.segment) if writer else None
        shown.segment_rows = writer.rows if writer else 0
        shown.segment_bytes = writer.size if writer else 0


async def encode_segments(
    context: WriterContext,
    sealed: trio.MemoryReceiveChannel[Path],
    encoded: trio.MemorySendChannel[Encoded],
) -> None:
    """Make parts of one segment after the other, in order: each manifest names the one before."""
    state, notices, encode = context.state, context.notices, context.threads.encode
    with encoded:
        async for path in sealed:
            result = None
            try:
                result = await encode(encode_segment, context.spool, path)
            except NewerJournalError as fault:
                notices.tell(Quarantined(str(path), f"left where it is: {fault}"))
            except JournalError as fault:
                notices.tell(Quarantined(str(await encode(context.spool.quarantine, path)), str(fault)))
            state.writer.spool_bytes = await encode(context.spool.usage)
            if result is not None:
                if result.segment.epoch_ms != context.epoch_ms:
                    notices.tell(SegmentRecovered(str(result.segment), result.manifest.rows, result.manifest.holes))
                encoded.send_nowait(result)
