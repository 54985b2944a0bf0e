"""When a segment is opened and sealed, and what happens when the disk refuses."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
import pyarrow as pa
import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import Account
from quantlab_collector.contracts.schemas import identity
from quantlab_collector.runtime.account import account, account_told
from quantlab_collector.runtime.notices import LostAtStop, RecordingHindered, RecordingResumed
from quantlab_collector.runtime.obstacles import Obstacle, obstacle_of
from quantlab_collector.storage import files
from quantlab_collector.storage.journal import Abandoned, SegmentHeader, SegmentWriter
from quantlab_collector.writer.context import WriterContext
from quantlab_collector.writer.sealing import Filling, first_latest, is_due, usual_latest

PATIENCE: Final = 1.0
"""Seconds between two attempts on a disk that refuses."""


@attrs.frozen
class Filled:
    """A segment into which nothing more is written."""

    path: Path
    upto: int | None = None
    """Only so many bytes of it count, when a disk error ended it."""
    rows: Counter[tuple[str, StreamType]] | None = None
    """What this process knows to be in it; ``None`` when an earlier one wrote it."""


class SegmentRoll:
    """The segment being written, and the next one when it is full or old enough.

    When the disk refuses, the events stay in memory and are tried again, on a new segment, until they are written. Meanwhile
    nothing is taken from the queue. Two limits of our own work in the same way: the size of the spool, and what must be left free
    on the disk, so that there is always room for making parts and shipping them.
    """

    def __init__(
        self,
        context: WriterContext,
        filled: trio.MemorySendChannel[Filled],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._state = context.state
        self._shown = context.state.writer
        self._journal = context.threads.journal
        self._filled = filled
        self._clock = clock
        self._next_seq = 0
        self._writer: SegmentWriter | None = None
        self._filling = Filling()
        self._abandoned: tuple[Abandoned, Filled] | None = None
        """What a disk error ended; passed on when a new segment tells so, or a crash in between would show rows twice."""
        # A cancellation between taking batches and writing them must not lose them: they stay here until they are written.
        self._waiting: list[pa.RecordBatch] = []
        self._opened = 0.0
        self._first_luck: float | None = random.uniform(0.5, 1.0)  # noqa: S311 (nobody's secret)
        """``None`` once the first segment is sealed."""
        self._hindered_since = 0.0

    # ------------------------------------------------------------------------------------------------------- writing

    async def append(self, batches: list[pa.RecordBatch]) -> None:
        """Bring batches to the disk, however long that takes. A segment is opened only when there is something to put into it."""
        self._waiting += batches
        # While something is in the way, a write of nothing shows whether it still is.
        while (self._waiting or self._shown.obstacle) and not await self._write():
            if self._due():
                await self._seal()  # what is sealed can be shipped, and makes room
            await trio.sleep(PATIENCE)
        if self._due():
            await self._seal()

    async def append_now_or_never(self, batches: list[pa.RecordBatch]) -> None:
        """Bring batches to the disk, with no time left. What cannot be written is lost, and counted."""
        self._waiting += batches
        # A second attempt, on a new segment. Our own limits do not count here: they are for staying, and we leave.
        if not self._waiting or await self._attempt() or await self._attempt():
            return
        lost: Counter[tuple[str, StreamType]] = Counter()
        for batch in self._waiting:
            lost[identity(batch.schema)] += batch.num_rows
        self._waiting = []
        for (exchange, stream), count in lost.items():
            self._context.notices.tell(LostAtStop(exchange, stream, count, self._shown.obstacle_text))

    async def finish(self) -> None:
        """Seal what there is, however long that takes."""
        while not await self._seal():  # noqa: ASYNC110 (nobody tells when a disk is better)
            await trio.sleep(PATIENCE)
        self._resume()

    async def _write(self) -> bool:
        """Write what waits, unless our own limits forbid it."""
        if self._shown.obstacle is not None:
            await self._journal(self._measure)
        limit = self._limit()
        if limit is not None:
            self._hinder(*limit)
            return False
        return await self._attempt()

    def _limit(self) -> tuple[Obstacle, str] | None:
        context, free = self._context, self._shown.disk_free
        if context.spool_is_full:
            return Obstacle.SPOOL_FULL, f"the spool holds {self._shown.spool_bytes} bytes, all that spool.max_bytes allows"
        if free is not None and free < context.options.spool.min_free:
            return Obstacle.DISK_FULL, f"{free} bytes are free, less than spool.min_free"
        return None

    async def _attempt(self) -> bool:
        """Write what waits; on an error of the disk the segment is given up, and ``False``."""
        try:
            known = account(self._state)
            writer = self._writer or await self._open(known)
            written = await self._journal(self._append, writer, known)
        except OSError as fault:
            self._abandon(fault)
            return False
        now_ns = time.time_ns()
        for batch in self._waiting:
            self._state.latencies.synced(*identity(batch.schema), now_ns - batch.column("ts_recv")[0].as_py())
        for batch in written:
            self._state.books.journal(*identity(batch.schema), batch.num_rows)
            self._filling.add(batch)
        self._waiting = []
        self._shown.oldest_waiting_ns = None
        self._shown.last_sync_ns = now_ns
        self._publish()
        self._resume()
        return True

    # ------------------------------------------------------------------------------------------------------- sealing

    async def _seal(self) -> bool:
        """Close the segment and pass it on to the encoder; ``False`` when the disk refuses and there is more to tell."""
        try:
            if self._writer is None and self._abandoned is None and not self._has_news():
                return True
            writer = self._writer or await self._open(account(self._state))
            told = account(self._state)
            await self._journal(writer.seal, told, time.time_ns())
        except OSError as fault:
            self._abandon(fault)
            return False
        account_told(self._state, told)
        self._pass_on(self._take_writer(writer))
        self._first_luck = None
        return True

    def _due(self) -> bool:
        if self._writer is None:
            return False
        return is_due(
            self._context.options.flush,
            age=self._clock() - self._opened,
            size=self._writer.size,
            rows_of_a_part=self._filling.rows_of_a_part,
            latest=self._latest(),
        )

    def _latest(self) -> float:
        options = self._context.options.flush
        if self._shown.obstacle is not None:
            return options.interval  # nothing is added to it, and shipping it makes room
        if self._first_luck is not None:
            return first_latest(options, self._filling.parts, self._first_luck)
        return usual_latest(options)

    def _has_news(self) -> bool:
        return account(self._state).has_news

    # ------------------------------------------------------------------------------------------------- giving up a segment

    def _abandon(self, fault: OSError) -> None:
        """Nobody knows what of the last write is on the disk. What was synced before counts; the rest goes into a new segment."""
        if self._writer is not None:
            given_up = self._writer.abandon()
            filled = self._take_writer(self._writer)
            self._abandoned = given_up, attrs.evolve(filled, upto=given_up.bytes)
        self._hinder(obstacle_of(fault), str(fault))

    def _pass_on_abandoned(self) -> None:
        """The new segment says, on the disk, which one it follows: so that one may be encoded now."""
        if self._abandoned is not None:
            _, filled = self._abandoned
            self._abandoned = None
            self._pass_on(filled)

    def _hinder(self, obstacle: Obstacle, text: str) -> None:
        if self._shown.obstacle is None:
            self._hindered_since = self._clock()
        if self._shown.obstacle is not obstacle:
            self._context.notices.tell(RecordingHindered(obstacle, text))

    def _resume(self) -> None:
        if self._shown.obstacle is not None:
            seconds = round(self._clock() - self._hindered_since, 3)
            self._context.notices.tell(RecordingResumed(self._shown.obstacle, seconds))

    # ------------------------------------------------------------------------------------------------------- helpers

    async def _open(self, known: Account) -> SegmentWriter:
        context = self._context
        header = SegmentHeader(
            instance=self._state.instance,
            epoch_ms=context.epoch_ms,
            seq=self._next_seq,
            opened_ns=time.time_ns(),
            collector=self._state.version,
            units=dict(context.units),
            abandons=self._abandoned[0] if self._abandoned else None,
        )
        self._next_seq += 1
        self._writer = await self._journal(SegmentWriter, context.spool.journal_path(header.segment), header, known)
        self._opened = self._clock()
        self._pass_on_abandoned()  # now, for this segment may be the next one to be abandoned
        return self._writer

    def _append(self, writer: SegmentWriter, known: Account) -> list[pa.RecordBatch]:
        written = writer.append(self._waiting, known)
        self._measure()
        return written

    def _measure(self) -> None:
        try:
            self._shown.disk_free = files.free_bytes(self._context.spool.root)
        except OSError:
            self._shown.disk_free = None  # then an attempt has to show

    def _take_writer(self, writer: SegmentWriter) -> Filled:
        filled = Filled(writer.path, None, self._filling.rows)
        self._writer, self._filling = None, Filling()
        self._publish()
        return filled

    def _pass_on(self, filled: Filled) -> None:
        self._shown.sealed_segments += 1
        self._filled.send_nowait(filled)

    def _publish(self) -> None:
        shown, writer = self._shown, self._writer
        shown.segment = str(writer.header.segment) if writer else None
        shown.segment_rows = writer.rows if writer else 0
        shown.segment_bytes = writer.size if writer else 0
