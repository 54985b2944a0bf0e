"""OKX over REST, as far as a recorder asks: clock, universe, and the newest state of each instrument.

It shows the same market as the WebSocket side: the last events that happened, whether anybody was listening or not.
Shapes and limits: https://www.okx.com/docs-v5/en/#public-data-rest-api and https://www.okx.com/docs-v5/en/#order-book-trading-market-data
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.feed import Feed
from quantlab_collector.simulators.okx_messages import OkxMessages, inst_id
from quantlab_collector.simulators.rest_server import Answer, Arguments

MAX_TRADES: Final = 500

_WINDOW_NS: Final = 2_000_000_000
_NS_PER_MS: Final = 1_000_000
_LISTED_MS: Final = 1_573_557_408_000
_TOO_MANY: Final = 429


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status


@attrs.define(eq=False)
class _Endpoint:
    """One path: what it tells, and how often it may be asked in two seconds."""

    tell: Callable[[Arguments], list[Any]]
    limit: int
    recent: deque[int] = attrs.field(factory=deque)


class OkxRest:
    """What REST tells of a running market. No HTTP in here: a question comes in, an answer goes out."""

    def __init__(self, messages: OkxMessages, feed: Feed, wall_clock: Callable[[], int]) -> None:
        self._messages = messages
        self._feed = feed
        self._wall_clock = wall_clock
        self._symbols = {inst_id(symbol): symbol for symbol in messages.market.symbols}
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
        """Take a request into the account of the last two seconds: one for everybody, as on loopback all have one address."""
        now = self._wall_clock()
        while endpoint.recent and now - endpoint.recent[0] >= _WINDOW_NS:
            endpoint.recent.popleft()
        if len(endpoint.recent) >= endpoint.limit:
            raise Refusal("50011", "Too Many Requests", _TOO_MANY)
        endpoint.recent.append(now)

    # ------------------------------------------------------------------------------------------------ endpoints

    def _time(self, _arguments: Arguments) -> list[Any]:
        return [{"ts": str(self._now_ms())}]

    def _instruments(self, arguments: Arguments) -> list[Any]:
        _expect_swaps(arguments)
        return [self._listing(symbol) for symbol in self._alive().values()]

    def _ticker(self, symbol: str) -> dict[str, Any]:
        number, ms = self._newest(StreamType.BBO, symbol)
        quote = self._messages.market[symbol].quote(number)
        trade = self._messages.market[symbol].trade(self._newest(StreamType.TRADE, symbol)[0])
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
        series = self._feed.series[StreamType.TRADE, symbol]
        limit = arguments.get("limit", "100")
        if not limit.isdecimal() or not 0 < int(limit) <= MAX_TRADES:
            raise Refusal("51000", "Parameter limit error", 400)
        newest = series.next_number - 1
        told = []
        for number, ms in zip(range(newest, newest - int(limit), -1), reversed(series.times), strict=False):
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
        return {name: symbol for name, symbol in self._symbols.items() if symbol not in self._feed.delisted}

    def _known(self, arguments: Arguments) -> str:
        name = arguments.get("instId")
        if not name:
            raise Refusal("50014", "Parameter instId can not be empty.", 400)
        symbol = self._alive().get(name)
        if symbol is None:
            raise Refusal("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        return symbol

    def _newest(self, kind: StreamType, symbol: str) -> tuple[int, int]:
        """The number and the exchange time of the last event; before the first one, the first one as of now."""
        series = self._feed.series[kind, symbol]
        return (series.next_number - 1, series.times[-1]) if series.times else (0, self._now_ms())

    def _now_ms(self) -> int:
        return self._wall_clock() // _NS_PER_MS

    def _listing(self, symbol: str) -> dict[str, Any]:
        instrument = self._messages.market[symbol].instrument
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
            "tickSz": f"{instrument.tick / 10**instrument.decimals:.{instrument.decimals}f}",
            "uly": family,
        }


def _expect_swaps(arguments: Arguments) -> None:
    kind = arguments.get("instType")
    if not kind:
        raise Refusal("50014", "Parameter instType can not be empty.", 400)
    if kind != "SWAP":
        raise Refusal("51000", "Parameter instType error", 400)
