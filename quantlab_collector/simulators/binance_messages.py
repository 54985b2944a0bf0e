"""How Binance USD-M says what happened: the JSON of the 2026 field set, and the RAW events that a recorder owes for it.

``BinanceMessages.raw`` is the oracle of tests. It is made from the market's values and not from the JSON, and it shares no code
with the collector's decoder.
"""

from __future__ import annotations

from typing import ClassVar, Final

from quantlab_collector.contracts.events import SELL, Bbo, Event, Funding, MarkPrice, StreamType, Trade
from quantlab_collector.simulators.market import Market

FUNDING_INTERVAL_MS: Final = 8 * 3_600_000
_NS_PER_MS: Final = 1_000_000


def next_funding_ms(exchange_ms: int) -> int:
    """The next settlement. In the very millisecond of a settlement the exchange still names that one."""
    return -(-exchange_ms // FUNDING_INTERVAL_MS) * FUNDING_INTERVAL_MS


class BinanceMessages:
    """Numbered events of a market in Binance's words.

    ``exchange_ms`` is the time that becomes ``ts_event``: for quotes and trades that of the match (``T``), for mark prices, which
    have no other, that of the push (``E``).
    """

    exchange: ClassVar = "binance"
    streams: ClassVar = frozenset({StreamType.BBO, StreamType.TRADE, StreamType.MARK_PRICE, StreamType.FUNDING})
    """What is recorded of this exchange."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self._texts = {
            StreamType.BBO: self._book_ticker,
            StreamType.TRADE: self._trade,
            StreamType.MARK_PRICE: self._mark_price,
        }

    def text(self, kind: StreamType, symbol: str, number: int, exchange_ms: int) -> str:
        """The payload of one event."""
        return self._texts[kind](symbol, number, exchange_ms)

    def fills(self, symbol: str, number: int, exchange_ms: int) -> list[str]:
        """The payloads of one trade on ``@trade``: its fills, and rows of no worth for the ids that are none of a trade."""
        trade = self.market[symbol].trade(number)
        head = f'{{"e":"trade","E":{exchange_ms + trade.delay_ms},"T":{exchange_ms},"s":"{symbol}"'
        buyer_is_maker = "true" if trade.side == SELL else "false"
        texts = []
        for fill in self.market[symbol].fills(number):
            price, word = (trade.price, "MARKET") if fill.qty else ("0", "NA")
            texts.append(
                f'{head},"t":{fill.fill_id},"p":"{price}","q":"{fill.qty or "0"}","X":"{word}","m":{buyer_is_maker},"st":1}}'
            )
        return texts

    def _book_ticker(self, symbol: str, number: int, ms: int) -> str:
        quote = self.market[symbol].quote(number)
        return (
            f'{{"e":"bookTicker","u":{quote.update_id},"s":"{symbol}","ps":"{symbol}"'
            f',"b":"{quote.bid_price}","B":"{quote.bid_qty}","a":"{quote.ask_price}","A":"{quote.ask_qty}"'
            f',"T":{ms},"E":{ms + quote.delay_ms},"st":1}}'
        )

    def _trade(self, symbol: str, number: int, ms: int) -> str:
        trade = self.market[symbol].trade(number)
        buyer_is_maker = "true" if trade.side == SELL else "false"
        return (
            f'{{"e":"aggTrade","E":{ms + trade.delay_ms},"a":{trade.trade_id},"s":"{symbol}"'
            f',"p":"{trade.price}","q":"{trade.qty}","nq":"{trade.ordinary_qty}"'
            f',"f":{trade.first_fill},"l":{trade.last_fill},"T":{ms},"m":{buyer_is_maker},"st":1}}'
        )

    def _mark_price(self, symbol: str, number: int, ms: int) -> str:
        mark = self.market[symbol].mark(number)
        return (
            f'{{"e":"markPriceUpdate","E":{ms},"s":"{symbol}","p":"{mark.mark_price}","ap":"{mark.average_price}"'
            f',"P":"{mark.settle_price}","i":"{mark.index_price}","r":"{mark.funding_rate}"'
            f',"T":{next_funding_ms(ms)},"st":1}}'
        )

    def raw(self, stream: StreamType, symbol: str, number: int, exchange_ms: int, ts_recv: int = 0) -> Event:
        """The RAW event that one message owes to ``stream``; a mark price owes one to ``mark_price`` and one to ``funding``."""
        if stream not in self.streams:
            raise ValueError(f"{self.exchange} has no stream of {stream.value}")
        values = self.market[symbol]
        ts_event = exchange_ms * _NS_PER_MS
        if stream is StreamType.BBO:
            quote = values.quote(number)
            return Bbo(
                ts_event,
                ts_recv,
                self.exchange,
                symbol,
                float(quote.bid_price),
                float(quote.bid_qty),
                float(quote.ask_price),
                float(quote.ask_qty),
            )
        if stream is StreamType.TRADE:
            trade = values.trade(number)
            return Trade(
                ts_event, ts_recv, self.exchange, symbol, float(trade.price), float(trade.qty), trade.side, str(trade.trade_id)
            )
        mark = values.mark(number)
        if stream is StreamType.MARK_PRICE:
            return MarkPrice(ts_event, ts_recv, self.exchange, symbol, float(mark.mark_price), float(mark.index_price))
        settlement = next_funding_ms(exchange_ms) * _NS_PER_MS
        return Funding(ts_event, ts_recv, self.exchange, symbol, float(mark.funding_rate), settlement)

    def number(self, event: Event) -> int:
        """The number of a recorded event, told from its columns alone."""
        values = self.market[event.symbol]
        if isinstance(event, Bbo) and event.bid_qty is not None:
            return values.number_of_quote(event.bid_qty)
        if isinstance(event, Trade):
            return values.number_of_trade(int(event.trade_id))
        if isinstance(event, MarkPrice) and event.index_price is not None:
            return values.number_of_mark(event.mark_price, event.index_price)
        if isinstance(event, Funding):
            return values.number_of_funding(event.funding_rate)
        raise ValueError(f"no event of this exchange: {event!r}")
