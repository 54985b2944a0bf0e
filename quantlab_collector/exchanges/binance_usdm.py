"""What Binance USD-M sends, and what becomes of it.

``T`` means three things here: the matching time of a book ticker, the time of a trade, and the *next funding time* of a mark
price, whose own time is ``E``.
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from types import MappingProxyType
from typing import Any, ClassVar, Final, final

import msgspec

from quantlab_collector.contracts.events import BUY, SELL, Bbo, Funding, MarkPrice, StreamType, Trade
from quantlab_collector.exchanges.binance_conversation import BinanceConversation
from quantlab_collector.exchanges.protocol import Harvest
from quantlab_collector.exchanges.reading import MS, UNREADABLE, Finite, Millis

NAME: Final = "binance"

# The fields stand in the order in which they come: the decoder looks for each from where it found the one before.


@final
class _BookTicker(msgspec.Struct, gc=False, tag_field="e", tag="bookTicker"):
    s: str
    b: Finite
    B: Finite
    a: Finite
    A: Finite
    T: Millis


@final
class _AggTrade(msgspec.Struct, gc=False, tag_field="e", tag="aggTrade"):
    a: int
    s: str
    p: Finite
    q: Finite
    T: Millis
    m: bool


@final
class _MarkPrice(msgspec.Struct, gc=False, tag_field="e", tag="markPriceUpdate", kw_only=True):
    E: Millis
    s: str
    p: Finite
    i: Finite | None = None
    r: Finite
    T: Millis


class _Envelope(msgspec.Struct, gc=False):
    data: _BookTicker | _AggTrade | _MarkPrice


class _OneSidedBookTicker(msgspec.Struct, tag_field="e", tag="bookTicker"):
    """A book ticker as it may also be: with an empty side."""

    s: str
    T: Millis
    b: Finite | None
    B: Finite | None
    a: Finite | None
    A: Finite | None


class _AnyAggTrade(msgspec.Struct, tag_field="e", tag="aggTrade"):
    """A trade whose numbers may be none."""

    s: str
    T: Millis
    p: float
    q: float
    a: int
    m: bool


class _UnfundedMarkPrice(msgspec.Struct, tag_field="e", tag="markPriceUpdate"):
    """A mark price as delivery contracts have it: without a funding rate."""

    s: str
    E: Millis
    p: Finite
    r: Finite | None = None
    T: Millis = 0
    i: Finite | None = None


_decode = msgspec.json.Decoder(_Envelope, strict=False).decode


class UsdmSession(BinanceConversation):
    """One connection's conversation.

    Nearly every frame is read by one typed decode straight into numbers. Whatever that does not take at once is looked at
    again, slowly and with patience, in ``_read_carefully``; both ways lead to the same events.
    """

    shapes: ClassVar[Mapping[str, tuple[type[Any], StreamType]]] = MappingProxyType(
        {
            "bookTicker": (_OneSidedBookTicker, StreamType.BBO),
            "aggTrade": (_AnyAggTrade, StreamType.TRADE),
            "markPriceUpdate": (_UnfundedMarkPrice, StreamType.MARK_PRICE),
        }
    )

    def decode(self, frames: Sequence[bytes], ts_recv: int) -> Harvest:
        """Turn frames into events and outcomes."""
        harvest = Harvest()
        bbo_symbols, bbo_seen = self._symbols[StreamType.BBO], self.seen[StreamType.BBO]
        trade_symbols, trade_seen = self._symbols[StreamType.TRADE], self.seen[StreamType.TRADE]
        append_bbo, append_trade, next_numbers = harvest.bbo.append, harvest.trade.append, self.next_numbers
        for frame in frames:
            try:
                data = _decode(frame).data
            except UNREADABLE:
                self._read_carefully(frame, ts_recv, harvest)
                continue
            if type(frame) is bytes:
                if type(data) is _BookTicker:
                    symbol = bbo_symbols.get(data.s)
                    if symbol is not None:
                        append_bbo(Bbo(data.T * MS, ts_recv, NAME, symbol, data.b, data.B, data.a, data.A))
                        bbo_seen[symbol] = ts_recv
                        continue
                elif type(data) is _AggTrade:
                    symbol, number = trade_symbols.get(data.s), data.a
                    if symbol is not None:
                        side = SELL if data.m else BUY
                        append_trade(Trade(data.T * MS, ts_recv, NAME, symbol, data.p, data.q, side, str(number)))
                        is_next = next_numbers.get(symbol) == number
                        next_numbers[symbol] = number + 1 if is_next else self._after(number, symbol, ts_recv, harvest)
                        trade_seen[symbol] = ts_recv
                        continue
                elif self._take_mark_price(data, ts_recv, harvest):
                    continue
            self._read_carefully(frame, ts_recv, harvest)
        return harvest

    def _record(self, data: Any, ts_recv: int, harvest: Harvest) -> str | None:
        """Put what was read carefully into the harvest, or say why not."""
        match data:
            case _OneSidedBookTicker():
                symbol = self._symbols[StreamType.BBO].get(data.s)
                if symbol is None:
                    return "not_subscribed"
                bid = (data.b, data.B) if data.b is not None and data.B is not None else (None, None)
                ask = (data.a, data.A) if data.a is not None and data.A is not None else (None, None)
                harvest.bbo.append(Bbo(data.T * MS, ts_recv, NAME, symbol, *bid, *ask))
                self.seen[StreamType.BBO][symbol] = ts_recv
            case _AnyAggTrade():
                symbol = self._symbols[StreamType.TRADE].get(data.s)
                if symbol is None:
                    return "not_subscribed"
                # It came, whether or not it can be recorded.
                self.next_numbers[symbol] = self._after(data.a, symbol, ts_recv, harvest)
                if not (isfinite(data.p) and isfinite(data.q)):
                    return "not_finite"
                side = SELL if data.m else BUY
                harvest.trade.append(Trade(data.T * MS, ts_recv, NAME, symbol, data.p, data.q, side, str(data.a)))
                self.seen[StreamType.TRADE][symbol] = ts_recv
            case _:
                return None if self._take_mark_price(data, ts_recv, harvest) else "not_subscribed"
        return None

    def _take_mark_price(self, data: _MarkPrice | _UnfundedMarkPrice, ts_recv: int, harvest: Harvest) -> bool:
        """One message, two streams; false when neither was asked for. A delivery contract has no funding: that is no fault."""
        mark_symbol = self._symbols[StreamType.MARK_PRICE].get(data.s)
        funding_symbol = self._symbols[StreamType.FUNDING].get(data.s)
        if mark_symbol is not None:
            harvest.mark_price.append(MarkPrice(data.E * MS, ts_recv, NAME, mark_symbol, data.p, data.i))
            self.seen[StreamType.MARK_PRICE][mark_symbol] = ts_recv
        if funding_symbol is not None and data.r is not None:
            harvest.funding.append(Funding(data.E * MS, ts_recv, NAME, funding_symbol, data.r, data.T * MS))
            self.seen[StreamType.FUNDING][funding_symbol] = ts_recv
        return mark_symbol is not None or funding_symbol is not None
