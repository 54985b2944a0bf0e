"""Binance USD-M futures.

Since April 2026 the stream host is split by path: the best bid and offer come from ``/public``, trades and mark prices from
``/market``. A stream asked for on the wrong route is acknowledged and silent for ever, so the route stands in one table below
and nowhere else. https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams

``T`` means three things here: the matching time of a book ticker, the time of a trade, and the *next funding time* of a mark
price, whose own time is ``E``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, final

import msgspec

from quantlab_collector.contracts.events import BUY, SELL, Bbo, Funding, MarkPrice, StreamType, Trade
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.binance_rest import BinanceUsdmRest
from quantlab_collector.exchanges.protocol import (
    ConnectionPlan,
    Endpoints,
    ExchangeRest,
    Harvest,
    Heartbeat,
    Limits,
    Notice,
    Outcome,
    Refused,
    Reject,
    Session,
    Subscribed,
    Unknown,
    Wanted,
)
from quantlab_collector.exchanges.reading import MS, UNREADABLE, Millis, Unreadable, chunks, convert, finite, parse, without_empty

NAME: Final = "binance"

_ROUTES: Final = (
    ("public", (("bookTicker", (StreamType.BBO,)),)),
    ("market", (("aggTrade", (StreamType.TRADE,)), ("markPrice@1s", (StreamType.MARK_PRICE, StreamType.FUNDING)))),
)
"""Route → what is asked there → the streams that it gives."""

STREAMS_PER_CONNECTION: Final = 200
"""The exchange allows 1,024; careful clients stay at its older limit."""
STREAMS_PER_REQUEST: Final = 100
"""Very long lists have been seen to fail silently."""


class BinanceUsdm:
    """The exchange as the collector sees it."""

    name: str = NAME
    streams: tuple[StreamType, ...] = (StreamType.BBO, StreamType.TRADE, StreamType.MARK_PRICE, StreamType.FUNDING)
    endpoints: Endpoints = Endpoints("wss://fstream.binance.com", "https://fapi.binance.com")
    # The connect limit is the one of the spot market; none is documented for futures. Ten messages a second are allowed, our
    # pongs included; the exchange's own client leaves half a second between two requests.
    # https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
    limits: Limits = Limits(connects=300, connects_period=300.0, request_gap=0.5)
    # The exchange pings every three minutes; a pong that copies the payload is all it wants, and the wire gives it.
    heartbeat: Heartbeat | None = None
    rest: ExchangeRest | None = BinanceUsdmRest()
    units: Mapping[StreamType, str] = MappingProxyType({StreamType.BBO: "base coin", StreamType.TRADE: "base coin"})

    def plan(self, wanted: Wanted) -> tuple[ConnectionPlan, ...]:
        """One connection per route and two hundred streams."""
        plans: list[ConnectionPlan] = []
        for route, kinds in _ROUTES:
            asked = [
                (f"{wanted.symbol_map.get(symbol, symbol).lower()}@{kind}", [Topic(NAME, stream, symbol) for stream in gives])
                for symbol in wanted.symbols
                for kind, can_give in kinds
                if (gives := [stream for stream in can_give if stream in wanted.streams])
            ]
            for number, share in enumerate(chunks(asked, STREAMS_PER_CONNECTION)):
                requests = chunks([name for name, _ in share], STREAMS_PER_REQUEST)
                plans.append(
                    ConnectionPlan(
                        exchange=NAME,
                        name=f"{route}-{number}",
                        url=f"{wanted.endpoints.ws_url}/{route}/stream",
                        topics=tuple(topic for _, topics in share for topic in topics),
                        requests=tuple(
                            msgspec.json.encode({"method": "SUBSCRIBE", "params": names, "id": request_id})
                            for request_id, names in enumerate(requests, start=1)
                        ),
                        symbol_map=wanted.symbol_map,
                    )
                )
        return tuple(plans)

    def session(self, plan: ConnectionPlan) -> Session:
        """A new conversation."""
        return BinanceSession(plan)


# ------------------------------------------------------------------------------------------------------- what it sends


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
_CAREFUL: Final[dict[str, tuple[Any, StreamType]]] = {
    "bookTicker": (_OneSidedBookTicker, StreamType.BBO),
    "aggTrade": (_AggTrade, StreamType.TRADE),
    "markPriceUpdate": (_UnfundedMarkPrice, StreamType.MARK_PRICE),
}


class BinanceSession:
    """One connection's conversation.

    Nearly every frame is read by one typed decode straight into numbers. Whatever that does not take at once is looked at
    again, slowly and with patience, in ``_read_carefully``; both ways lead to the same events.
    """

    def __init__(self, plan: ConnectionPlan) -> None:
        self.seen: dict[StreamType, dict[str, int]] = {stream: {} for stream in StreamType}
        # Only what was planned for this connection is recorded: the exchange does not get to choose our partitions.
        self._symbols: dict[StreamType, dict[str, str]] = {stream: {} for stream in StreamType}
        for topic in plan.topics:
            self._symbols[topic.stream][plan.symbol_map.get(topic.symbol, topic.symbol)] = topic.symbol

    def decode(self, frames: Sequence[bytes], ts_recv: int) -> Harvest:
        """Turn frames into events and outcomes."""
        harvest = Harvest()
        bbo_symbols, bbo_seen = self._symbols[StreamType.BBO], self.seen[StreamType.BBO]
        trade_symbols, trade_seen = self._symbols[StreamType.TRADE], self.seen[StreamType.TRADE]
        append_bbo, append_trade = harvest.bbo.append, harvest.trade.append
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
                price, qty = data.p, data.q
                symbol = trade_symbols.get(data.s)
                if symbol is not None and (price + qty) * 0.0 == 0.0:
                    side = SELL if data.m else BUY
                    append_trade(Trade(data.T * MS, ts_recv, NAME, symbol, price, qty, side, str(data.a)))
                    trade_seen[symbol] = ts_recv
                else:
                    self._read_carefully(frame, ts_recv, harvest)
            else:
                reason = self._record_mark_price(data, ts_recv, harvest)
                if reason is not None:
                    harvest.rejects.append(Reject(reason, StreamType.MARK_PRICE, frame))
        return harvest

    # ---------------------------------------------------------------------------------------------------- the slow way

    def _read_carefully(self, frame: bytes, ts_recv: int, harvest: Harvest) -> None:
        try:
            message = parse(frame)
        except Unreadable as fault:
            harvest.rejects.append(Reject(fault.reason, None, frame))
            return
        payload = message.get("data") if isinstance(message, dict) and "stream" in message else message
        # Streams of all markets come as arrays; nobody asks for them, but one that comes is readable.
        for item in payload if isinstance(payload, list) else (payload,):
            if not isinstance(item, dict):
                harvest.rejects.append(Reject("not_an_object", None, frame))
            elif isinstance(item.get("e"), str):
                self._read_event(item, frame, ts_recv, harvest)
            else:
                outcome = _outcome(item)
                if outcome is None:
                    harvest.rejects.append(Reject("no_event_type", None, frame))
                else:
                    harvest.outcomes.append(outcome)

    def _read_event(self, payload: dict[str, Any], frame: bytes, ts_recv: int, harvest: Harvest) -> None:
        kind = payload["e"]
        if kind == "serverShutdown":
            harvest.outcomes.append(Notice("serverShutdown", "the server is about to shut down", reconnect=True))
            return
        if kind not in _CAREFUL:
            harvest.outcomes.append(Unknown(kind))
            return
        shape, stream = _CAREFUL[kind]
        try:
            data = convert(without_empty(payload), shape)
        except Unreadable as fault:
            harvest.rejects.append(Reject(fault.reason, stream, frame))
            return
        reason = self._record(data, ts_recv, harvest)
        if reason is not None:
            harvest.rejects.append(Reject(reason, stream, frame))

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
                if not finite(data.p, data.q):
                    return "not_finite"
                symbol = self._symbols[StreamType.TRADE].get(data.s)
                if symbol is None:
                    return "not_subscribed"
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


def _outcome(message: dict[str, Any]) -> Outcome | None:
    """Acknowledgements and errors. An error comes as ``{"error":{…},"id":n}`` or bare; both are taken."""
    error = message.get("error", message)
    if isinstance(error, dict) and "msg" in error and "code" in error:
        code = error["code"]
        return Refused(None, code if isinstance(code, int | str) else None, str(error["msg"]))
    if "result" in message and "id" in message:
        return Subscribed(str(message["id"]))
    return None
