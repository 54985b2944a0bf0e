"""What others recorded from the exchanges, as the events that the collector would have made of it.

Of Bybit and OKX these are order books in full; their best bid and offer is taken out of them whenever it changes.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeAlias

from quantlab_collector.contracts.events import Bbo, Event, MarkPrice, StreamType, Trade

STREAMS: Final = {Bbo: StreamType.BBO, Trade: StreamType.TRADE, MarkPrice: StreamType.MARK_PRICE}
SECOND: Final = 10**9

Found: TypeAlias = dict[tuple[str, StreamType, str], list[Event]]
"""By exchange, stream and symbol."""


def found_in(path: Path, exchange: str) -> Found:
    found: Found = defaultdict(list)
    reader = {"bybit": bybit, "okx": okx}.get(exchange, binance)
    books: dict[str, Book] = defaultdict(Book)
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for line in data.splitlines():
        received, _, frame = line.partition(b"\t")
        for event in reader(json.loads(frame), nanoseconds(received), exchange, books):
            found[exchange, STREAMS[type(event)], event.symbol].append(event)
    return found


def nanoseconds(received: bytes) -> int:
    """Written as seconds with a fraction, microseconds or nanoseconds."""
    number = Decimal(received.decode())
    return int(number * next(unit for unit in (1, 10**3, SECOND) if number * unit > 10**18))


class Book:
    """Both sides, by price."""

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.top: tuple[float | None, ...] = ()

    def take(self, bids: list[list[str]], asks: list[list[str]], *, whole: bool) -> bool:
        """Whether the best prices or their sizes are others now."""
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            if whole:
                side.clear()
            side.update({float(price): float(size) for price, size, *_ in levels})
            for price in [price for price, size in side.items() if not size]:
                del side[price]
        bid, ask = max(self.bids, default=None), min(self.asks, default=None)
        before, self.top = self.top, (bid, self.bids.get(bid or 0), ask, self.asks.get(ask or 0))
        return self.top != before


def binance(frame: dict[str, Any], received: int, exchange: str, _: dict[str, Book]) -> Iterator[Event]:
    data = frame["data"]
    kind, at = data.get("e", "bookTicker"), data["T"] * 10**6 if "T" in data else received
    common = (received, exchange, data["s"])
    if kind == "bookTicker":
        yield Bbo(at, *common, *(float(data[key]) for key in "bBaA"))
    elif kind == "trade":
        yield Trade(at, *common, float(data["p"]), float(data["q"]), -1 if data["m"] else 1, str(data["t"]))
    elif kind == "markPriceUpdate":
        yield MarkPrice(data["E"] * 10**6, *common, float(data["p"]), float(data["i"]))


def bybit(frame: dict[str, Any], received: int, exchange: str, books: dict[str, Book]) -> Iterator[Event]:
    topic, data = frame.get("topic", ""), frame.get("data", {})
    if topic.startswith("orderbook."):
        symbol, book = data["s"], books[data["s"]]
        if book.take(data["b"], data["a"], whole=frame["type"] == "snapshot"):
            yield Bbo(frame.get("cts", frame["ts"]) * 10**6, received, exchange, symbol, *book.top)
    elif topic.startswith("publicTrade."):
        for one in data:
            side = 1 if one["S"] == "Buy" else -1
            yield Trade(one["T"] * 10**6, received, exchange, one["s"], float(one["p"]), float(one["v"]), side, one["i"])


def okx(frame: dict[str, Any], received: int, exchange: str, books: dict[str, Book]) -> Iterator[Event]:
    symbol = frame["arg"].get("instId", "")
    for one in frame.get("data", ()):
        if "asks" in one and books[symbol].take(one["bids"], one["asks"], whole=frame["action"] == "snapshot"):
            yield Bbo(int(one["ts"]) * 10**6, received, exchange, symbol, *books[symbol].top)
