"""OKX over REST, as far as a recorder asks: clock, universe, and the newest state of each instrument.

Shapes and limits: https://www.okx.com/docs-v5/en/#public-data-rest-api and https://www.okx.com/docs-v5/en/#order-book-trading-market-data
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.feed import Feed
from quantlab_collector.simulators.okx_messages import OkxMessages, inst_id
from quantlab_collector.simulators.quota import Quota
from quantlab_collector.simulators.rest import Refusal, Rest
from quantlab_collector.simulators.rest_server import Answer, Arguments

MAX_TRADES: Final = 500

_WINDOW_NS: Final = 2_000_000_000
_LISTED_MS: Final = 1_573_557_408_000
_TOO_MANY: Final = 429


def _in_two_seconds(limit: int) -> Quota:
    return Quota(limit, _WINDOW_NS)


@attrs.frozen(eq=False)
class _Endpoint:
    """One path: what it tells, and how often it may be asked."""

    tell: Callable[[Arguments], list[Any]]
    quota: Quota = attrs.field(converter=_in_two_seconds)


class OkxRest(Rest):
    """What OKX tells by REST."""

    def __init__(self, messages: OkxMessages, feed: Feed, wall_clock: Callable[[], int]) -> None:
        super().__init__(messages.market, feed, wall_clock)
        self._messages = messages
        self._endpoints = {
            "public/time": _Endpoint(self._time, 10),
            "public/instruments": _Endpoint(self._instruments, 20),
            "market/tickers": _Endpoint(self._swaps(self._ticker), 20),
            "market/ticker": _Endpoint(self._one(self._ticker), 20),
            "market/trades": _Endpoint(self._trades, 100),
            "public/mark-price": _Endpoint(self._swaps(self._state(StreamType.MARK_PRICE, messages.mark_item)), 10),
            "public/open-interest": _Endpoint(self._swaps(self._state(StreamType.OPEN_INTEREST, messages.interest_item)), 20),
            "public/funding-rate": _Endpoint(self._funding_rate, 10),
        }

    def answer(self, path: str, arguments: Arguments) -> Answer | None:
        """What a path answers; ``None`` where there is nothing."""
        endpoint = self._endpoints.get(path.removeprefix("/api/v5/"))
        if endpoint is None:
            return None
        try:
            self._charge(endpoint)
            return Answer(200, {"code": "0", "msg": "", "data": endpoint.tell(arguments)})
        except Refusal as refusal:
            return Answer(refusal.status, {"code": refusal.code, "msg": refusal.message, "data": []})

    def _charge(self, endpoint: _Endpoint) -> None:
        """One quota for everybody, as on loopback all have one address."""
        if not endpoint.quota.admits(self._wall_clock()):
            raise Refusal("50011", "Too Many Requests", _TOO_MANY)

    # ------------------------------------------------------------------------------------------------ endpoints

    def _time(self, _arguments: Arguments) -> list[Any]:
        return [{"ts": str(self._now_ms())}]

    def _instruments(self, arguments: Arguments) -> list[Any]:
        _expect_swaps(arguments)
        return [self._listing(symbol) for symbol in self._alive().values()]

    def _ticker(self, symbol: str) -> dict[str, Any]:
        number, ms = self._newest(StreamType.BBO, symbol)
        quote = self._market[symbol].quote(number)
        trade = self._market[symbol].trade(self._newest(StreamType.TRADE, symbol)[0])
        return {
            "instType": "SWAP",
            "instId": inst_id(symbol),
            "last": trade.price,
            "lastSz": trade.qty,
            "askPx": quote.ask_price,
            "askSz": quote.ask_qty,
            "bidPx": quote.bid_price,
            "bidSz": quote.bid_qty,
            "ts": str(ms),
        }

    def _funding_rate(self, arguments: Arguments) -> list[Any]:
        tell = self._state(StreamType.FUNDING, self._messages.funding_item)
        if arguments.get("instId") == "ANY":
            return [tell(symbol) for symbol in self._alive().values()]
        return self._one(tell)(arguments)

    def _trades(self, arguments: Arguments) -> list[Any]:
        """The newest trades, the newest first; a group of fills, which the exchange tells one by one here, is told as one."""
        symbol = self._known(arguments)
        limit = arguments.get("limit", "100")
        if not limit.isdecimal() or not 0 < int(limit) <= MAX_TRADES:
            raise Refusal("51000", "Parameter limit error", 400)
        told = []
        for number, ms in self._newest_trades(symbol, int(limit)):
            item = json.loads(self._messages.trade_item(symbol, number, ms))
            del item["count"], item["seqId"]
            told.append(item)
        return told

    # ---------------------------------------------------------------------------------------------------------- parts

    def _state(self, kind: StreamType, tell: Callable[[str, int, int], str]) -> Callable[[str], Any]:
        """What a channel tells last, as WebSocket has it."""
        return lambda symbol: json.loads(tell(symbol, *self._newest(kind, symbol)))

    def _one(self, tell: Callable[[str], Any]) -> Callable[[Arguments], list[Any]]:
        return lambda arguments: [tell(self._known(arguments))]

    def _swaps(self, tell: Callable[[str], Any]) -> Callable[[Arguments], list[Any]]:
        """All swaps, or one."""

        def tell_some(arguments: Arguments) -> list[Any]:
            _expect_swaps(arguments)
            return [tell(symbol) for symbol in ([self._known(arguments)] if "instId" in arguments else self._alive().values())]

        return tell_some

    def _alive(self) -> dict[str, str]:
        return {inst_id(symbol): symbol for symbol in self._traded()}

    def _known(self, arguments: Arguments) -> str:
        name = arguments.get("instId")
        if not name:
            raise Refusal("50014", "Parameter instId can not be empty.", 400)
        symbol = self._alive().get(name)
        if symbol is None:
            raise Refusal("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        return symbol

    def _listing(self, symbol: str) -> dict[str, Any]:
        instrument = self._market[symbol].instrument
        family, _, _ = inst_id(symbol).rpartition("-")
        base, _, quote = family.rpartition("-")
        return {
            "baseCcy": "",  # empty for swaps, and so is the quote currency
            "ctMult": "1",
            "ctType": "linear",
            "ctVal": "0.01",
            "ctValCcy": base,
            "expTime": "",
            "instFamily": family,
            "instId": inst_id(symbol),
            "instType": "SWAP",
            "listTime": str(_LISTED_MS),
            "lotSz": "0.001",
            "minSz": "0.001",
            "quoteCcy": "",
            "settleCcy": quote,
            "state": "live",
            "tickSz": instrument.tick_size,
            "uly": family,
        }


def _expect_swaps(arguments: Arguments) -> None:
    kind = arguments.get("instType")
    if not kind:
        raise Refusal("50014", "Parameter instType can not be empty.", 400)
    if kind != "SWAP":
        raise Refusal("51000", "Parameter instType error", 400)
