"""Binance USD-M futures over REST, as far as a recorder asks: clock, universe, and the newest state of each symbol.

Shapes, weights and limits: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final

import attrs

from quantlab_collector.contracts.events import SELL, StreamType
from quantlab_collector.simulators.binance_messages import next_funding_ms
from quantlab_collector.simulators.feed import Feed
from quantlab_collector.simulators.market import Instrument, Market, Print
from quantlab_collector.simulators.rest import Refusal, Rest
from quantlab_collector.simulators.rest_server import Answer, Arguments

MAX_TRADES: Final = 1000

_MINUTE_NS: Final = 60_000_000_000
_NS_PER_S: Final = 1_000_000_000
_LISTED_MS: Final = 1_569_398_400_000
_DELISTED_MS: Final = 1_725_872_400_000
_NEVER_MS: Final = 4_133_404_800_000


@attrs.frozen
class Endpoint:
    """One path: what it tells, and what a request weighs with a symbol and without."""

    tell: Callable[[Arguments], Any]
    weight: int
    weight_of_all: int


class BinanceRest(Rest):
    """What Binance tells by REST."""

    prefix: ClassVar = "/fapi/v1/"
    weight_per_minute: ClassVar = 2400
    dead_status: ClassVar = "SETTLING"

    def __init__(self, market: Market, feed: Feed, dead_symbols: tuple[str, ...], wall_clock: Callable[[], int]) -> None:
        super().__init__(market, feed, wall_clock)
        self._dead = tuple(symbol for symbol in dead_symbols if symbol not in market)
        self._minute = 0
        self._used_weight = 0
        self._endpoints = self._find_endpoints()

    def _find_endpoints(self) -> dict[str, Endpoint]:
        return {
            "time": Endpoint(self._time, 1, 1),
            "exchangeInfo": Endpoint(self._exchange_info, 1, 1),
            "ticker/bookTicker": Endpoint(self._book_ticker, 2, 5),
            "premiumIndex": Endpoint(self._premium_index, 1, 10),
            "openInterest": Endpoint(self._open_interest, 1, 1),
            "aggTrades": Endpoint(self._agg_trades, 20, 20),
        }

    def answer(self, path: str, arguments: Arguments) -> Answer | None:
        """What a path answers; ``None`` where there is nothing."""
        endpoint = self._endpoints.get(path.removeprefix(self.prefix))
        if endpoint is None:
            return None
        headers: dict[str, str] = {}
        try:
            self._charge(endpoint.weight if "symbol" in arguments else endpoint.weight_of_all, headers)
            return Answer(200, endpoint.tell(arguments), headers)
        except Refusal as refusal:
            return Answer(refusal.status, {"code": refusal.code, "msg": refusal.message}, headers)

    def _charge(self, weight: int, headers: dict[str, str]) -> None:
        """Take a request into the account of the running minute: one for everybody, as on loopback all have one address."""
        now = self._wall_clock()
        if now // _MINUTE_NS != self._minute:
            self._minute, self._used_weight = now // _MINUTE_NS, 0
        self._used_weight += weight
        headers["X-MBX-USED-WEIGHT-1M"] = str(self._used_weight)
        if self._used_weight > self.weight_per_minute:
            headers["Retry-After"] = str((_MINUTE_NS - now % _MINUTE_NS) // _NS_PER_S + 1)
            raise Refusal(-1003, f"Too many requests; current limit is {self.weight_per_minute} requests per minute.", status=429)

    # ------------------------------------------------------------------------------------------------ endpoints

    def _time(self, _arguments: Arguments) -> Any:
        return {"serverTime": self._now_ms()}

    def _exchange_info(self, _arguments: Arguments) -> Any:
        traded = [self._listing(symbol, self._market[symbol].instrument, alive=True) for symbol in self._traded()]
        delisted = [self._listing(symbol, self._market[symbol].instrument, alive=False) for symbol in sorted(self._feed.delisted)]
        dead = [self._listing(symbol, Instrument(4, 1, 1_0000), alive=False) for symbol in self._dead]
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self.weight_per_minute}
        return {
            "timezone": "UTC",
            "serverTime": self._now_ms(),
            "rateLimits": [limit],
            "exchangeFilters": [],
            **self._head(),
            "symbols": traded + delisted + dead,
        }

    def _head(self) -> dict[str, Any]:
        return {
            "futuresType": "U_MARGINED",
            "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        }

    def _book_ticker(self, arguments: Arguments) -> Any:
        return self._one_or_all(arguments, self._book_ticker_of)

    def _book_ticker_of(self, symbol: str) -> dict[str, Any]:
        number, ms = self._newest(StreamType.BBO, symbol)
        quote = self._market[symbol].quote(number)
        return {
            "symbol": symbol,
            "bidPrice": quote.bid_price,
            "bidQty": quote.bid_qty,
            "askPrice": quote.ask_price,
            "askQty": quote.ask_qty,
            "time": ms,
        }

    def _premium_index(self, arguments: Arguments) -> Any:
        return self._one_or_all(arguments, self._premium_index_of)

    def _premium_index_of(self, symbol: str) -> dict[str, Any]:
        number, ms = self._newest(StreamType.MARK_PRICE, symbol)
        mark = self._market[symbol].mark(number)
        return {
            "symbol": symbol,
            "markPrice": mark.mark_price,
            "indexPrice": mark.index_price,
            "estimatedSettlePrice": mark.settle_price,
            "lastFundingRate": mark.funding_rate,
            "interestRate": "0.00010000",
            "nextFundingTime": next_funding_ms(ms),
            "time": ms,
        }

    def _open_interest(self, arguments: Arguments) -> Any:
        symbol = self._known(arguments.get("symbol"))
        number, ms = self._newest(StreamType.MARK_PRICE, symbol)
        return {"openInterest": self._market[symbol].open_interest(number), "symbol": symbol, "time": ms}

    def _agg_trades(self, arguments: Arguments) -> Any:
        """The newest trades, or those from an id on; the last thousand are remembered."""
        symbol = self._known(arguments.get("symbol"))
        trades = []
        for trade, ms in self._remembered_trades(symbol, arguments):
            trades.append(
                {
                    "a": trade.trade_id,
                    "p": trade.price,
                    "q": trade.qty,
                    "nq": trade.ordinary_qty,
                    "f": trade.first_fill,
                    "l": trade.last_fill,
                    "T": ms,
                    "m": trade.side == SELL,
                }
            )
        return trades

    def _remembered_trades(self, symbol: str, arguments: Arguments) -> Iterator[tuple[Print, int]]:
        values = self._market[symbol]
        series = self._feed.series[StreamType.TRADE, symbol]
        end = series.next_number
        oldest = end - len(series.times)
        count = max(1, min(_integer(arguments, "limit", 500), MAX_TRADES))
        from_id = _integer(arguments, "fromId", values.first_trade + end - count)
        first = max(oldest, values.number_of_trade(from_id))
        for number in range(first, min(first + count, end)):
            yield values.trade(number), series.times[number - oldest]

    def _one_or_all(self, arguments: Arguments, tell: Callable[[str], dict[str, Any]]) -> Any:
        if "symbol" in arguments:
            return tell(self._known(arguments["symbol"]))
        return [tell(symbol) for symbol in self._traded()]

    def _known(self, symbol: str | None) -> str:
        if not symbol:
            raise Refusal(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.", status=400)
        if symbol not in self._market or symbol in self._feed.delisted:
            raise Refusal(-1121, "Invalid symbol.", status=400)
        return symbol

    def _listing(self, symbol: str, instrument: Instrument, *, alive: bool) -> dict[str, Any]:
        return {
            "symbol": symbol,
            "pair": symbol,
            "contractType": "PERPETUAL",
            "deliveryDate": _NEVER_MS if alive else _DELISTED_MS,
            "onboardDate": _LISTED_MS,
            "status": "TRADING" if alive else self.dead_status,
            "baseAsset": symbol.removesuffix("USDT"),
            "quoteAsset": "USDT",
            "marginAsset": "USDT",
            "pricePrecision": instrument.decimals,
            "quantityPrecision": 3,
            "underlyingType": "COIN",
            "filters": [*base_filters(instrument), {"filterType": "MIN_NOTIONAL", "notional": "5.0"}],
        }


def _integer(arguments: Arguments, name: str, usual: int) -> int:
    text = arguments.get(name)
    if text is None:
        return usual
    if not text.isdecimal():
        raise Refusal(-1130, f"Data sent for parameter '{name}' is not valid.", status=400)
    return int(text)


def base_filters(instrument: Instrument) -> list[dict[str, str]]:
    """The steps of price and quantity, as every venue of Binance lists them."""
    unit = 10**instrument.decimals
    tick = instrument.tick_size
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": f"{100 * instrument.level // unit + 1}", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "10000000", "stepSize": "0.001"},
    ]
