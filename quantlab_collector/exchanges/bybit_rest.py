"""What is asked of Bybit over REST. https://bybit-exchange.github.io/docs/v5/market/instrument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Generic, TypeVar
from urllib.parse import quote

import msgspec

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.protocol import Instruments, Newest, RestLimits, RestRequest
from quantlab_collector.exchanges.reading import MS, PastMillis, read_answer

_T = TypeVar("_T")


class _Envelope(msgspec.Struct, Generic[_T]):
    """Every answer has one; ``retCode`` is 0 when there is a result in it."""

    retCode: int  # noqa: N815 - the exchange's name
    result: _T | None = None
    retMsg: str = ""  # noqa: N815 - the exchange's name


class _Instrument(msgspec.Struct):
    symbol: str
    status: str


class _InstrumentPage(msgspec.Struct):
    items: list[_Instrument] = msgspec.field(name="list")
    nextPageCursor: str = ""  # noqa: N815 - the exchange's name


class _Book(msgspec.Struct):
    cts: PastMillis


class _LastTrade(msgspec.Struct):
    time: PastMillis


class _TradePage(msgspec.Struct):
    items: list[_LastTrade] = msgspec.field(name="list")


class BybitRest:
    """The requests of one market and how they are read."""

    # 600 requests in five seconds and address, and ten minutes of silence for whoever asks more often. The markets share it.
    # https://bybit-exchange.github.io/docs/v5/rate-limit
    limits: RestLimits = RestLimits(weight=100, period=5.0)

    def __init__(self, category: str) -> None:
        self._category = category

    def native(self, symbol: str, symbol_map: Mapping[str, str]) -> str:
        """The exchange's own name of a symbol."""
        return symbol_map.get(symbol, symbol)

    def instruments(self, cursor: str | None = None) -> RestRequest[Instruments]:
        """What trades now, a thousand at a time."""
        more = f"&cursor={quote(cursor, safe='')}" if cursor else ""
        path = f"/v5/market/instruments-info?category={self._category}&limit=1000{more}"
        return RestRequest(path, 1, _read_instruments)

    def newest(self, topics: Sequence[Topic], symbol_map: Mapping[str, str]) -> list[RestRequest[list[Newest]]]:
        """Quotes and trades, symbol by symbol. Tickers have no time of their own over REST, so they are left out."""
        requests = []
        for topic in topics:
            asked = f"?category={self._category}&symbol={self.native(topic.symbol, symbol_map)}&limit=1"
            if topic.stream is StreamType.BBO:
                requests.append(RestRequest(f"/v5/market/orderbook{asked}", 1, partial(_read_book, topic)))
            elif topic.stream is StreamType.TRADE:
                requests.append(RestRequest(f"/v5/market/recent-trade{asked}", 1, partial(_read_trade, topic)))
        return requests


def _read_instruments(body: bytes) -> Instruments:
    page = _result(body, _Envelope[_InstrumentPage])
    return Instruments(frozenset(i.symbol for i in page.items if i.status == "Trading"), page.nextPageCursor or None)


def _read_book(topic: Topic, body: bytes) -> list[Newest]:
    return [Newest(topic, _result(body, _Envelope[_Book]).cts * MS)]


def _read_trade(topic: Topic, body: bytes) -> list[Newest]:
    return [Newest(topic, trade.time * MS) for trade in _result(body, _Envelope[_TradePage]).items[:1]]


def _result(body: bytes, shape: type[_Envelope[_T]]) -> _T:
    answer = read_answer(body, shape, strict=False)
    if answer.retCode != 0 or answer.result is None:
        raise ValueError(f"code {answer.retCode} {answer.retMsg[:100]!r}")
    return answer.result
