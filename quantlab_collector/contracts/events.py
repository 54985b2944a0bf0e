"""The five kinds of event that a recording holds.

An event is one observation as an exchange sent it, with the two times that belong to it. Prices and sizes stay in the
exchange's own unit; a price that the exchange did not give is ``None``, never zero.

The classes are msgspec structs outside the garbage collector: half a million of them may wait in the queue, and a
collection that had to look at each would stall the sockets. They hold only numbers and strings, so no cycle can leak.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TypeAlias

import msgspec

STREAM_VERSION = 1
"""The version of the RAW schema that this package writes; it stands in every row."""

BUY, SELL = 1, -1
"""The side of a trade is the side of the taker."""


class StreamType(StrEnum):
    """What an event is about."""

    BBO = "bbo"
    TRADE = "trade"
    MARK_PRICE = "mark_price"
    FUNDING = "funding"
    OPEN_INTEREST = "open_interest"


class Bbo(msgspec.Struct, frozen=True, gc=False):
    """The best bid and offer. An empty side of the book is ``None`` in both price and quantity."""

    ts_event: int
    ts_recv: int
    exchange: str
    symbol: str
    bid_price: float | None
    bid_qty: float | None
    ask_price: float | None
    ask_qty: float | None


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade, or one aggregate of trades where the exchange sends aggregates."""

    ts_event: int
    ts_recv: int
    exchange: str
    symbol: str
    price: float
    qty: float
    side: int
    trade_id: str


class MarkPrice(msgspec.Struct, frozen=True, gc=False):
    """The mark price, and the index price where the same message carries it."""

    ts_event: int
    ts_recv: int
    exchange: str
    symbol: str
    mark_price: float
    index_price: float | None


class Funding(msgspec.Struct, frozen=True, gc=False):
    """The funding rate of the coming settlement and the time of that settlement."""

    ts_event: int
    ts_recv: int
    exchange: str
    symbol: str
    funding_rate: float
    next_funding_ts: int


class OpenInterest(msgspec.Struct, frozen=True, gc=False):
    """The open interest, in the exchange's own unit."""

    ts_event: int
    ts_recv: int
    exchange: str
    symbol: str
    open_interest: float


Event: TypeAlias = Bbo | Trade | MarkPrice | Funding | OpenInterest

EVENT_CLASSES: dict[StreamType, type[Event]] = {
    StreamType.BBO: Bbo,
    StreamType.TRADE: Trade,
    StreamType.MARK_PRICE: MarkPrice,
    StreamType.FUNDING: Funding,
    StreamType.OPEN_INTEREST: OpenInterest,
}


class Burst(msgspec.Struct, frozen=True, gc=False):
    """Events of one exchange and one stream, in the order in which they were received.

    This is what travels through the queue: counting and dropping look at a length, never at each event.
    """

    exchange: str
    stream: StreamType
    events: list[Event]

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)
