"""Bybit's books and trades as they are on the wire.

Each comes in two forms: the strict one that nearly every frame has, decoded straight into numbers, and a patient one for the
rest: a book with an empty side, the deltas of 2023, one bad trade among good ones.
https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook, https://bybit-exchange.github.io/docs/v5/websocket/public/trade
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, final

import msgspec

from quantlab_collector.contracts.events import Bbo
from quantlab_collector.exchanges.reading import Finite, Millis, Unreadable, convert, without_empty

BEFORE_SNAPSHOT: Final = "delta_before_snapshot"
"""The reason of a delta that nothing before it completes."""

Side = tuple[float | None, float | None]
"""The best price and its size; of an empty side neither."""
_Level = tuple[Finite, Finite]

# The fields stand in the order in which they come: the decoder looks for each from where it found the one before.


@final
class Book(msgspec.Struct, gc=False):
    """Level 1, as nearly always: one level a side."""

    b: tuple[_Level]
    a: tuple[_Level]


@final
class BookMessage(msgspec.Struct, gc=False):
    """A book as nearly all are. ``cts`` is the time of the match, ``ts`` that of the message; 2023 had no ``cts``."""

    topic: str
    ts: Millis
    type: Literal["snapshot"]
    data: Book
    cts: Millis | None = None


@final
class TradeItem(msgspec.Struct, gc=False):
    """One trade: time, the taker's side, size, price and id. The id is a UUID on linear, a number in a string on spot."""

    T: Millis
    S: Literal["Buy", "Sell"]
    v: Finite
    p: Finite
    i: Annotated[str, msgspec.Meta(min_length=1)]


@final
class TradeMessage(msgspec.Struct, gc=False):
    """Up to 1,024 trades."""

    topic: str
    data: list[TradeItem]


# --------------------------------------------------------------------------------------------------- the patient form

_AnyLevel = Annotated[list[Finite], msgspec.Meta(min_length=2)]


class _AnyBook(msgspec.Struct):
    b: list[_AnyLevel] | None
    a: list[_AnyLevel] | None


class _AnyBookMessage(msgspec.Struct):
    type: Literal["snapshot", "delta"]
    ts: Millis
    data: _AnyBook
    cts: Millis | None = None


class _AnyTrades(msgspec.Struct):
    data: list[Any]


def read_book(message: dict[str, Any], last: Bbo | None) -> tuple[int, Side, Side]:
    """The time in ms and both sides of a book; ``last`` is what a delta is completed from."""
    book = convert(without_empty(message), _AnyBookMessage)
    bids, asks = book.data.b or [], book.data.a or []
    bid, ask = _best(bids), _best(asks)
    if book.type == "delta":
        if last is None and not (bids and asks):
            raise Unreadable(BEFORE_SNAPSHOT)
        # In a delta an empty side is unchanged, and a level of size zero is gone.
        bid = _best([level for level in bids if level[1]]) if bids or last is None else (last.bid_price, last.bid_qty)
        ask = _best([level for level in asks if level[1]]) if asks or last is None else (last.ask_price, last.ask_qty)
    return (book.ts if book.cts is None else book.cts), bid, ask


def _best(levels: list[list[float]]) -> Side:
    return (levels[0][0], levels[0][1]) if levels else (None, None)


def read_trades(message: dict[str, Any]) -> tuple[list[TradeItem], list[str]]:
    """The trades of a message, and a reason for each that could not be read."""
    trades: list[TradeItem] = []
    reasons: list[str] = []
    for item in convert(message, _AnyTrades).data:
        try:
            trades.append(_read_trade(item))
        except Unreadable as fault:
            reasons.append(fault.reason)
    return trades, reasons


def _read_trade(item: Any) -> TradeItem:
    if not isinstance(item, dict):
        raise Unreadable("not_an_object")
    given = without_empty(item)
    if type(given.get("i")) is int:
        given["i"] = str(given["i"])
    return convert(given, TradeItem)
