"""How OKX says what happened: the JSON of the 2026 field set, and the RAW events that a recorder owes for it.

``OkxMessages.raw`` is the oracle of tests. It is made from the market's values and not from the JSON, and it shares no code with
the collector's decoder.

Some values of an event carry its number differently from what ``market`` describes, as OKX does not send what stands there:

============== =======================================================================================
trade          the trade id of a group is its last; the groups are of 1, 1, 3 and 1 fills, and so on
mark price     there is no index; the number stands in eight more decimals of the mark price itself
open interest  hundredths of a contract around a constant, with the noise that the exchange's own has
============== =======================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from quantlab_collector.contracts.events import SELL, Bbo, Event, Funding, MarkPrice, OpenInterest, StreamType, Trade
from quantlab_collector.simulators.market import Market

EXCHANGE: Final = "okx"
FUNDING_INTERVAL_MS: Final = 8 * 3_600_000
CHANNELS: Final = {
    "bbo-tbt": StreamType.BBO,
    "trades": StreamType.TRADE,
    "mark-price": StreamType.MARK_PRICE,
    "funding-rate": StreamType.FUNDING,
    "open-interest": StreamType.OPEN_INTEREST,
}

_NS_PER_MS: Final = 1_000_000
_FILLS: Final = (1, 1, 3, 1)
_LAST_FILLS: Final = (1, 2, 5, 6)
"""The last fill of each group, counted from 1 in a turn of six."""
_MARK_DIGITS: Final = 8
_INTEREST: Final = 287_448_699


def inst_id(symbol: str) -> str:
    """``BTC-USDT-SWAP`` for ``BTCUSDT``."""
    quote = next((quote for quote in ("USDT", "USDC", "USD") if symbol.endswith(quote)), "")
    return f"{symbol.removesuffix(quote)}-{quote}-SWAP"


def funding_ms(exchange_ms: int) -> int:
    """The coming settlement."""
    return (exchange_ms // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS


class OkxMessages:
    """Numbered events of a market in OKX's words. ``exchange_ms`` is the only time that an item has."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self._items: dict[StreamType, tuple[str, Callable[[str, int, int], str]]] = {
            StreamType.BBO: ("bbo-tbt", self._bbo),
            StreamType.TRADE: ("trades", self.trade_item),
            StreamType.MARK_PRICE: ("mark-price", self.mark_item),
            StreamType.FUNDING: ("funding-rate", self.funding_item),
            StreamType.OPEN_INTEREST: ("open-interest", self.interest_item),
        }

    def text(self, kind: StreamType, symbol: str, number: int, exchange_ms: int) -> str:
        """The message of one event."""
        channel, tell = self._items[kind]
        item = tell(symbol, number, exchange_ms)
        return f'{{"arg":{{"channel":"{channel}","instId":"{inst_id(symbol)}"}},"data":[{item}]}}'

    def _bbo(self, symbol: str, number: int, ms: int) -> str:
        quote = self.market[symbol].quote(number)
        return (
            f'{{"asks":[["{quote.ask_price}","{quote.ask_qty}","0","2"]],"bids":[["{quote.bid_price}","{quote.bid_qty}","0","3"]]'
            f',"ts":"{ms}","seqId":{quote.update_id}}}'
        )

    def trade_item(self, symbol: str, number: int, ms: int) -> str:
        """A trade, as WebSocket has it and, but for two fields, REST too."""
        values = self.market[symbol]
        trade = values.trade(number)
        return (
            f'{{"instId":"{inst_id(symbol)}","tradeId":"{self._trade_id(symbol, number)}","px":"{trade.price}","sz":"{trade.qty}"'
            f',"side":"{"sell" if trade.side == SELL else "buy"}","ts":"{ms}","count":"{_FILLS[number % 4]}","source":"0"'
            f',"seqId":{values.first_update + 3 * number}}}'
        )

    def mark_item(self, symbol: str, number: int, ms: int) -> str:
        """A mark price, as REST has it too."""
        return f'{{"instId":"{inst_id(symbol)}","instType":"SWAP","markPx":"{self._mark_price(symbol, number)}","ts":"{ms}"}}'

    def funding_item(self, symbol: str, number: int, ms: int) -> str:
        """A funding rate, as REST has it too."""
        rate, settlement = self.market[symbol].mark(number).funding_rate, funding_ms(ms)
        return (
            f'{{"formulaType":"withRate","fundingRate":"{rate}","fundingTime":"{settlement}"'
            f',"impactValue":"20000.0000000000000000","instId":"{inst_id(symbol)}","instType":"SWAP"'
            f',"interestRate":"0.0001000000000000","maxFundingRate":"0.00375","method":"current_period"'
            f',"minFundingRate":"-0.00375","nextFundingRate":"","nextFundingTime":"{settlement + FUNDING_INTERVAL_MS}"'
            f',"premium":"-0.0005333853474351","prevFundingTime":"{settlement - FUNDING_INTERVAL_MS}"'
            f',"settFundingRate":"0.0000337200721784","settState":"settled","ts":"{ms}"}}'
        )

    def interest_item(self, symbol: str, number: int, ms: int) -> str:
        """An open interest, as REST has it too."""
        contracts = self._open_interest(number)
        return (
            f'{{"instId":"{inst_id(symbol)}","instType":"SWAP","oi":"{contracts}","oiCcy":"28744.8699000000925"'
            f',"oiUsd":"2385812703.752047677463","ts":"{ms}"}}'
        )

    def raw(self, stream: StreamType, symbol: str, number: int, exchange_ms: int, ts_recv: int = 0) -> Event:
        """The RAW event that a message owes."""
        values = self.market[symbol]
        head = (exchange_ms * _NS_PER_MS, ts_recv, EXCHANGE, symbol)
        match stream:
            case StreamType.BBO:
                quote = values.quote(number)
                prices = (quote.bid_price, quote.bid_qty, quote.ask_price, quote.ask_qty)
                return Bbo(*head, *map(float, prices))
            case StreamType.TRADE:
                trade = values.trade(number)
                return Trade(*head, float(trade.price), float(trade.qty), trade.side, str(self._trade_id(symbol, number)))
            case StreamType.MARK_PRICE:
                return MarkPrice(*head, float(self._mark_price(symbol, number)), None)
            case StreamType.FUNDING:
                return Funding(*head, float(values.mark(number).funding_rate), funding_ms(exchange_ms) * _NS_PER_MS)
            case StreamType.OPEN_INTEREST:
                return OpenInterest(*head, float(self._open_interest(number)))

    def number(self, event: Event) -> int:
        """The number of a recorded event, told from its columns alone."""
        values = self.market[event.symbol]
        match event:
            case Bbo(bid_qty=float(qty)):
                return values.number_of_quote(qty)
            case Trade():
                turn, place = divmod(int(event.trade_id) - values.first_fill - 1, _LAST_FILLS[-1])
                return 4 * turn + _LAST_FILLS.index(place + 1)
            case MarkPrice():
                unit: int = 10 ** (values.instrument.decimals + _MARK_DIGITS)
                return round(event.mark_price * unit) % 10**_MARK_DIGITS
            case Funding():
                return values.number_of_funding(event.funding_rate)
            case OpenInterest():
                return round(event.open_interest * 100) - _INTEREST
        raise ValueError(f"no event of this exchange: {event!r}")

    def _trade_id(self, symbol: str, number: int) -> int:
        """The id of the last fill of the group."""
        turn, place = divmod(number, 4)
        return self.market[symbol].first_fill + _LAST_FILLS[-1] * turn + _LAST_FILLS[place]

    def _mark_price(self, symbol: str, number: int) -> str:
        """Fifteen digits at most, so that a double holds them all."""
        values = self.market[symbol]
        whole, decimals = values.mark(number).mark_price.split(".")
        return f"{whole}.{decimals[: values.instrument.decimals]}{number % 10**_MARK_DIGITS:0{_MARK_DIGITS}d}"

    def _open_interest(self, number: int) -> str:
        whole, rest = divmod(_INTEREST + number, 100)
        return f"{whole}.{rest:02d}000000925"
