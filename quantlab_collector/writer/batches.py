"""Bursts from the channel → Arrow batches → journal.

Events become columns as soon as a block of a stream is full. Twice a second, or when enough has come together, what was collected
goes to the disk, synced. When that takes too long the channel buffers; when it is full the outlet drops, and counts.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import trio

from quantlab_collector.contracts.events import Burst, Event, StreamType
from quantlab_collector.contracts.schemas import journal_batch, journal_schema
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.writer.context import WriterContext
from quantlab_collector.writer.segments import SegmentRoll

BLOCK: Final = 1_000
"""Events of one stream that become columns as soon as there are so many: they are in the processor's cache still. Half a second
of a busy market is not, and turning that into columns takes twice as long."""
SLICE: Final = 1_000
"""Events that are taken out of the queue in one go, before others have their turn: a millisecond of the loop's time."""
AHEAD: Final = 4
"""At most so many times ``batch_rows`` are collected while the disk is busy with what came before."""
HARD_STOP_LIMIT: Final = 1.2
"""Seconds to wait for the last connection, when we are told to be gone; a little more than one takes to leave."""


class Buffers:
    """Events on their way from the channel to the disk: a block of each stream as it was received, and the rest as columns."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._blocks: dict[tuple[str, StreamType], list[Event]] = {}
        self._batches: list[pa.RecordBatch] = []
        self._schemas: dict[tuple[str, StreamType], pa.Schema] = {}
        self.rows = 0

    def add(self, burst: Burst) -> None:
        """Take a burst out of the queue."""
        key, events = (burst.exchange, burst.stream), burst.events
        if not self.rows:
            self._state.writer.oldest_buffered_ns = events[0].ts_recv
        self.rows += len(events)
        self._state.books.buffer(burst.exchange, burst.stream, len(events))
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = []
            self._state.writer.active_buffers = len(self._blocks)
        block += events
        if len(block) >= BLOCK:
            self._to_columns(key)

    def take(self) -> list[pa.RecordBatch]:
        """Everything as columns; the buffers are empty afterwards. The books move when the journal has it."""
        for key, block in self._blocks.items():
            if block:
                self._to_columns(key)
        batches, self._batches = self._batches, []
        self._blocks = {}
        shown = self._state.writer
        shown.oldest_waiting_ns, shown.oldest_buffered_ns = shown.oldest_unsynced_ns, None
        self.rows = shown.active_buffers = 0
        return batches

    def _to_columns(self, key: tuple[str, StreamType]) -> None:
        if key not in self._schemas:
            self._schemas[key] = journal_schema(*key)
        self._batches.append(journal_batch(self._schemas[key], self._blocks[key]))
        self._blocks[key] = []


async def write_batches(context: WriterContext, receive: trio.MemoryReceiveChannel[Burst], roll: SegmentRoll) -> None:
    """Run until the last sender of the channel has closed, then seal what there is."""
    buffers, options = Buffers(context.state), context.options.journal
    collector = _Collector(receive, buffers, context)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collector.run, name="collector")
            more = True
            while more:
                with trio.move_on_after(options.interval):
                    await collector.ripe.wait()
                more = not collector.finished
                await roll.append(collector.take())
        await roll.finish()
    except* trio.Cancelled:
        # No time for sealing and shipping; but what was received, and what the connections still receive while they take their
        # leave, must be on the disk before we go.
        with trio.move_on_after(HARD_STOP_LIMIT, shield=True):
            async for burst in receive:
                buffers.add(burst)
        with trio.move_on_after(HARD_STOP_LIMIT, shield=True):
            _drain(receive, buffers, limit=None)
            await roll.append_now_or_never(buffers.take())
        raise


class _Collector:
    """Takes bursts out of the queue while the disk is at work, as long as that is not too much ahead of it."""

    def __init__(self, receive: trio.MemoryReceiveChannel[Burst], buffers: Buffers, context: WriterContext) -> None:
        self._receive = receive
        self._buffers = buffers
        self._shown = context.state.writer
        self._batch_rows = context.options.journal.batch_rows
        self._taken = trio.Event()
        self.ripe = trio.Event()
        """There is enough for the disk, or all that there will be."""
        self.finished = False

    async def run(self) -> None:
        """Collect until the last sender of the channel has closed."""
        buffers, limit = self._buffers, AHEAD * self._batch_rows
        async for burst in self._receive:
            buffers.add(burst)
            _drain(self._receive, buffers, min(buffers.rows + SLICE, limit))
            if buffers.rows >= self._batch_rows:
                self.ripe.set()
            # While the disk refuses, what comes stays in the queue, which drops what is too much and counts it.
            while buffers.rows >= limit or self._shown.obstacle is not None:
                await self._taken.wait()
        self.finished = True
        self.ripe.set()

    def take(self) -> list[pa.RecordBatch]:
        """What was collected, and go on collecting."""
        self._taken.set()
        self._taken, self.ripe = trio.Event(), trio.Event()
        return self._buffers.take()


def _drain(receive: trio.MemoryReceiveChannel[Burst], buffers: Buffers, limit: int | None) -> None:
    """Take what is there without waiting: much cheaper than one ``await`` for each."""
    while limit is None or buffers.rows < limit:
        try:
            buffers.add(receive.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return
