"""Bursts from the channel → Arrow batches → journal.

Twice a second, or when enough has come together, what was collected becomes columns and goes to the disk, synced. Meanwhile the
channel buffers; when it is full the outlet drops, and counts.
"""

from __future__ import annotations

import pyarrow as pa
import trio

from quantlab_collector.contracts.events import Burst, Event, StreamType
from quantlab_collector.contracts.schemas import journal_batch, journal_schema
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.writer.context import WriterContext
from quantlab_collector.writer.options import JournalOptions
from quantlab_collector.writer.segments import SegmentRoll

CATCH_UP = 4
"""At most so many times ``batch_rows`` become columns at once: about 20 ms of the loop's time."""
HARD_STOP_LIMIT = 1.2
"""Seconds to wait for the last connection, when we are told to be gone; a little more than one takes to leave."""


class Buffers:
    """Events on their way from the channel to the disk, by exchange and stream."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._events: dict[tuple[str, StreamType], list[Event]] = {}
        self._schemas: dict[tuple[str, StreamType], pa.Schema] = {}
        self.rows = 0

    def add(self, burst: Burst) -> None:
        """Take a burst out of the queue."""
        key = (burst.exchange, burst.stream)
        if not self.rows:
            self._state.writer.oldest_unsynced_ns = burst.events[0].ts_recv
        held = self._events.get(key)
        if held is None:
            self._events[key] = burst.events
        else:
            held.extend(burst.events)
        self.rows += len(burst.events)
        self._state.books.buffer(burst.exchange, burst.stream, len(burst.events))
        self._state.writer.active_buffers = len(self._events)

    def take(self) -> list[pa.RecordBatch]:
        """Everything as columns; the buffers are empty afterwards. The books move when the journal has it."""
        batches = []
        for key, events in self._events.items():
            if key not in self._schemas:
                self._schemas[key] = journal_schema(*key)
            batches.append(journal_batch(self._schemas[key], events))
        self._events = {}
        self.rows = 0
        self._state.writer.active_buffers = 0
        return batches


async def write_batches(context: WriterContext, receive: trio.MemoryReceiveChannel[Burst], roll: SegmentRoll) -> None:
    """Run until the last sender of the channel has closed, then seal what there is."""
    buffers = Buffers(context.state)
    try:
        more = True
        while more:
            more = await _collect(receive, buffers, context.options.journal)
            await roll.append(buffers.take())
        await roll.finish()
    except trio.Cancelled:
        # No time for sealing and shipping; but what was received, and what the connections still receive while they take their
        # leave, must be on the disk before we go.
        with trio.move_on_after(HARD_STOP_LIMIT, shield=True):
            async for burst in receive:
                buffers.add(burst)
        with trio.move_on_after(HARD_STOP_LIMIT, shield=True):
            _drain(receive, buffers, limit=None)
            await roll.append_now_or_never(buffers.take())
        raise


async def _collect(receive: trio.MemoryReceiveChannel[Burst], buffers: Buffers, options: JournalOptions) -> bool:
    """Gather events for one interval, or until there are many; ``False`` when no more will come."""
    with trio.move_on_after(options.interval):
        while buffers.rows < options.batch_rows:
            try:
                buffers.add(await receive.receive())
            except trio.EndOfChannel:
                return False
            # Under load the queue holds more than one round's worth. A round has a fixed cost, two ways through threads; taking
            # several rounds' worth at once is what lets the writer catch up.
            _drain(receive, buffers, CATCH_UP * options.batch_rows)
    return True


def _drain(receive: trio.MemoryReceiveChannel[Burst], buffers: Buffers, limit: int | None) -> None:
    """Take what is there without waiting: much cheaper than one ``await`` for each."""
    while limit is None or buffers.rows < limit:
        try:
            buffers.add(receive.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return
