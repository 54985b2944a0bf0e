"""What waits for the store: counted as it comes and goes, and told while it is long or a stop waits for it."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import trio

from quantlab_collector.runtime.notices import DrainProgress, Notices
from quantlab_collector.storage.shipment import Shipment

TELL_EVERY: Final = 10.0
MANY: Final = 2
"""More segments than this are a backlog; fewer are the way of things."""


class Backlog:
    """The line in front of the shipper."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._state = notices.state
        self._shown = notices.state.writer
        self._send, self.shipments = trio.open_memory_channel[Shipment](math.inf)
        self._line: deque[Shipment] = deque()
        self._first_shipped = 0
        """Bytes of the first in the line that are in the store."""
        self.complete = trio.Event()
        """Set when no more will come."""

    async def fill(self, encoded: trio.MemoryReceiveChannel[Shipment]) -> None:
        """Take what the encoder gives, at once, so that it is counted."""
        with self._send:
            async for shipment in encoded:
                self._line.append(shipment)
                self._shown.backlog_bytes += shipment.bytes
                self._show()
                self._send.send_nowait(shipment)
        self.complete.set()

    def shipped(self, count: int) -> None:
        """So many bytes of the first in the line are in the store."""
        self._first_shipped += count
        self._shown.shipped_bytes += count
        self._shown.backlog_bytes -= count

    def done(self) -> None:
        """The first in the line is done with."""
        self._shown.backlog_bytes -= self._line.popleft().bytes - self._first_shipped
        self._first_shipped = 0
        self._show()

    def _show(self) -> None:
        self._shown.backlog_segments = len(self._line)
        self._shown.oldest_seal_ns = self._line[0].sealed if self._line else None

    async def tell_progress(self) -> None:
        """Until cancelled."""
        before = self._shown.shipped_bytes
        while True:
            await trio.sleep(TELL_EVERY)
            rate = (self._shown.shipped_bytes - before) / TELL_EVERY
            before = self._shown.shipped_bytes
            segments, left = self._shown.backlog_segments, self._shown.backlog_bytes
            if segments > MANY or (segments and self._state.stopping):
                self._notices.tell(DrainProgress(segments, left, round(rate), round(left / rate, 1) if rate else None))
