"""Where frames leave the intake for the archive: into a queue of their own, or dropped and counted. It never waits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Self

import trio

from quantlab_collector.contracts.events import Event
from quantlab_collector.contracts.raw_frames import RawRead
from quantlab_collector.runtime.notices import Notices, RawFramesDropped

_READ_COST: Final = 256
_FRAME_COST: Final = 64
_TRADE_COST: Final = 256
"""Bytes of memory that each takes besides its text: so the limit in bytes bounds the number of frames as well."""


class RawTap:
    """The producers' end of the queue.

    The channel itself is unbounded; the bound is ours, because it counts bytes. A read fits as a whole or is dropped as a whole.
    """

    def __init__(self, send: trio.MemorySendChannel[RawRead], notices: Notices, capacity: int) -> None:
        self._send = send
        self._notices = notices
        self._raw = notices.state.raw_archive
        self._capacity = capacity

    def offer(self, exchange: str, connection: str, ts_recv: int, messages: list[bytes], trades: Sequence[Event]) -> None:
        """Put what one read brought into the queue, if it fits."""
        raw, frames = self._raw, len(messages)
        cost = _READ_COST + _FRAME_COST * frames + _TRADE_COST * len(trades) + sum(map(len, messages))
        raw.account(exchange).received += frames
        if raw.queued_bytes + cost > self._capacity:
            self._notices.tell(RawFramesDropped(exchange, "queue_full", frames))
            return
        raw.queued_bytes += cost
        # A copy of the trades: the list itself is the writer's from now on, which puts others behind them.
        self._send.send_nowait(RawRead(exchange, connection, ts_recv, messages, trades[:], cost))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._send.close()


def open_raw_queue() -> tuple[trio.MemorySendChannel[RawRead], trio.MemoryReceiveChannel[RawRead]]:
    """The channel between intake and archive; the tap bounds it."""
    return trio.open_memory_channel[RawRead](math.inf)
