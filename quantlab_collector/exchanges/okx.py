"""OKX perpetual swaps.

Everything that is recorded comes from one path, ``/public``. Port 443: the 8443 of older clients was given up in October 2026.
https://www.okx.com/docs-v5/en/#overview-websocket

Two things are named differently here. ``fundingTime`` is the coming settlement, which others call the next funding time; the
``nextFundingTime`` of OKX is the one after it. And all sizes are contracts, not coins: what a contract holds differs from
instrument to instrument.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from quantlab_collector.contracts.events import BUY, SELL, Bbo, Event, MarkPrice, StreamType, Trade
from quantlab_collector.contracts.rhythms import Rhythm
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.okx_messages import (
    CHANNELS,
    FIRST_LETTER,
    NAME,
    NOT_THIS_WAY,
    OF_BOOK,
    OF_MARK,
    OF_TRADE,
    decode_book,
    decode_mark,
    decode_trade,
    instrument,
    read_item,
)
from quantlab_collector.exchanges.okx_rest import OkxRest
from quantlab_collector.exchanges.protocol import (
    ConnectionPlan,
    Endpoints,
    ExchangeRest,
    Harvest,
    Heartbeat,
    Limits,
    Notice,
    Outcome,
    Pong,
    Refused,
    Reject,
    Session,
    Subscribed,
    Unknown,
    Wanted,
)
from quantlab_collector.exchanges.reading import MS, Unreadable, chunks, parse

CHANNELS_PER_CONNECTION: Final = 500
"""No number is documented, though close codes exist for too many. This many make one request of about 30 kB, well inside the
limit even if that should count the whole connection; and what is lost with one connection is lost for a hundred symbols."""
REQUEST_BYTES: Final = 48_000
"""The channels of a subscription may be 64 KB long. https://www.okx.com/docs-v5/en/#overview-websocket-subscribe"""


class Okx:
    """The exchange as the collector sees it."""

    name: str = NAME
    streams: tuple[StreamType, ...] = tuple(CHANNELS.values())
    endpoints: Endpoints = Endpoints("wss://ws.okx.com", "https://www.okx.com")
    # Three new connections a second and address; 480 requests an hour and connection, of which a plan needs one. What leaves here
    # in step arrives out of step, so three at a time would now and then be four: one every half second never is, not even half
    # a second late. https://www.okx.com/docs-v5/en/#overview-websocket-connect
    limits: Limits = Limits(connects=1, connects_period=0.5, request_gap=0.5)
    # A connection that was quiet for 30 s is closed. The ping is a text message; frames of the protocol do not count.
    # https://www.okx.com/docs-v5/en/#overview-websocket-connect
    heartbeat: Heartbeat | None = Heartbeat(interval=20.0, message=b"ping", when_quiet=True)
    rest: ExchangeRest | None = OkxRest()
    # The mark price comes every 10 s although it has not changed, the funding rate every 30 to 90 s; the open interest only when
    # it has changed. https://www.okx.com/docs-v5/en/#public-data-websocket-mark-price-channel
    rhythms: Mapping[StreamType, Rhythm] = MappingProxyType(
        {StreamType.MARK_PRICE: Rhythm(every=10.0), StreamType.FUNDING: Rhythm(every=90.0)}
    )
    units: Mapping[StreamType, str] = MappingProxyType(
        {StreamType.BBO: "contracts", StreamType.TRADE: "contracts", StreamType.OPEN_INTEREST: "contracts"}
    )

    def plan(self, wanted: Wanted) -> tuple[ConnectionPlan, ...]:
        """One connection per five hundred channels.

        The channels of a symbol stay together. Its mark price comes at least every ten seconds, so a connection of illiquid
        symbols is not taken for a dead one.
        """
        channels = [channel for channel, stream in CHANNELS.items() if stream in wanted.streams]
        if not channels:
            return ()
        return tuple(
            ConnectionPlan(
                exchange=NAME,
                name=f"public-{number}",
                url=f"{wanted.endpoints.ws_url}/ws/v5/public",
                topics=tuple(Topic(NAME, CHANNELS[channel], symbol) for symbol in symbols for channel in channels),
                requests=_requests(
                    {"channel": channel, "instId": instrument(symbol, wanted.symbol_map)}
                    for symbol in symbols
                    for channel in channels
                ),
                symbol_map=wanted.symbol_map,
            )
            for number, symbols in enumerate(chunks(wanted.symbols, CHANNELS_PER_CONNECTION // len(channels)))
        )

    def session(self, plan: ConnectionPlan) -> Session:
        """A new conversation."""
        return OkxSession(plan)


OKX: Final = Okx()


def _requests(args: Iterator[dict[str, str]]) -> tuple[bytes, ...]:
    """As few subscribe messages as the limit of their length allows."""
    # Not msgspec: a symbol that came from the environment may hold what is not text, and only json can write that down.
    shares: list[list[str]] = [[]]
    room = REQUEST_BYTES
    for text in (json.dumps(arg, separators=(",", ":")) for arg in args):
        if len(text) + 1 > room and shares[-1]:
            shares.append([])
            room = REQUEST_BYTES
        shares[-1].append(text)
        room -= len(text) + 1
    return tuple(
        f'{{"id":"{number}","op":"subscribe","args":[{",".join(share)}]}}'.encode()
        for number, share in enumerate(shares, start=1)
    )


# ------------------------------------------------------------------------------------------------------ the conversation

_REFUSED_ARG: Final = re.compile(r"channel:([\w-]+),instId:(.+?) doesn't exist")
"""A refusal names what it refuses in its text only. The words around have changed three times, these have not."""
_SERVICE_UPGRADE: Final = "64008"
"""The connection will be closed within a minute. https://www.okx.com/docs-v5/en/#overview-websocket-notification"""


class OkxSession:
    """One connection's conversation.

    Quotes, trades and mark prices are nearly all of the traffic: each of their frames is read by one typed decode straight into
    numbers. Whatever that does not take at once is read slowly and with patience in ``_read_carefully``; where both ways read a
    frame, they lead to the same event.
    """

    def __init__(self, plan: ConnectionPlan) -> None:
        self.seen: dict[StreamType, dict[str, int]] = {stream: {} for stream in StreamType}
        self.next_numbers: dict[str, int] = {}  # nothing here is numbered without holes
        # Only what was planned for this connection is recorded: the exchange does not get to choose our partitions.
        self._symbols: dict[StreamType, dict[str, str]] = {stream: {} for stream in StreamType}
        for topic in plan.topics:
            self._symbols[topic.stream][instrument(topic.symbol, plan.symbol_map)] = topic.symbol

    def decode(self, frames: Sequence[bytes], ts_recv: int) -> Harvest:
        """Turn frames into events and outcomes."""
        harvest = Harvest()
        bbo_symbols, bbo_seen = self._symbols[StreamType.BBO], self.seen[StreamType.BBO]
        trade_symbols, trade_seen = self._symbols[StreamType.TRADE], self.seen[StreamType.TRADE]
        mark_symbols, mark_seen = self._symbols[StreamType.MARK_PRICE], self.seen[StreamType.MARK_PRICE]
        append_bbo, append_trade, append_mark = harvest.bbo.append, harvest.trade.append, harvest.mark_price.append
        for frame in frames:
            try:
                letter = frame[FIRST_LETTER] if type(frame) is bytes else None
                if letter == OF_BOOK:
                    quote = decode_book(frame)
                    (book,) = quote.data
                    symbol = bbo_symbols.get(book.inst_id or quote.arg.inst_id)
                    if symbol is not None:
                        (bid,), (ask,) = book.bids, book.asks
                        append_bbo(Bbo(book.ts * MS, ts_recv, NAME, symbol, bid.price, bid.qty, ask.price, ask.qty))
                        bbo_seen[symbol] = ts_recv
                        continue
                elif letter == OF_TRADE:
                    (trade,) = decode_trade(frame).data
                    symbol = trade_symbols.get(trade.inst_id)
                    if symbol is not None:
                        side = BUY if trade.side == "buy" else SELL
                        append_trade(Trade(trade.ts * MS, ts_recv, NAME, symbol, trade.px, trade.sz, side, trade.trade_id))
                        trade_seen[symbol] = ts_recv
                        continue
                elif letter == OF_MARK:
                    (mark,) = decode_mark(frame).data
                    symbol = mark_symbols.get(mark.inst_id)
                    if symbol is not None:
                        append_mark(MarkPrice(mark.ts * MS, ts_recv, NAME, symbol, mark.mark_px, None))
                        mark_seen[symbol] = ts_recv
                        continue
            except NOT_THIS_WAY:
                pass
            self._read_carefully(frame, ts_recv, harvest)
        return harvest

    # ---------------------------------------------------------------------------------------------------- the slow way

    def _read_carefully(self, frame: bytes, ts_recv: int, harvest: Harvest) -> None:
        if frame == b"pong" and type(frame) is bytes:  # the one message that is not JSON
            harvest.outcomes.append(Pong())
            return
        try:
            message = parse(frame)
        except Unreadable as fault:
            harvest.rejects.append(Reject(fault.reason, None, frame))
            return
        match message:
            case {"arg": {"channel": str(channel)}, "data": [_, *_]} if channel not in CHANNELS:
                harvest.outcomes.append(Unknown(channel))
            case {"arg": {"channel": str(channel)} as arg, "data": [_, *_] as items}:
                for item in items:
                    try:
                        self._read_item(channel, arg.get("instId"), item, ts_recv, harvest)
                    except Unreadable as fault:
                        harvest.rejects.append(Reject(fault.reason, CHANNELS[channel], frame))
            case {"event": str(event)}:
                harvest.outcomes.append(self._outcome(event, message))
            case {"arg": {"channel": str(channel)}}:
                harvest.rejects.append(Reject("no_data", CHANNELS.get(channel), frame))
            case dict():
                harvest.rejects.append(Reject("no_channel", None, frame))
            case _:
                harvest.rejects.append(Reject("not_an_object", None, frame))

    def _read_item(self, channel: str, asked_for: object, item: Any, ts_recv: int, harvest: Harvest) -> None:
        stream, told = CHANNELS[channel], read_item(channel, item)
        symbol = self._symbols[stream].get(told.inst_id or _word(asked_for))
        if symbol is None:
            raise Unreadable("not_subscribed")
        event = told.event(ts_recv, symbol)
        _list_of(stream, harvest).append(event)
        self.seen[stream][symbol] = ts_recv

    def _outcome(self, event: str, message: Mapping[str, Any]) -> Outcome:
        """Acknowledgements come one for each channel, and so do refusals."""
        code, text = message.get("code"), _word(message.get("msg"))
        match event:
            case "subscribe":
                arg = message.get("arg")
                topic = self._topic(arg.get("channel"), arg.get("instId")) if isinstance(arg, dict) else None
                return Subscribed(_word(message.get("id")), () if topic is None else (topic,))
            case "error":
                found = _REFUSED_ARG.search(text)
                return Refused(
                    self._topic(*found.groups()) if found else None, code if isinstance(code, int | str) else None, text
                )
            case "notice":
                return Notice(_word(code), text, reconnect=code == _SERVICE_UPGRADE)
        return Unknown(event)

    def _topic(self, channel: object, asked_for: object) -> str | None:
        """The topic that was asked for by these names."""
        stream = CHANNELS.get(_word(channel))
        if stream is None:
            return None
        symbol = self._symbols[stream].get(_word(asked_for))
        return None if symbol is None else str(Topic(NAME, stream, symbol))


def _word(value: object) -> str:
    """A value that should be a word. What is nested is not even looked at: it may be too deep for that."""
    return str(value) if isinstance(value, str | int) else ""


def _list_of(stream: StreamType, harvest: Harvest) -> list[Event]:
    events: list[Event] = getattr(harvest, stream.value)
    return events
