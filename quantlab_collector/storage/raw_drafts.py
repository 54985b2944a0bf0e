"""Files of the raw-frame archive while they are gathered in memory: one for each exchange, until it is large or old enough."""

from __future__ import annotations

import hashlib
import math
from collections import Counter

from quantlab_collector.contracts.events import Trade
from quantlab_collector.contracts.layout import DAY_NS, RawCompression, RawFile, SegmentId, date_of_day
from quantlab_collector.contracts.raw_frames import RawRead
from quantlab_collector.storage.rawlog import RawManifest, compress, encode_lines


class Draft:
    """The frames of one exchange and one day that will be a file."""

    def __init__(self, exchange: str, day: int, opened: float) -> None:
        self.exchange = exchange
        self.day = day
        self.opened = opened
        self.size = 0
        """Of its lines."""
        self.connections: Counter[str] = Counter()
        self._lines: list[bytes] = []
        self._first_ns, self._last_ns = math.inf, -math.inf
        self._trades: dict[str, tuple[str, str]] = {}

    @property
    def frames(self) -> int:
        """How many there are."""
        return self.connections.total()

    def add(self, read: RawRead) -> None:
        """Take what one read brought."""
        lines = encode_lines(read.ts_recv, read.connection, read.messages)
        self._lines.append(lines)
        self.size += len(lines)
        self.connections[read.connection] += len(read.messages)
        self._first_ns, self._last_ns = min(self._first_ns, read.ts_recv), max(self._last_ns, read.ts_recv)
        for trade in read.trades:
            if isinstance(trade, Trade):
                first, _ = self._trades.get(trade.symbol, (trade.trade_id, ""))
                self._trades[trade.symbol] = (first, trade.trade_id)

    def finish(
        self, instance: str, segment: SegmentId, collector: str, compression: RawCompression, dropped: int
    ) -> tuple[RawManifest, bytes]:
        """The file, and its manifest."""
        data = compress(b"".join(self._lines), compression)
        manifest = RawManifest(
            key=RawFile(self.exchange, date_of_day(self.day), instance, segment, compression).key,
            instance=instance,
            exchange=self.exchange,
            collector=collector,
            compression=compression,
            frames=self.frames,
            dropped=dropped,
            ts_recv=(int(self._first_ns), int(self._last_ns)),
            connections=dict(self.connections),
            trade_id=self._trades,
            jsonl_bytes=self.size,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        return manifest, data


class Drafts:
    """All drafts, at most one for each exchange; and those that are full, in the order in which they became so."""

    def __init__(self, rotate_bytes: int, rotate_after: float) -> None:
        self._rotate_bytes = rotate_bytes
        self._rotate_after = rotate_after
        self._open: dict[str, Draft] = {}
        self.full: list[Draft] = []
        """Whoever makes files of them takes them out."""

    @property
    def due(self) -> float:
        """When the oldest becomes a file, however small it is."""
        return min((draft.opened for draft in self._open.values()), default=math.inf) + self._rotate_after

    def add(self, read: RawRead, now: float) -> None:
        """Put a read where it belongs. A file holds the frames of one day: a day that is over is closed."""
        day = read.ts_recv // DAY_NS
        draft = self._open.get(read.exchange)
        if draft is None or draft.day != day:
            if draft is not None:
                self.full.append(draft)
            draft = self._open[read.exchange] = Draft(read.exchange, day, now)
        draft.add(read)
        if draft.size >= self._rotate_bytes:
            self.full.append(self._open.pop(read.exchange))

    def age(self, now: float) -> None:
        """Those that are old enough are full."""
        old = [exchange for exchange, draft in self._open.items() if now >= draft.opened + self._rotate_after]
        self.full += map(self._open.pop, old)
