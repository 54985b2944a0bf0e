"""What Binance USD-M sends, and what becomes of it.

``T`` means three things here: the matching time of a book ticker, the time of a trade, and the *next funding time* of a mark
price, whose own time is ``E``.
https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final, final

import msgspec

from quantlab_collector.contracts.events import BUY, SELL, Bbo, Funding, MarkPrice, StreamType, Trade
from quantlab_collector.exchanges.binance_conversation import BinanceConversation
from quantlab_collector.exchanges.protocol import Harvest, Reject
from quantlab_collector.exchanges.reading import MS, UNREADABLE, Millis, finite

NAME: Final = "binance"


@final
class _BookTicker(msgspec.Struct, gc=False, tag_field="e", tag="bookTicker"):
    s: str
    T: Millis
    b: float
    B: float
    a: float
    A: float


@final
class _AggTrade(msgspec.Struct, gc=False, tag_field="e", tag="aggTrade"):
    s: str
    T: Millis
    p: float
    q: float
    a: int
    m: bool


@final
class _MarkPrice(msgspec.Struct, gc=False, tag_field="e", tag="markPriceUpdate"):
    s: str
    E: Millis
    p: float
    r: float
    T: Millis
    i: float | None = None


class _Envelope(msgspec.Struct, gc=False):
    data: _BookTicker | _AggTrade | _MarkPrice


class _OneSidedBookTicker(msgspec.Struct, tag_field="e", tag="bookTicker"):
    """A book ticker as it may also be: with an empty side."""

    s: str
    T: Millis
    b: float | None
    B: float | None
    a: float | None
    A: float | None


class _UnfundedMarkPrice(msgspec.Struct, tag_field="e", tag="markPriceUpdate"):
    """A mark price as delivery contracts have it: without a funding rate."""

    s: str
    E: Millis
    p: float
    r: float | None = None
    T: Millis = 0
    i: float | None = None


_decode = msgspec.json.Decoder(_Envelope, strict=False).decode


class UsdmSession(BinanceConversation):
    """One connection's conversation.

    Nearly every frame is read by one typed decode straight into numbers. Whatever that does not take at once is looked at
    again, slowly and with patience, in ``_read_carefully``; both ways lead to the same events.
    """

    shapes: ClassVar[Mapping[str, tuple[type[Any], StreamType]]] = MappingProxyType(
        {
            "bookTicker": (_OneSidedBookTicker, StreamType.BBO),
            "aggTrade": (_AggTrade, StreamType.TRADE),
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
            if type(frame) is not bytes:
                self._read_carefully(frame, ts_recv, harvest)
            # A sum of finite numbers times zero is zero; with a NaN or an infinity among them it is not.
            elif type(data) is _BookTicker:
                bid, bid_qty, ask, ask_qty = data.b, data.B, data.a, data.A
                symbol = bbo_symbols.get(data.s)
                if symbol is not None and (bid + bid_qty + ask + ask_qty) * 0.0 == 0.0:
                    append_bbo(Bbo(data.T * MS, ts_recv, NAME, symbol, bid, bid_qty, ask, ask_qty))
                    bbo_seen[symbol] = ts_recv
                else:
                    self._read_carefully(frame, ts_recv, harvest)
            elif type(data) is _AggTrade:
                price, qty, number = data.p, data.q, data.a
                symbol = trade_symbols.get(data.s)
                if symbol is not None and (price + qty) * 0.0 == 0.0:
                    side = SELL if data.m else BUY
                    append_trade(Trade(data.T * MS, ts_recv, NAME, symbol, price, qty, side, str(number)))
                    next_numbers[symbol] = (
                        number + 1 if next_numbers.get(symbol) == number else self._after(number, symbol, ts_recv, harvest)
                    )
                    trade_seen[symbol] = ts_recv
                else:
                    self._read_carefully(frame, ts_recv, harvest)
            else:
                reason = self._record_mark_price(data, ts_recv, harvest)
                if reason is not None:
                    harvest.rejects.append(Reject(reason, StreamType.MARK_PRICE, frame))
        return harvest

    def _record(self, data: Any, ts_recv: int, harvest: Harvest) -> str | None:
        """Put what was read carefully into the harvest, or say why not."""
        match data:
            case _OneSidedBookTicker():
                if not finite(data.b, data.B, data.a, data.A):
                    return "not_finite"
                symbol = self._symbols[StreamType.BBO].get(data.s)
                if symbol is None:
                    return "not_subscribed"
                bid = (data.b, data.B) if data.b is not None and data.B is not None else (None, None)
                ask = (data.a, data.A) if data.a is not None and data.A is not None else (None, None)
                harvest.bbo.append(Bbo(data.T * MS, ts_recv, NAME, symbol, *bid, *ask))
                self.seen[StreamType.BBO][symbol] = ts_recv
            case _AggTrade():
                symbol = self._symbols[StreamType.TRADE].get(data.s)
                if symbol is None:
                    return "not_subscribed"
                # It came, whether or not it can be recorded.
                self.next_numbers[symbol] = self._after(data.a, symbol, ts_recv, harvest)
                if not finite(data.p, data.q):
                    return "not_finite"
                side = SELL if data.m else BUY
                harvest.trade.append(Trade(data.T * MS, ts_recv, NAME, symbol, data.p, data.q, side, str(data.a)))
                self.seen[StreamType.TRADE][symbol] = ts_recv
            case _:
                return self._record_mark_price(data, ts_recv, harvest)
        return None

    def _record_mark_price(self, data: _MarkPrice | _UnfundedMarkPrice, ts_recv: int, harvest: Harvest) -> str | None:
        """One message, two streams; a delivery contract has no funding, and that is no fault."""
        if not finite(data.p, data.i, data.r):
            return "not_finite"
        mark_symbol = self._symbols[StreamType.MARK_PRICE].get(data.s)
        funding_symbol = self._symbols[StreamType.FUNDING].get(data.s)
        if mark_symbol is None and funding_symbol is None:
            return "not_subscribed"
        if mark_symbol is not None:
            harvest.mark_price.append(MarkPrice(data.E * MS, ts_recv, NAME, mark_symbol, data.p, data.i))
            self.seen[StreamType.MARK_PRICE][mark_symbol] = ts_recv
        if funding_symbol is not None and data.r is not None:
            harvest.funding.append(Funding(data.E * MS, ts_recv, NAME, funding_symbol, data.r, data.T * MS))
            self.seen[StreamType.FUNDING][funding_symbol] = ts_recv
        return None
