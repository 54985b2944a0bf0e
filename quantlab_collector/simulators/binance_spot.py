"""What Binance spot says otherwise than USD-M: quotes without a time, trades by the match, and REST of its own.

https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md and ``rest-api.md`` beside it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from quantlab_collector.contracts.events import SELL, Bbo, Event, StreamType
from quantlab_collector.simulators.binance_messages import BinanceMessages
from quantlab_collector.simulators.binance_rest import BinanceRest, Endpoint, base_filters
from quantlab_collector.simulators.market import Instrument
from quantlab_collector.simulators.rest_server import Arguments


class SpotMessages(BinanceMessages):
    """Numbered events in the words of Binance spot.

    A quote has no time on the wire, so a recorder owes ``ts_event`` = ``ts_recv``: tell ``raw`` the ``ts_recv`` of the recorded
    row, or leave ``ts_event`` out of the comparison.
    """

    exchange: ClassVar = "binance-spot"
    streams: ClassVar = frozenset({StreamType.BBO, StreamType.TRADE})

    def _book_ticker(self, symbol: str, number: int, ms: int) -> str:
        del ms  # not told
        quote = self.market[symbol].quote(number)
        return (
            f'{{"u":{quote.update_id},"s":"{symbol}"'
            f',"b":"{quote.bid_price}","B":"{quote.bid_qty}","a":"{quote.ask_price}","A":"{quote.ask_qty}"}}'
        )

    def _trade(self, symbol: str, number: int, ms: int) -> str:
        trade = self.market[symbol].trade(number)
        buyer_is_maker = "true" if trade.side == SELL else "false"
        return (
            f'{{"e":"trade","E":{ms + trade.delay_ms},"s":"{symbol}","t":{trade.trade_id}'
            f',"p":"{trade.price}","q":"{trade.qty}","T":{ms},"m":{buyer_is_maker},"M":true}}'
        )

    def raw(self, stream: StreamType, symbol: str, number: int, exchange_ms: int, ts_recv: int = 0) -> Event:
        """The RAW event that one message owes."""
        event = super().raw(stream, symbol, number, exchange_ms, ts_recv)
        if isinstance(event, Bbo):
            return Bbo(ts_recv, ts_recv, self.exchange, symbol, event.bid_price, event.bid_qty, event.ask_price, event.ask_qty)
        return event


class SpotRest(BinanceRest):
    """What REST tells of the spot market."""

    prefix: ClassVar = "/api/v3/"
    weight_per_minute: ClassVar = 6000
    dead_status: ClassVar = "BREAK"

    def _find_endpoints(self) -> dict[str, Endpoint]:
        return {
            "time": Endpoint(self._time, 1, 1),
            "exchangeInfo": Endpoint(self._exchange_info, 20, 20),
            "ticker/bookTicker": Endpoint(self._book_ticker, 2, 4),
            "trades": Endpoint(self._trades, 25, 25),
        }

    def _book_ticker_of(self, symbol: str) -> dict[str, Any]:
        ticker = super()._book_ticker_of(symbol)
        del ticker["time"]
        return ticker

    def _trades(self, arguments: Arguments) -> Any:
        """The newest trades, the oldest first."""
        symbol = self._known(arguments.get("symbol"))
        trades = []
        for trade, ms in self._remembered_trades(symbol, arguments):
            trades.append(
                {
                    "id": trade.trade_id,
                    "price": trade.price,
                    "qty": trade.qty,
                    "quoteQty": f"{float(trade.price) * float(trade.qty):.8f}",
                    "time": ms,
                    "isBuyerMaker": trade.side == SELL,
                    "isBestMatch": True,
                }
            )
        return trades

    def _head(self) -> dict[str, Any]:
        return {}

    def _listing(self, symbol: str, instrument: Instrument, *, alive: bool) -> dict[str, Any]:
        return {
            "symbol": symbol,
            "status": "TRADING" if alive else self.dead_status,
            "baseAsset": symbol.removesuffix("USDT"),
            "baseAssetPrecision": 8,
            "quoteAsset": "USDT",
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "isSpotTradingAllowed": alive,
            "isMarginTradingAllowed": False,
            "filters": [*base_filters(instrument), {"filterType": "NOTIONAL", "minNotional": "5.00000000"}],
            "permissions": [],
            "permissionSets": [["SPOT"]],
        }
