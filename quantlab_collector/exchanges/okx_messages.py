"""What OKX sends: the shapes of its pushes, and the events that they become.

There are two readings. The decoders read the three channels that are nearly all of the traffic, in the form in which they nearly
always come. ``read_item`` reads an item of any channel in any form that makes sense. Where both read a frame, they lead to the
same event. https://www.okx.com/docs-v5/en/#public-data-websocket
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, final

import msgspec

from quantlab_collector.contracts.events import BUY, SELL, Bbo, Event, Funding, MarkPrice, OpenInterest, StreamType, Trade
from quantlab_collector.exchanges.reading import MS, UNREADABLE, Finite, Millis, Unreadable, convert, without_empty

NAME: Final = "okx"

CHANNELS: Final[Mapping[str, StreamType]] = MappingProxyType(
    {
        "bbo-tbt": StreamType.BBO,
        "trades": StreamType.TRADE,
        "mark-price": StreamType.MARK_PRICE,
        "funding-rate": StreamType.FUNDING,
        "open-interest": StreamType.OPEN_INTEREST,
    }
)
"""Channel → the stream that it gives."""


def instrument(symbol: str, symbol_map: Mapping[str, str]) -> str:
    """The exchange's name of a symbol: ``BTC-USDT-SWAP`` for ``BTCUSDT``.

    Only the map can lead to anything but a swap. A name that says no quote currency is asked for as it is: the exchange refuses
    it, by its name, and the refusal is reported. So nothing is recorded by mistake, such as a spot pair whose sizes are coins.
    """
    if symbol in symbol_map:
        return symbol_map[symbol]
    if symbol.endswith("-SWAP"):
        return symbol
    for quote in ("USDT", "USDC", "USD"):
        if symbol.endswith(quote) and symbol != quote:
            return f"{symbol.removesuffix(quote)}-{quote}-SWAP"
    return f"{symbol}-SWAP"


# ------------------------------------------------------------------------------------------------- what it sends, mostly


# The fields stand in the order in which they come: the decoder looks for each from where it found the one before.


@final
class _Level(msgspec.Struct, gc=False, array_like=True):
    """A price level; what follows in the array is a deprecated zero and the number of orders."""

    price: Finite
    qty: Finite


@final
class _Book(msgspec.Struct, gc=False, rename="camel"):
    asks: tuple[_Level]
    bids: tuple[_Level]
    ts: Millis
    inst_id: str | None = None


@final
class _Trade(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    trade_id: Annotated[str, msgspec.Meta(min_length=1)]
    px: Finite
    sz: Finite
    side: Literal["buy", "sell"]
    ts: Millis


@final
class _Mark(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    mark_px: Finite
    ts: Millis


class _BookArg(msgspec.Struct, gc=False, rename="camel"):
    channel: Literal["bbo-tbt"]
    inst_id: str


class _TradeArg(msgspec.Struct, gc=False):
    channel: Literal["trades"]


class _MarkArg(msgspec.Struct, gc=False):
    channel: Literal["mark-price"]


# A push holds a list, and as good as always one item: the types below take exactly one.


@final
class BookPush(msgspec.Struct, gc=False):
    """A quote."""

    arg: _BookArg
    data: tuple[_Book]


@final
class TradePush(msgspec.Struct, gc=False):
    """Fills of one price and one taker order."""

    arg: _TradeArg
    data: tuple[_Trade]


@final
class MarkPush(msgspec.Struct, gc=False):
    """A mark price."""

    arg: _MarkArg
    data: tuple[_Mark]


FIRST_LETTER: Final = len('{"arg":{"channel":"')
"""Where the channel begins in every push. Its first letter says which decoder is worth trying, and no more than that: the decoder
checks the channel."""
OF_BOOK, OF_TRADE, OF_MARK = b"btm"
decode_book = msgspec.json.Decoder(BookPush, strict=False).decode
decode_trade = msgspec.json.Decoder(TradePush, strict=False).decode
decode_mark = msgspec.json.Decoder(MarkPush, strict=False).decode
NOT_THIS_WAY: Final = (IndexError, *UNREADABLE)
"""All that looking at a frame and decoding it may raise."""


# ------------------------------------------------------------------------------------------------ what it may also send


class Item(msgspec.Struct, kw_only=True, rename="camel"):
    """What all items have: the only time there is, and the instrument, unless ``arg`` alone names it."""

    ts: Millis
    inst_id: str | None = None

    def event(self, ts_recv: int, symbol: str) -> Event:
        """What it says, as an event."""
        raise NotImplementedError


class _AnyBook(Item):
    bids: list[list[Any]]
    asks: list[list[Any]]

    def event(self, ts_recv: int, symbol: str) -> Event:
        return Bbo(self.ts * MS, ts_recv, NAME, symbol, *_best(self.bids), *_best(self.asks))


class _AnyTrade(Item):
    px: Finite
    sz: Finite
    side: Literal["buy", "sell"]
    trade_id: str | int

    def event(self, ts_recv: int, symbol: str) -> Event:
        side = BUY if self.side == "buy" else SELL
        return Trade(self.ts * MS, ts_recv, NAME, symbol, self.px, self.sz, side, str(self.trade_id))


class _AnyMark(Item):
    mark_px: Finite

    def event(self, ts_recv: int, symbol: str) -> Event:
        return MarkPrice(self.ts * MS, ts_recv, NAME, symbol, self.mark_px, None)


class _AnyFunding(Item):
    funding_rate: Finite
    funding_time: Millis

    def event(self, ts_recv: int, symbol: str) -> Event:
        return Funding(self.ts * MS, ts_recv, NAME, symbol, self.funding_rate, self.funding_time * MS)


class _AnyOpenInterest(Item):
    oi: Finite

    def event(self, ts_recv: int, symbol: str) -> Event:
        return OpenInterest(self.ts * MS, ts_recv, NAME, symbol, self.oi)


_SHAPES: Final[Mapping[str, type[Item]]] = {
    "bbo-tbt": _AnyBook,
    "trades": _AnyTrade,
    "mark-price": _AnyMark,
    "funding-rate": _AnyFunding,
    "open-interest": _AnyOpenInterest,
}


def read_item(channel: str, item: Any) -> Item:
    """One item of a push; what makes no sense is ``Unreadable``."""
    if not isinstance(item, dict):
        raise Unreadable("not_an_object")
    return convert(without_empty(item), _SHAPES[channel])


class _AnyLevel(msgspec.Struct, array_like=True):
    price: Finite | None
    qty: Finite | None


def _best(levels: list[list[Any]]) -> tuple[float | None, float | None]:
    """Price and quantity of the first level; an empty side has neither."""
    if not levels:
        return None, None
    level = convert([None if part == "" else part for part in levels[0]], _AnyLevel)
    return (level.price, level.qty) if level.price is not None and level.qty is not None else (None, None)
