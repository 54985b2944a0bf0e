"""Bybit's tickers: one snapshot, then deltas that leave out what has not changed.

A delta is completed from the last values of the same topic on the same connection; an event is made of it only where one of
its own fields is in the message. A delta that nothing before it completes is told as ``delta_before_snapshot`` and never filled
with zeros. https://bybit-exchange.github.io/docs/v5/websocket/public/ticker
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Literal, final

import msgspec

from quantlab_collector.contracts.events import Funding, MarkPrice, OpenInterest, StreamType
from quantlab_collector.exchanges.bybit_messages import BEFORE_SNAPSHOT
from quantlab_collector.exchanges.protocol import Harvest
from quantlab_collector.exchanges.reading import MS, Finite, Millis, Unreadable, convert, without_empty

Fault = tuple[StreamType, str]
"""A stream that gets no event from a message, and why."""


@final
class TickerFields(msgspec.Struct, gc=False):
    """What is recorded of a ticker, under the exchange's names; ``None`` is what a message does not tell."""

    markPrice: Finite | None = None  # noqa: N815
    indexPrice: Finite | None = None  # noqa: N815
    fundingRate: Finite | None = None  # noqa: N815
    nextFundingTime: Millis | None = None  # noqa: N815
    openInterest: Finite | None = None  # noqa: N815


@final
class TickerMessage(msgspec.Struct, gc=False):
    """A ticker as nearly all are."""

    topic: str
    type: Literal["snapshot", "delta"]
    ts: Millis
    data: TickerFields


_NOTHING: Final = TickerFields()


class _AnyTicker(msgspec.Struct):
    """A ticker whose fields are still to be read."""

    topic: str
    type: Literal["snapshot", "delta"]
    ts: Millis
    data: dict[str, Any]


_FIELDS: Final = {
    StreamType.MARK_PRICE: ("markPrice", "indexPrice"),
    StreamType.FUNDING: ("fundingRate", "nextFundingTime"),
    StreamType.OPEN_INTEREST: ("openInterest",),
}
"""The fields that each stream is made of."""


def read_ticker(message: dict[str, Any]) -> tuple[TickerMessage, list[Fault]]:
    """A ticker read with patience: the fields of a stream that cannot be read are left out and told."""
    ticker = convert(without_empty(message), _AnyTicker)
    fields: dict[str, Any] = {}
    faults: list[Fault] = []
    for stream, names in _FIELDS.items():
        told = {name: ticker.data[name] for name in names if name in ticker.data}
        try:
            read = convert(without_empty(told), TickerFields)
        except Unreadable as fault:
            faults.append((stream, fault.reason))
        else:
            fields |= {name: getattr(read, name) for name in names}
    return TickerMessage(ticker.topic, ticker.type, ticker.ts, TickerFields(**fields)), faults


class _Pair:
    """Two values that one event needs, as last told."""

    __slots__ = ("first", "known", "second")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Know nothing; also when a newer value came and could not be read: the older one is no longer true."""
        self.first: Any = None
        self.second: Any = None
        self.known = False

    def take(self, first: float | None, second: float | None, *, snapshot: bool) -> bool:
        """Take what a message tells; false when that is not all, and nothing before it has told the rest."""
        if not snapshot and (first is None or second is None):
            if not self.known:
                return False
            first = self.first if first is None else first
            second = self.second if second is None else second
        self.first, self.second, self.known = first, second, True
        return True


class Ticker:
    """One ticker topic on one connection: what it has told, and what is recorded of it."""

    def __init__(
        self, exchange: str, symbol: str, streams: Collection[StreamType], seen: dict[StreamType, dict[str, int]]
    ) -> None:
        self._exchange = exchange
        self._symbol = symbol
        self._seen = seen
        self._prices = _Pair()
        self._funding = _Pair()
        takers = {
            StreamType.MARK_PRICE: self._take_prices,
            StreamType.FUNDING: self._take_funding,
            StreamType.OPEN_INTEREST: self._take_open_interest,
        }
        self._streams = frozenset(streams)
        self._takers = tuple((stream, take) for stream, take in takers.items() if stream in streams)

    def take(self, message: TickerMessage, ts_recv: int, harvest: Harvest) -> list[Fault]:
        """Put what a message tells into the harvest; the result is what it should have told and does not."""
        told, snapshot, ts_event = message.data, message.type == "snapshot", message.ts * MS
        faults: list[Fault] = []
        if told == _NOTHING and not snapshot:  # most deltas tell a price of the book
            return faults
        for stream, take in self._takers:
            reason = take(told, ts_event, ts_recv, harvest, snapshot=snapshot)
            if reason is not None:
                faults.append((stream, reason))
        return faults

    def take_what_is_left(self, message: TickerMessage, ts_recv: int, harvest: Harvest, unread: list[Fault]) -> list[Fault]:
        """The same for a message that could not be read in full."""
        reasons = {stream: reason for stream, reason in unread if stream in self._streams}
        faults = [fault for fault in self.take(message, ts_recv, harvest) if fault[0] not in reasons]
        if StreamType.MARK_PRICE in reasons:
            self._prices.forget()
        if StreamType.FUNDING in reasons:
            self._funding.forget()
        return [*faults, *reasons.items()]

    def forget(self) -> None:
        """A message could not be read at all."""
        self._prices.forget()
        self._funding.forget()

    def _take_prices(self, told: TickerFields, ts_event: int, ts_recv: int, harvest: Harvest, *, snapshot: bool) -> str | None:
        mark, index, last = told.markPrice, told.indexPrice, self._prices
        given = mark is not None or index is not None
        if not given and not snapshot:
            return None
        if not last.take(mark, index, snapshot=snapshot):
            return BEFORE_SNAPSHOT
        if last.first is None:
            return "missing_field"
        harvest.mark_price.append(MarkPrice(ts_event, ts_recv, self._exchange, self._symbol, last.first, last.second))
        self._seen[StreamType.MARK_PRICE][self._symbol] = ts_recv
        return None

    def _take_funding(self, told: TickerFields, ts_event: int, ts_recv: int, harvest: Harvest, *, snapshot: bool) -> str | None:
        rate, settlement, last = told.fundingRate, told.nextFundingTime, self._funding
        given = rate is not None or settlement is not None
        if not given and not snapshot:
            return None
        if not last.take(rate, settlement, snapshot=snapshot):
            return BEFORE_SNAPSHOT
        if not given or last.first is None:
            return None  # a dated contract has no funding, and that is no fault
        if last.second is None:
            return "missing_field"
        harvest.funding.append(Funding(ts_event, ts_recv, self._exchange, self._symbol, last.first, last.second * MS))
        self._seen[StreamType.FUNDING][self._symbol] = ts_recv
        return None

    def _take_open_interest(
        self,
        told: TickerFields,
        ts_event: int,
        ts_recv: int,
        harvest: Harvest,
        *,
        snapshot: bool,  # noqa: ARG002
    ) -> str | None:
        amount = told.openInterest
        if amount is None:
            return None
        harvest.open_interest.append(OpenInterest(ts_event, ts_recv, self._exchange, self._symbol, amount))
        self._seen[StreamType.OPEN_INTEREST][self._symbol] = ts_recv
        return None
