"""Where events leave the intake: into the queue, or dropped and counted. It never waits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import trio

from quantlab_collector.contracts.events import Burst
from quantlab_collector.runtime.notices import Notices, QueueFullDrop


class Outlet:
    """One producer's end of the queue.

    The channel itself is unbounded; the bound is ours, because it counts events and an item of the channel is a burst of them.
    What does not fit is dropped, the newest first. A writer that is gone is not a full queue: that error is let through.
    """

    def __init__(self, send: trio.MemorySendChannel[Burst], notices: Notices) -> None:
        self._send = send
        self._notices = notices
        self._state = notices.state

    def offer(self, bursts: Sequence[Burst]) -> None:
        """Put bursts into the queue as far as they fit."""
        state = self._state
        books, latencies = state.books, state.latencies
        for burst in bursts:
            room = state.queue_capacity - books.queued
            count = len(burst.events)
            latencies.received(burst)
            if count <= room:
                books.receive(burst.exchange, burst.stream, count, 0, "")
                self._send.send_nowait(burst)
            else:
                self._offer_part(burst, max(room, 0))
        state.queue_peak = max(state.queue_peak, books.queued)

    def _offer_part(self, burst: Burst, room: int) -> None:
        dropped = len(burst.events) - room
        reason = str(self._state.writer.obstacle or "queue_full")
        self._state.books.receive(burst.exchange, burst.stream, room, dropped, reason)
        if room:
            self._send.send_nowait(Burst(burst.exchange, burst.stream, burst.events[:room]))
        self._notices.tell(QueueFullDrop(burst.exchange, burst.stream, dropped, reason))

    def clone(self) -> Outlet:
        """Another producer's end; each is closed by its owner."""
        return Outlet(self._send.clone(), self._notices)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._send.close()


def open_queue() -> tuple[trio.MemorySendChannel[Burst], trio.MemoryReceiveChannel[Burst]]:
    """The channel between intake and writer; the outlets bound it."""
    return trio.open_memory_channel[Burst](math.inf)
