"""Bybit v5: linear perpetuals and spot, two markets of one form.

Both markets use the same symbols and topics; only the path of the connection tells them apart. Everything is asked for by
messages after connecting, and a request is taken or refused as a whole: see ``bybit_requests``. Mark price, funding and open
interest come in one topic that tells only what has changed: see ``bybit_tickers``.

Quantities are in the base coin. The open interest is the sum of both sides; the half of it has a field of its own.
https://bybit-exchange.github.io/docs/v5/ws/connect
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from quantlab_collector.contracts.events import BUY, SELL, Bbo, StreamType, Trade
from quantlab_collector.contracts.rhythms import Rhythm
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.bybit_messages import BookMessage, TradeItem, TradeMessage, read_book, read_trades
from quantlab_collector.exchanges.bybit_requests import PendingRequests, subscribe_request
from quantlab_collector.exchanges.bybit_rest import BybitRest
from quantlab_collector.exchanges.bybit_tickers import Ticker, TickerMessage, read_ticker
from quantlab_collector.exchanges.protocol import (
    ConnectionPlan,
    Endpoints,
    ExchangeRest,
    Harvest,
    Heartbeat,
    Limits,
    Pong,
    Refused,
    Reject,
    Session,
    Subscribed,
    Unknown,
    Wanted,
)
from quantlab_collector.exchanges.reading import MS, UNREADABLE, Unreadable, chunks, parse

_BOOK, _TRADES, _TICKERS = "orderbook.1", "publicTrade", "tickers"

_CHANNELS: Final = {
    _BOOK: (StreamType.BBO,),
    _TRADES: (StreamType.TRADE,),
    _TICKERS: (StreamType.MARK_PRICE, StreamType.FUNDING, StreamType.OPEN_INTEREST),
}
"""Channel → the streams that it gives. A topic is a channel, a dot and a symbol."""
_CHANNEL_OF: Final = {stream: channel for channel, streams in _CHANNELS.items() for stream in streams}

ARGS_PER_CONNECTION: Final = 20_000
"""Characters. The exchange allows 21,000 and does not say whether quotes and commas count: here they do, with some room left."""


_RHYTHMS: Final = {
    StreamType.MARK_PRICE: Rhythm(every=60.0),
    StreamType.FUNDING: Rhythm(every=8 * 3600.0),
}
"""Tickers tell what has changed, and the first one everything. In a minute of four liquid symbols the mark price changed at least
every 20 s, the open interest every 12 s, the funding rate at most once: it may stay until the next settlement. The open interest
of a symbol in which nobody trades stays as long as that, so nothing is expected of it."""


class Bybit:
    """One market as the collector sees it."""

    endpoints: Endpoints = Endpoints("wss://stream.bybit.com", "https://api.bybit.com")
    # 500 connects in five minutes are allowed to the domain, which the two markets share. No limit of messages is known:
    # 200 requests within a few milliseconds have been seen to be answered.
    limits: Limits = Limits(connects=250, connects_period=300.0, request_gap=0.1)
    heartbeat: Heartbeat | None = Heartbeat(interval=20.0, message=b'{"op":"ping"}')

    def __init__(self, name: str, market: str, streams: tuple[StreamType, ...], args_per_request: int) -> None:
        units = {
            StreamType.BBO: "base coin",
            StreamType.TRADE: "base coin",
            StreamType.OPEN_INTEREST: "base coin, sum of both sides",
        }
        self.name = name
        self.streams = streams
        self.units: Mapping[StreamType, str] = MappingProxyType({key: unit for key, unit in units.items() if key in streams})
        self.rest: ExchangeRest | None = BybitRest(market)
        self.rhythms: Mapping[StreamType, Rhythm] = MappingProxyType({s: r for s, r in _RHYTHMS.items() if s in streams})
        self._market = market
        self._args_per_request = args_per_request

    def plan(self, wanted: Wanted) -> tuple[ConnectionPlan, ...]:
        """As many connections as the characters of all topics need."""
        asked: dict[str, list[Topic]] = {}
        for symbol in wanted.symbols:
            for stream in self.streams:
                if stream in wanted.streams:
                    topic = Topic(self.name, stream, symbol)
                    asked.setdefault(_topic_on_the_wire(topic, wanted.symbol_map), []).append(topic)
        return tuple(
            ConnectionPlan(
                exchange=self.name,
                name=f"{self._market}-{number}",
                url=f"{wanted.endpoints.ws_url}/v5/public/{self._market}",
                topics=tuple(topic for name in names for topic in asked[name]),
                requests=tuple(
                    subscribe_request(str(req_id), args)
                    for req_id, args in enumerate(chunks(names, self._args_per_request), start=1)
                ),
                symbol_map=wanted.symbol_map,
            )
            for number, names in enumerate(_shares(asked))
        )

    def session(self, plan: ConnectionPlan) -> Session:
        """A new conversation."""
        return BybitSession(plan)


LINEAR: Final = Bybit("bybit", "linear", tuple(StreamType), args_per_request=50)
"""Any number of topics may be in a request; fifty keep the harm small that a bad one does to the others."""
SPOT: Final = Bybit("bybit-spot", "spot", (StreamType.BBO, StreamType.TRADE), args_per_request=10)
"""More than ten topics in a request are refused."""


def _topic_on_the_wire(topic: Topic, symbol_map: Mapping[str, str]) -> str:
    return f"{_CHANNEL_OF[topic.stream]}.{symbol_map.get(topic.symbol, topic.symbol)}"


def _shares(names: Mapping[str, Any]) -> Iterator[list[str]]:
    """The names in order, as many at a time as one connection takes."""
    share: list[str] = []
    room = ARGS_PER_CONNECTION
    for name in names:
        length = len(name) + len('"",')
        if share and length > room:
            yield share
            share, room = [], ARGS_PER_CONNECTION
        share.append(name)
        room -= length
    if share:
        yield share


# ------------------------------------------------------------------------------------------------------- what it sends

_decode_book = msgspec.json.Decoder(BookMessage, strict=False).decode
_decode_trades = msgspec.json.Decoder(TradeMessage, strict=False).decode
_decode_ticker = msgspec.json.Decoder(TickerMessage, strict=False).decode


_FIRST_LETTER: Final = len('{"topic":"')
"""Where the topic begins in every frame. Its first letter says which decoder is worth trying, and no more than that: what is not
planned under the whole topic is not taken."""
_OF_BOOK, _OF_TRADES, _OF_TICKER = _BOOK.encode()[0], _TRADES.encode()[0], _TICKERS.encode()[0]
_NOT_THIS_WAY: Final = (IndexError, *UNREADABLE)
"""All that looking at a frame and decoding it may raise."""


class BybitSession:
    """One connection's conversation.

    Nearly every frame is read by one typed decode straight into numbers. Whatever that does not take at once is looked at
    again, slowly and with patience, in ``_read_carefully``; both ways lead to the same events.
    """

    def __init__(self, plan: ConnectionPlan) -> None:
        self.seen: dict[StreamType, dict[str, int]] = {stream: {} for stream in StreamType}
        self.next_numbers: dict[str, int] = {}  # nothing here is numbered without holes
        self._name = plan.exchange
        self._requests = PendingRequests(plan.requests)
        # Only what was planned for this connection is recorded: the exchange does not get to choose our partitions.
        self._planned: dict[str, list[Topic]] = {}
        for topic in plan.topics:
            self._planned.setdefault(_topic_on_the_wire(topic, plan.symbol_map), []).append(topic)
        self._books: dict[str, str] = {}
        self._trades: dict[str, str] = {}
        self._tickers: dict[str, Ticker] = {}
        for name, topics in self._planned.items():
            symbol = topics[0].symbol
            match _CHANNEL_OF[topics[0].stream]:
                case "orderbook.1":
                    self._books[name] = symbol
                case "publicTrade":
                    self._trades[name] = symbol
                case _:
                    self._tickers[name] = Ticker(self._name, symbol, {topic.stream for topic in topics}, self.seen)
        self._last_books: dict[str, Bbo] = {}
        """What the deltas of 2023 leave out."""
        self._bbo_seen, self._trade_seen = self.seen[StreamType.BBO], self.seen[StreamType.TRADE]

    def decode(self, frames: Sequence[bytes], ts_recv: int) -> Harvest:
        """Turn frames into events and outcomes."""
        harvest = Harvest()
        name, books, last_books, bbo_seen, append_bbo = (
            self._name,
            self._books,
            self._last_books,
            self._bbo_seen,
            harvest.bbo.append,
        )
        for frame in frames:
            try:
                letter = frame[_FIRST_LETTER] if type(frame) is bytes else None
                if letter == _OF_BOOK:
                    message = _decode_book(frame)
                    symbol = books.get(message.topic)
                    if symbol is not None:
                        ts_ms = message.ts if message.cts is None else message.cts
                        ((bid, bid_qty),), ((ask, ask_qty),) = message.data.b, message.data.a
                        bbo = Bbo(ts_ms * MS, ts_recv, name, symbol, bid, bid_qty, ask, ask_qty)
                        append_bbo(bbo)
                        last_books[symbol] = bbo
                        bbo_seen[symbol] = ts_recv
                        continue
                elif letter == _OF_TRADES:
                    if self._take_trades(_decode_trades(frame), ts_recv, harvest):
                        continue
                elif letter == _OF_TICKER and self._take_ticker(frame, ts_recv, harvest):
                    continue
            except _NOT_THIS_WAY:
                pass
            self._read_carefully(frame, ts_recv, harvest)
        return harvest

    def _take_trades(self, message: TradeMessage, ts_recv: int, harvest: Harvest) -> bool:
        symbol = self._trades.get(message.topic)
        if symbol is None or not message.data:
            return False
        self._record_trades(symbol, message.data, ts_recv, harvest)
        return True

    def _record_trades(self, symbol: str, trades: list[TradeItem], ts_recv: int, harvest: Harvest) -> None:
        name, append = self._name, harvest.trade.append
        for each in trades:
            append(Trade(each.T * MS, ts_recv, name, symbol, each.p, each.v, BUY if each.S == "Buy" else SELL, each.i))
        self._trade_seen[symbol] = ts_recv

    def _take_ticker(self, frame: bytes, ts_recv: int, harvest: Harvest) -> bool:
        message = _decode_ticker(frame)
        ticker = self._tickers.get(message.topic)
        if ticker is None:
            return False
        for stream, reason in ticker.take(message, ts_recv, harvest):
            harvest.rejects.append(Reject(reason, stream, frame))
        return True

    # ---------------------------------------------------------------------------------------------------- the slow way

    def _read_carefully(self, frame: bytes, ts_recv: int, harvest: Harvest) -> None:
        try:
            message = parse(frame)
        except Unreadable as fault:
            harvest.rejects.append(Reject(fault.reason, None, frame))
            return
        if not isinstance(message, dict):
            harvest.rejects.append(Reject("not_an_object", None, frame))
        elif isinstance(message.get("topic"), str):
            self._read_topic(message["topic"], message, frame, ts_recv, harvest)
        elif "op" in message or "success" in message:
            self._hear(message, harvest)
        else:
            harvest.rejects.append(Reject("no_topic", None, frame))

    def _read_topic(self, topic: str, message: dict[str, Any], frame: bytes, ts_recv: int, harvest: Harvest) -> None:
        channel = topic.rpartition(".")[0]
        if channel not in _CHANNELS:
            harvest.outcomes.append(Unknown(channel or topic))
            return
        faults: list[tuple[StreamType, str]] = []
        try:
            if topic in self._books:
                symbol = self._books[topic]
                ts_ms, bid, ask = read_book(message, self._last_books.get(symbol))
                bbo = self._last_books[symbol] = Bbo(ts_ms * MS, ts_recv, self._name, symbol, *bid, *ask)
                harvest.bbo.append(bbo)
                self._bbo_seen[symbol] = ts_recv
            elif topic in self._trades:
                trades, reasons = read_trades(message)
                faults = [(StreamType.TRADE, reason) for reason in reasons]
                if trades:
                    self._record_trades(self._trades[topic], trades, ts_recv, harvest)
            elif topic in self._tickers:
                told, unread = read_ticker(message)
                faults = self._tickers[topic].take_what_is_left(told, ts_recv, harvest, unread)
            else:
                faults = [(_CHANNELS[channel][0], "not_subscribed")]
        except Unreadable as fault:
            # What this message should have told is newer than what is remembered.
            if topic in self._books:
                self._last_books.pop(self._books[topic], None)
            elif topic in self._tickers:
                self._tickers[topic].forget()
            faults = [(_CHANNELS[channel][0], fault.reason)]
        harvest.rejects += [Reject(reason, stream, frame) for stream, reason in faults]

    # ---------------------------------------------------------------------------------------------------------- answers

    def _hear(self, message: dict[str, Any], harvest: Harvest) -> None:
        """Answers to what we sent. A pong has the name of the ping."""
        op, text = str(message.get("op") or ""), str(message.get("ret_msg") or "")
        req_id = str(message.get("req_id") or "")
        if message.get("success") is False:
            if op in {"subscribe", ""}:
                self._refused(req_id, text, harvest)
            else:
                harvest.outcomes.append(Refused(None, None, text))
        elif op == "subscribe":
            harvest.outcomes.append(Subscribed(req_id, self._recorded(self._requests.acknowledge(req_id))))
        elif op in {"ping", "pong"}:
            harvest.outcomes.append(Pong())
        else:
            harvest.outcomes.append(Unknown(op or "an answer without op"))

    def _refused(self, req_id: str, text: str, harvest: Harvest) -> None:
        after = self._requests.refuse(req_id, text)
        harvest.outcomes += [Refused(topic, None, text) for topic in self._recorded(after.lost)]
        if after.held:
            harvest.outcomes.append(Subscribed(req_id, self._recorded(after.held)))
        elif not after.lost and not after.requests:
            harvest.outcomes.append(Refused(None, None, text))
        harvest.replies += after.requests

    def _recorded(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(str(topic) for name in names for topic in self._planned.get(name, ()))
