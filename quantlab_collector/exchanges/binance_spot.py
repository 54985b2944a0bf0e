"""What Binance spot sends, and what becomes of it.

Quotes have no time and no event type: the time of their reception stands in for the time of the event.
https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final

import msgspec

from quantlab_collector.contracts.events import BUY, SELL, Bbo, StreamType, Trade
from quantlab_collector.exchanges.binance_conversation import BinanceConversation
from quantlab_collector.exchanges.protocol import Harvest
from quantlab_collector.exchanges.reading import MS, UNREADABLE, Finite, Millis

NAME: Final = "binance-spot"

_BOOK_TICKER: Final = "bookTicker"
"""What we call the quotes, which do not say it themselves."""


class _Either(msgspec.Struct, gc=False):
    """A quote or a trade: only a quote has no event type, so they cannot be told apart by one."""

    s: str
    e: str = ""
    b: Finite | None = None
    B: Finite | None = None
    a: Finite | None = None
    A: Finite | None = None
    T: Millis = 0
    t: int | None = None
    p: Finite | None = None
    q: Finite | None = None
    m: bool | None = None


class _Envelope(msgspec.Struct, gc=False):
    data: _Either


class _Quote(msgspec.Struct):
    s: str
    b: Finite | None
    B: Finite | None
    a: Finite | None
    A: Finite | None


class _Trade(msgspec.Struct):
    s: str
    T: Millis
    t: int
    p: Finite
    q: Finite
    m: bool


_decode = msgspec.json.Decoder(_Envelope, strict=False).decode


class SpotSession(BinanceConversation):
    """One connection's conversation."""

    shapes: ClassVar[Mapping[str, tuple[type[Any], StreamType]]] = MappingProxyType(
        {_BOOK_TICKER: (_Quote, StreamType.BBO), "trade": (_Trade, StreamType.TRADE)}
    )

    def decode(self, frames: Sequence[bytes], ts_recv: int) -> Harvest:
        """Turn frames into events and outcomes."""
        harvest = Harvest()
        for frame in frames:
            try:
                data = _decode(frame).data
            except UNREADABLE:
                self._read_carefully(frame, ts_recv, harvest)
                continue
            if type(frame) is not bytes or self._record(data, ts_recv, harvest) is not None:
                self._read_carefully(frame, ts_recv, harvest)
        return harvest

    def _kind(self, payload: Mapping[str, Any]) -> str | None:
        kind = super()._kind(payload)
        return _BOOK_TICKER if kind is None and "u" in payload and "s" in payload else kind

    def _record(self, data: Any, ts_recv: int, harvest: Harvest) -> str | None:
        if isinstance(data, _Trade) or (isinstance(data, _Either) and data.e == "trade"):
            return self._record_trade(data, ts_recv, harvest)
        if isinstance(data, _Either) and (data.e or None in (data.b, data.B, data.a, data.A)):
            return "wrong_type"  # the patient way knows more
        return self._record_quote(data, ts_recv, harvest)

    def _record_quote(self, data: _Either | _Quote, ts_recv: int, harvest: Harvest) -> str | None:
        symbol = self._symbols[StreamType.BBO].get(data.s)
        if symbol is None:
            return "not_subscribed"
        bid = (data.b, data.B) if data.b is not None and data.B is not None else (None, None)
        ask = (data.a, data.A) if data.a is not None and data.A is not None else (None, None)
        harvest.bbo.append(Bbo(ts_recv, ts_recv, NAME, symbol, *bid, *ask))
        self.seen[StreamType.BBO][symbol] = ts_recv
        return None

    def _record_trade(self, data: _Either | _Trade, ts_recv: int, harvest: Harvest) -> str | None:
        price, qty, number, buyer_is_maker = data.p, data.q, data.t, data.m
        if price is None or qty is None or number is None or buyer_is_maker is None:
            return "missing_field"
        symbol = self._symbols[StreamType.TRADE].get(data.s)
        if symbol is None:
            return "not_subscribed"
        self.next_numbers[symbol] = self._after(number, symbol, ts_recv, harvest)
        side = SELL if buyer_is_maker else BUY
        harvest.trade.append(Trade(data.T * MS, ts_recv, NAME, symbol, price, qty, side, str(number)))
        self.seen[StreamType.TRADE][symbol] = ts_recv
        return None
