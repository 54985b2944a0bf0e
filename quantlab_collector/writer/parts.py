"""The parts of one segment on their way to the store, side by side.

To ask for a thread costs as much as to store a small part in a folder. So a thread that has stored one goes on with the next for
a moment: with a folder that makes dozens of parts, with a bucket one or two. At the gate such a run counts as one request, for it
is at one part at a time; which one, its text tells.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import Final, TypeAlias

import trio

from quantlab_collector.contracts.manifest import Part
from quantlab_collector.runtime.notices import PartSpoiled
from quantlab_collector.storage.objects import Objects
from quantlab_collector.storage.pack import Pack, SpoiledPartError
from quantlab_collector.writer.backlog import Backlog
from quantlab_collector.writer.context import WriterContext
from quantlab_collector.writer.disk import Disk
from quantlab_collector.writer.gate import MAX_IN_FLIGHT, Gate

BAD_READS: Final = 4
"""So often a disk may fail to give a part back before the segment is shipped without it."""
RUN: Final = 0.02
"""Seconds after which a thread takes no further part: others wait for their turn, and a stop should not wait for long."""

_Placed: TypeAlias = tuple[Part, int]
_Line: TypeAlias = deque[_Placed]


class Parts:
    """Brings parts to the store."""

    def __init__(self, context: WriterContext, gate: Gate, backlog: Backlog) -> None:
        self._objects = context.objects
        self._notices = context.notices
        self._gate = gate
        self._backlog = backlog
        self._disk = Disk(context.threads.upload, context.notices)

    async def ship(self, pack: Pack) -> frozenset[str]:
        """Have all of them in the store, but for those that the disk did not keep: their keys."""
        line: _Line = deque(zip(pack.manifest.parts, pack.places, strict=True))
        spoiled: set[str] = set()
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(min(MAX_IN_FLIGHT, len(line))):
                    nursery.start_soon(self._ship_some, pack, line, spoiled, name=f"upload {pack.segment}")
        finally:
            line.clear()  # a thread that was left alone finds nothing more to do
        return frozenset(spoiled)

    async def _ship_some(self, pack: Pack, line: _Line, spoiled: set[str]) -> None:
        while (first := _next(line)) is not None:
            run = Run(pack, self._objects, first, line)
            await self._gate.until_done(run, run)
            self._backlog.shipped(run.bytes)
            for part, place in run.unread:
                await self._insist(pack, part, place, spoiled)

    async def _insist(self, pack: Pack, part: Part, place: int, spoiled: set[str]) -> None:
        """The disk did not give it back at once."""
        try:
            data = await self._disk.until_done(partial(pack.read_part, part, place), BAD_READS)
        except (SpoiledPartError, OSError) as fault:
            self._notices.tell(PartSpoiled(part.key, part.rows, str(fault)))
            spoiled.add(part.key)
            return
        await self._gate.until_done(part.key, partial(self._objects.put, part.key, data))
        self._backlog.shipped(part.bytes)


class Run:
    """Some parts, one after the other, in a thread. Called again after a fault it goes on with the part that failed, alone."""

    def __init__(self, pack: Pack, objects: Objects, first: _Placed, line: _Line) -> None:
        self._pack = pack
        self._objects = objects
        self._at = first
        self._line = line
        self._begun = False
        self.bytes = 0
        """In the store by now."""
        self.unread: list[_Placed] = []
        """What the disk did not give back."""

    def __str__(self) -> str:
        part, _ = self._at
        return part.key

    def __call__(self) -> None:
        """Raises the ``StoreFault`` of the part that it is at."""
        ends = 0.0 if self._begun else time.monotonic() + RUN
        self._begun = True
        self._ship(*self._at)
        while time.monotonic() < ends and (following := _next(self._line)) is not None:
            self._at = following
            self._ship(*following)

    def _ship(self, part: Part, place: int) -> None:
        try:
            data = self._pack.read_part(part, place)
        except (SpoiledPartError, OSError):
            self.unread.append((part, place))
        else:
            self._objects.put(part.key, data)
            self.bytes += part.bytes


def _next(line: _Line) -> _Placed | None:
    """Threads take from it as well: whether there is something can only be found out by taking it."""
    try:
        return line.popleft()
    except IndexError:
        return None
