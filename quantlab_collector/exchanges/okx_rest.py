"""What is asked of OKX over REST. https://www.okx.com/docs-v5/en/#public-data-rest-api."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

import msgspec

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.okx_messages import instrument
from quantlab_collector.exchanges.protocol import Instruments, Newest, RestLimits, RestRequest
from quantlab_collector.exchanges.reading import MS, PastMillis, read_answer

_T = TypeVar("_T")


class _Envelope(msgspec.Struct, Generic[_T]):
    """Every answer has one; ``code`` is "0" when there is anything in it."""

    code: str
    data: list[_T]


class _Instrument(msgspec.Struct):
    instId: str  # noqa: N815 - the exchange's name
    state: str


class _Timed(msgspec.Struct):
    instId: str  # noqa: N815 - the exchange's name
    ts: PastMillis


_ALL_SWAPS: Final = {
    StreamType.MARK_PRICE: "/api/v5/public/mark-price?instType=SWAP",
    StreamType.OPEN_INTEREST: "/api/v5/public/open-interest?instType=SWAP",
}
_ONE: Final = {
    StreamType.FUNDING: "/api/v5/public/funding-rate?instId={}",
    StreamType.TRADE: "/api/v5/market/trades?instId={}&limit=1",
}
# Quotes are left out: the time of a ticker is when the ticker was made, not when the quote was.


class OkxRest:
    """The requests and how they are read."""

    limits: RestLimits = RestLimits(weight=8, period=2.0)  # of 10 requests in two seconds, the least of the limits

    def native(self, symbol: str, symbol_map: Mapping[str, str]) -> str:
        """The exchange's own name of a symbol."""
        return instrument(symbol, symbol_map)

    def instruments(self, cursor: str | None = None) -> RestRequest[Instruments]:  # noqa: ARG002 - one answer tells it all
        """What trades now; what is delisted has vanished from the list."""
        return RestRequest("/api/v5/public/instruments?instType=SWAP", 1, _read_instruments)

    def newest(self, topics: Sequence[Topic], symbol_map: Mapping[str, str]) -> list[RestRequest[list[Newest]]]:
        """Marks and open interest of all swaps in one request each; funding and trades one by one."""
        by_stream: dict[StreamType, dict[str, Topic]] = {}
        for topic in topics:
            by_stream.setdefault(topic.stream, {})[instrument(topic.symbol, symbol_map)] = topic
        requests = [
            RestRequest(path, 1, partial(_read_times, by_stream[stream]))
            for stream, path in _ALL_SWAPS.items()
            if stream in by_stream
        ]
        for stream, path in _ONE.items():
            for name, topic in by_stream.get(stream, {}).items():
                requests.append(RestRequest(path.format(name), 1, partial(_read_times, {name: topic})))
        return requests


def _read_instruments(body: bytes) -> Instruments:
    return Instruments(frozenset(item.instId for item in _data(body, _Envelope[_Instrument]) if item.state == "live"))


def _read_times(asked: Mapping[str, Topic], body: bytes) -> list[Newest]:
    return [Newest(asked[item.instId], item.ts * MS) for item in _data(body, _Envelope[_Timed]) if item.instId in asked]


def _data(body: bytes, shape: type[_Envelope[_T]]) -> list[_T]:
    answer = read_answer(body, shape, strict=False)
    if answer.code != "0":
        raise ValueError(f"code {answer.code}")
    return answer.data
