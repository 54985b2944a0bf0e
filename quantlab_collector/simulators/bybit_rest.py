"""Bybit over REST, as far as a recorder asks: clock, universe, and the newest state of each symbol.

Shapes and limits: https://bybit-exchange.github.io/docs/v5/market/time and the pages next to it,
https://bybit-exchange.github.io/docs/v5/rate-limit
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from quantlab_collector.contracts.events import BUY, StreamType
from quantlab_collector.simulators.bybit_messages import SWEEP, BybitMessages, funding_ms
from quantlab_collector.simulators.feed import Feed
from quantlab_collector.simulators.quota import Quota
from quantlab_collector.simulators.rest import Refusal, Rest
from quantlab_collector.simulators.rest_server import Answer, Arguments

MAX_REQUESTS: Final = 600
"""In five seconds."""

_WINDOW_NS: Final = 5_000_000_000
_NS_PER_S: Final = 1_000_000_000
_MAX_TRADES: Final = {"linear": 1000, "spot": 60}
_MAX_PAGE: Final = 1000
_USUAL_PAGE: Final = 500
_FORBIDDEN: Final = 403


class BybitRest(Rest):
    """What Bybit tells by REST."""

    def __init__(self, messages: BybitMessages, feed: Feed, category: str, wall_clock: Callable[[], int]) -> None:
        super().__init__(messages.market, feed, wall_clock)
        self._messages = messages
        self._category = category
        self._quota = Quota(MAX_REQUESTS, _WINDOW_NS)
        self._endpoints: dict[str, Callable[[Arguments], dict[str, Any]]] = {
            "time": self._time,
            "instruments-info": self._instruments,
            "tickers": self._tickers,
            "orderbook": self._order_book,
            "recent-trade": self._recent_trades,
        }

    def answer(self, path: str, arguments: Arguments) -> Answer | None:
        """What a path answers; ``None`` where there is nothing."""
        tell = self._endpoints.get(path.removeprefix("/v5/market/"))
        if tell is None:
            return None
        try:
            self._charge()
            return Answer(200, self._envelope(0, "OK", tell(arguments)))
        except Refusal as refusal:
            return Answer(refusal.status, self._envelope(refusal.code, refusal.message, {}))

    def _charge(self) -> None:
        """One quota for everybody, as on loopback all have one address."""
        if not self._quota.admits(self._wall_clock()):
            raise Refusal(10006, "access too frequent", _FORBIDDEN)

    def _envelope(self, code: int | str, message: str, result: dict[str, Any]) -> dict[str, Any]:
        return {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": self._now_ms()}

    # --------------------------------------------------------------------------------------------------------- endpoints

    def _time(self, _arguments: Arguments) -> dict[str, Any]:
        now = self._wall_clock()
        return {"timeSecond": str(now // _NS_PER_S), "timeNano": str(now)}

    def _instruments(self, arguments: Arguments) -> dict[str, Any]:
        """Linear comes in pages; spot comes at once, whatever is asked."""
        symbols = self._asked(arguments)
        if self._category == "spot":
            return {"category": "spot", "list": [self._listing(symbol) for symbol in symbols]}
        limit = min(_integer(arguments, "limit", _USUAL_PAGE), _MAX_PAGE)
        start = symbols.index(arguments["cursor"]) if arguments.get("cursor") in symbols else 0
        following = symbols[start + limit : start + limit + 1]
        return {
            "category": "linear",
            "list": [self._listing(symbol) for symbol in symbols[start : start + limit]],
            "nextPageCursor": following[0] if following else "",
        }

    def _tickers(self, arguments: Arguments) -> dict[str, Any]:
        return {"category": self._category, "list": [self._ticker(symbol) for symbol in self._asked(arguments)]}

    def _ticker(self, symbol: str) -> dict[str, Any]:
        quote = self._market[symbol].quote(self._newest(StreamType.BBO, symbol)[0])
        trade = self._market[symbol].trade(self._newest(StreamType.TRADE, symbol)[0])
        told = {
            "symbol": symbol,
            "bid1Price": quote.bid_price,
            "bid1Size": quote.bid_qty,
            "ask1Price": quote.ask_price,
            "ask1Size": quote.ask_qty,
            "lastPrice": trade.price,
        }
        if self._category == "spot":
            return told
        mark, index = self._messages.prices_of(symbol, self._newest(StreamType.MARK_PRICE, symbol)[0])
        return told | {
            "markPrice": mark,
            "indexPrice": index,
            "fundingRate": self._market[symbol].mark(self._newest(StreamType.FUNDING, symbol)[0]).funding_rate,
            "nextFundingTime": str(funding_ms(self._now_ms())),
            "openInterest": self._messages.open_interest_of(self._newest(StreamType.OPEN_INTEREST, symbol)[0]),
        }

    def _order_book(self, arguments: Arguments) -> dict[str, Any]:
        symbol = self._known(arguments)
        number, ms = self._newest(StreamType.BBO, symbol)
        quote = self._market[symbol].quote(number)
        return {
            "s": symbol,
            "b": [[quote.bid_price, quote.bid_qty]],
            "a": [[quote.ask_price, quote.ask_qty]],
            "ts": ms + quote.delay_ms,
            "u": quote.update_id,
            "seq": quote.update_id,
            "cts": ms,
        }

    def _recent_trades(self, arguments: Arguments) -> dict[str, Any]:
        """The newest trades, the newest first."""
        symbol = self._known(arguments)
        most = _MAX_TRADES[self._category]
        count = min(_integer(arguments, "limit", min(_USUAL_PAGE, most)), most)
        told = []
        for number, ms in self._newest_trades(symbol, count):
            trade = self._market[symbol].trade(number)
            told.append(
                {
                    "execId": self._messages.trade_id(symbol, number),
                    "symbol": symbol,
                    "price": trade.price,
                    "size": trade.qty,
                    "side": "Buy" if trade.side == BUY else "Sell",
                    "time": str(ms),
                    "isBlockTrade": False,
                    "isRPITrade": False,
                    "seq": str(self._market[symbol].first_fill + number // SWEEP),
                }
            )
        return {"category": self._category, "list": told}

    # ------------------------------------------------------------------------------------------------------------- parts

    def _asked(self, arguments: Arguments) -> list[str]:
        """One symbol, or all that are traded."""
        self._expect_category(arguments)
        if arguments.get("symbol"):
            return [self._known(arguments)]
        return self._traded()

    def _expect_category(self, arguments: Arguments) -> None:
        if arguments.get("category") != self._category:
            raise Refusal(10001, "Category is invalid")

    def _known(self, arguments: Arguments) -> str:
        self._expect_category(arguments)
        symbol = arguments.get("symbol", "")
        if symbol not in self._market or symbol in self._feed.delisted:
            raise Refusal(10001, "params error: symbol invalid")
        return symbol

    def _listing(self, symbol: str) -> dict[str, Any]:
        instrument = self._market[symbol].instrument
        quote = next((quote for quote in ("USDT", "USDC") if symbol.endswith(quote)), "USDT")
        listing: dict[str, Any] = {
            "symbol": symbol,
            "status": "Trading",
            "baseCoin": symbol.removesuffix(quote),
            "quoteCoin": quote,
            "priceFilter": {"tickSize": instrument.tick_size},
        }
        if self._category == "linear":
            listing |= {
                "contractType": "LinearPerpetual",
                "launchTime": "1585526400000",
                "deliveryTime": "0",
                "fundingInterval": 480,
                "settleCoin": quote,
                "lotSizeFilter": {"minOrderQty": "0.001", "qtyStep": "0.001", "minNotionalValue": "5"},
            }
        return listing


def _integer(arguments: Arguments, name: str, usual: int) -> int:
    text = arguments.get(name, str(usual))
    if not text.isdecimal() or not int(text):
        raise Refusal(10001, f"params error: {name} invalid")
    return int(text)
