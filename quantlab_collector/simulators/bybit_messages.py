"""How Bybit says what happened: the JSON of the 2026 field set, and the RAW events that a recorder owes for it.

``BybitMessages.raw`` is the oracle of tests. It is made from the market's values and not from the JSON, and it shares no code
with the collector's decoder.

A ticker tells three kinds of event: prices, funding and open interest, numbered each by itself. A delta leaves out what is as it
was, so the prices move in turns of four: both, the mark price alone, both, the index alone. Whatever moves, index and mark price
differ by what ``market`` says, so the number can be read from every pair. The open interest counts up from a constant.

Linear trades have UUIDs; the number stands in the last twelve digits. Spot trades have numbers, as ``market`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from quantlab_collector.contracts.events import BUY, Bbo, Event, Funding, MarkPrice, OpenInterest, StreamType, Trade
from quantlab_collector.simulators.market import Market

FUNDING_INTERVAL_MS: Final = 8 * 3_600_000
SWEEP: Final = 8
"""Fills of one order share a sequence number; every order here makes eight of them."""

_NS_PER_MS: Final = 1_000_000
_E8: Final = 10**8
_FIRST_SPOT_TRADE: Final = 2_290_000_000_000_000_000
_FIRST_INTEREST: Final = 59_000_000
_RESTARTS: Final = 1000
"""Every so many books the count of updates begins anew, as after a restart of the exchange's service."""


class Numbered(NamedTuple):
    """An event by its number and the time that becomes ``ts_event``."""

    number: int
    exchange_ms: int


def funding_ms(exchange_ms: int) -> int:
    """The coming settlement."""
    return (exchange_ms // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS


class BybitMessages:
    """Numbered events of a market in Bybit's words.

    ``exchange_ms`` is the time that becomes ``ts_event``: of books that of the match (``cts``), of trades that of the fill
    (``T``), of tickers, which have no other, that of the push (``ts``).
    """

    def __init__(self, market: Market, exchange: str) -> None:
        self.market = market
        self._exchange = exchange
        self._linear = exchange == "bybit"
        self._salts = {
            symbol: UUID(int=(market[symbol].first_update << 64) | market[symbol].first_trade) for symbol in market.symbols
        }

    # ------------------------------------------------------------------------------------------------------------- JSON

    def book(self, symbol: str, number: int, ms: int) -> str:
        """The best bid and offer: always a snapshot."""
        quote = self.market[symbol].quote(number)
        update = 1 if number % _RESTARTS == _RESTARTS - 1 else quote.update_id
        return (
            f'{{"topic":"orderbook.1.{symbol}","ts":{ms + quote.delay_ms},"type":"snapshot","data":{{"s":"{symbol}"'
            f',"b":[["{quote.bid_price}","{quote.bid_qty}"]],"a":[["{quote.ask_price}","{quote.ask_qty}"]]'
            f',"u":{update},"seq":{quote.update_id}}},"cts":{ms}}}'
        )

    def trades(self, symbol: str, fills: Sequence[Numbered]) -> str:
        """One or several trades."""
        pushed = fills[-1].exchange_ms + self.market[symbol].trade(fills[-1].number).delay_ms
        items = ",".join(self._trade(symbol, fill.number, fill.exchange_ms) for fill in fills)
        head = f'"type":"snapshot","ts":{pushed}' if self._linear else f'"ts":{pushed},"type":"snapshot"'
        return f'{{"topic":"publicTrade.{symbol}",{head},"data":[{items}]}}'

    def _trade(self, symbol: str, number: int, ms: int) -> str:
        trade = self.market[symbol].trade(number)
        side, identity = "Buy" if trade.side == BUY else "Sell", self.trade_id(symbol, number)
        sequence = self.market[symbol].first_fill + number // SWEEP
        if self._linear:
            direction = ("PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick")[number % 4]
            return (
                f'{{"T":{ms},"s":"{symbol}","S":"{side}","v":"{trade.qty}","p":"{trade.price}","L":"{direction}"'
                f',"i":"{identity}","BT":false,"RPI":false,"seq":{sequence}}}'
            )
        return (
            f'{{"i":"{identity}","T":{ms},"p":"{trade.price}","v":"{trade.qty}","S":"{side}","seq":{sequence}'
            f',"s":"{symbol}","BT":false,"RPI":false}}'
        )

    def ticker(self, symbol: str, fields: str, ms: int, *, snapshot: bool = False) -> str:
        """A ticker that tells these fields."""
        kind, sequence = "snapshot" if snapshot else "delta", self.market[symbol].first_update + ms % 10**9
        return f'{{"topic":"tickers.{symbol}","type":"{kind}","data":{{"symbol":"{symbol}",{fields}}},"cs":{sequence},"ts":{ms}}}'

    def prices(self, symbol: str, number: int, *, sparse: bool = False) -> str:
        """The fields of the prices; sparse ones leave out what is as it was in the event before."""
        mark, index = self.prices_of(symbol, number)
        turn = number % 4 if sparse else 0
        if turn == 1:
            return f'"markPrice":"{mark}","openInterestValue":"5250990127.10"'
        if turn == 3:
            return f'"indexPrice":"{index}"'
        return f'"markPrice":"{mark}","indexPrice":"{index}","openInterestValue":"5250990127.10"'

    def funding(self, symbol: str, number: int, ms: int, *, sparse: bool = False) -> str:
        """The fields of the funding; sparse ones leave out the settlement."""
        rate = f'"fundingRate":"{self.market[symbol].mark(number).funding_rate}"'
        return rate if sparse else f'"nextFundingTime":"{funding_ms(ms)}",{rate}'

    def open_interest(self, number: int) -> str:
        """The fields of the open interest, of both sides and of one."""
        half = _thousandths((_FIRST_INTEREST + number) // 2)
        return f'"openInterest":"{self.open_interest_of(number)}","singleOpenInterest":"{half}"'

    def quiet(self, symbol: str, number: int) -> str:
        """Fields that nobody records."""
        quote = self.market[symbol].quote(number)
        return f'"bid1Price":"{quote.bid_price}","bid1Size":"{quote.bid_qty}"'

    def snapshot(self, symbol: str, prices: int, funding: int, interest: int, ms: int) -> str:
        """A ticker with everything, made of the last event of each kind."""
        quote = self.market[symbol].quote(prices)
        fields = (
            f'"tickDirection":"ZeroPlusTick","price24hPcnt":"0.001455","lastPrice":"{quote.bid_price}"'
            f',{self.prices(symbol, prices)},{self.open_interest(interest)},"fundingIntervalHour":"8","fundingCap":"0.005"'
            f',{self.funding(symbol, funding, ms)},{self.quiet(symbol, prices)},"ask1Price":"{quote.ask_price}"'
            f',"ask1Size":"{quote.ask_qty}","preOpenPrice":"","preQty":"","curPreListingPhase":""'
        )
        return self.ticker(symbol, fields, ms, snapshot=True)

    def prices_of(self, symbol: str, number: int) -> tuple[str, str]:
        """The mark and the index price of an event, as REST has them too."""
        mark, index = self._prices(symbol, number)
        return _decimal(mark), _decimal(index)

    def open_interest_of(self, number: int) -> str:
        """The open interest of an event, as REST has it too."""
        return _thousandths(_FIRST_INTEREST + number)

    # ----------------------------------------------------------------------------------------------------------- oracle

    def raw(self, stream: StreamType, symbol: str, number: int, exchange_ms: int, ts_recv: int = 0) -> Event:
        """The RAW event that a numbered event owes."""
        values = self.market[symbol]
        head = (exchange_ms * _NS_PER_MS, ts_recv, self._exchange, symbol)
        match stream:
            case StreamType.BBO:
                quote = values.quote(number)
                return Bbo(*head, *map(float, (quote.bid_price, quote.bid_qty, quote.ask_price, quote.ask_qty)))
            case StreamType.TRADE:
                trade = values.trade(number)
                return Trade(*head, float(trade.price), float(trade.qty), trade.side, self.trade_id(symbol, number))
            case StreamType.MARK_PRICE:
                mark, index = self._prices(symbol, number)
                return MarkPrice(*head, mark / _E8, index / _E8)
            case StreamType.FUNDING:
                return Funding(*head, float(values.mark(number).funding_rate), funding_ms(exchange_ms) * _NS_PER_MS)
            case StreamType.OPEN_INTEREST:
                return OpenInterest(*head, (_FIRST_INTEREST + number) / 1000)

    def number(self, event: Event) -> int:
        """The number of a recorded event, told from its columns alone."""
        values = self.market[event.symbol]
        match event:
            case Bbo(bid_qty=float(qty)):
                return values.number_of_quote(qty)
            case Trade() if self._linear:
                return int(event.trade_id[-12:], 16)
            case Trade():
                return values.number_of_trade(int(event.trade_id) - _FIRST_SPOT_TRADE)
            case MarkPrice(index_price=float(index)):
                return values.number_of_mark(event.mark_price, index)
            case Funding():
                return values.number_of_funding(event.funding_rate)
            case OpenInterest():
                return round(event.open_interest * 1000) - _FIRST_INTEREST
        raise ValueError(f"no event of this exchange: {event!r}")

    def trade_id(self, symbol: str, number: int) -> str:
        """The id of a trade, as REST has it too."""
        if self._linear:
            return f"{str(self._salts[symbol])[:-12]}{number:012x}"
        return str(_FIRST_SPOT_TRADE + self.market[symbol].first_trade + number)

    def _prices(self, symbol: str, number: int) -> tuple[int, int]:
        """Mark and index price in units of 1e-8."""
        mark, index = self._plain_prices(symbol, number)
        difference = index - mark
        if number % 4 == 1:
            _, index = self._plain_prices(symbol, number - 1)
            return index - difference, index
        if number % 4 == 3:
            mark, _ = self._plain_prices(symbol, number - 1)
            return mark, mark + difference
        return mark, index

    def _plain_prices(self, symbol: str, number: int) -> tuple[int, int]:
        mark = self.market[symbol].mark(number)
        return int(mark.mark_price.replace(".", "")), int(mark.index_price.replace(".", ""))


def _decimal(value: int) -> str:
    whole, rest = divmod(value, _E8)
    return f"{whole}.{rest:08d}"


def _thousandths(value: int) -> str:
    whole, rest = divmod(value, 1000)
    return f"{whole}.{rest:03d}"
