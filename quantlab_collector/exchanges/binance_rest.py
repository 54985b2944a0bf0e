"""What is asked of Binance over REST.

https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data and
https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.protocol import Instruments, Newest, RestLimits, RestRequest
from quantlab_collector.exchanges.reading import MS, PastMillis, read_answer

_TRADING: Final = frozenset({"PERPETUAL", "TRADIFI_PERPETUAL"})


class _Instrument(msgspec.Struct):
    symbol: str
    status: str
    contractType: str  # noqa: N815 - the exchange's name


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Instrument]


class _Timed(msgspec.Struct):
    """A row of ``ticker/bookTicker`` and of ``premiumIndex``."""

    symbol: str
    time: PastMillis


class _LastTrade(msgspec.Struct):
    T: PastMillis


class _SpotInstrument(msgspec.Struct):
    symbol: str
    status: str


class _SpotInfo(msgspec.Struct):
    symbols: list[_SpotInstrument]


class _SpotTrade(msgspec.Struct):
    time: PastMillis


class BinanceUsdmRest:
    """The requests and how they are read."""

    # 2,400 a minute and address, shared with COIN-M since June 2026; a third of it is enough for us, and leaves room for others.
    limits: RestLimits = RestLimits(weight=800, period=60.0)

    def native(self, symbol: str, symbol_map: Mapping[str, str]) -> str:
        """The exchange's own name of a symbol."""
        return symbol_map.get(symbol, symbol)

    def instruments(self, cursor: str | None = None) -> RestRequest[Instruments]:  # noqa: ARG002 - one answer tells it all
        """What trades now: the list also holds what is being settled, which must not be taken for alive."""
        return RestRequest("/fapi/v1/exchangeInfo", 1, _read_instruments)

    def newest(self, topics: Sequence[Topic], symbol_map: Mapping[str, str]) -> list[RestRequest[list[Newest]]]:
        """One request for all quotes, one for all marks; only trades are asked symbol by symbol."""
        of_quotes = _by_name(topics, symbol_map, StreamType.BBO)
        of_marks = _by_name(topics, symbol_map, StreamType.MARK_PRICE, StreamType.FUNDING)
        of_trades = _by_name(topics, symbol_map, StreamType.TRADE)
        requests: list[RestRequest[list[Newest]]] = []
        if of_quotes:
            requests.append(RestRequest("/fapi/v1/ticker/bookTicker", 5, partial(_read_times, of_quotes)))
        if of_marks:
            requests.append(RestRequest("/fapi/v1/premiumIndex", 10, partial(_read_times, of_marks)))
        requests += [
            RestRequest(f"/fapi/v1/aggTrades?symbol={name}&limit=1", 20, partial(_read_last_trade, asked))
            for name, asked in of_trades.items()
        ]
        return requests


class BinanceSpotRest:
    """The same for spot, whose quotes have no time over REST either."""

    limits: RestLimits = RestLimits(weight=2_000, period=60.0)  # of 6,000

    def native(self, symbol: str, symbol_map: Mapping[str, str]) -> str:
        """The exchange's own name of a symbol."""
        return symbol_map.get(symbol, symbol)

    def instruments(self, cursor: str | None = None) -> RestRequest[Instruments]:  # noqa: ARG002 - one answer tells it all
        """What trades now."""
        return RestRequest("/api/v3/exchangeInfo?permissions=SPOT", 20, _read_spot_instruments)

    def newest(self, topics: Sequence[Topic], symbol_map: Mapping[str, str]) -> list[RestRequest[list[Newest]]]:
        """Trades, symbol by symbol."""
        return [
            RestRequest(f"/api/v3/trades?symbol={name}&limit=1", 25, partial(_read_last_spot_trade, asked))
            for name, asked in _by_name(topics, symbol_map, StreamType.TRADE).items()
        ]


def _by_name(topics: Iterable[Topic], symbol_map: Mapping[str, str], *streams: StreamType) -> dict[str, list[Topic]]:
    found: dict[str, list[Topic]] = {}
    for topic in topics:
        if topic.stream in streams:
            found.setdefault(symbol_map.get(topic.symbol, topic.symbol), []).append(topic)
    return found


def _read_spot_instruments(body: bytes) -> Instruments:
    return Instruments(frozenset(i.symbol for i in read_answer(body, _SpotInfo).symbols if i.status == "TRADING"))


def _read_last_spot_trade(topics: list[Topic], body: bytes) -> list[Newest]:
    return [Newest(topic, trade.time * MS) for trade in read_answer(body, list[_SpotTrade])[-1:] for topic in topics]


def _read_instruments(body: bytes) -> Instruments:
    info = read_answer(body, _ExchangeInfo)
    return Instruments(frozenset(i.symbol for i in info.symbols if i.status == "TRADING" and i.contractType in _TRADING))


def _read_times(asked: Mapping[str, list[Topic]], body: bytes) -> list[Newest]:
    return [Newest(topic, row.time * MS) for row in read_answer(body, list[_Timed]) for topic in asked.get(row.symbol, ())]


def _read_last_trade(topics: list[Topic], body: bytes) -> list[Newest]:
    return [Newest(topic, trade.T * MS) for trade in read_answer(body, list[_LastTrade])[-1:] for topic in topics]
