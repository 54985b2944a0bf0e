"""cryptofeed 3 with a minimal Parquet writer: its normalised ticker, trades and funding, in columns, a file of each every minute.

It is used as its documentation shows: a FeedHandler with uvloop, callbacks, and no REST. Only the addresses are ours; and where
they are not encrypted, it is told so behind the check that they are. Its ticker has no quantities, so none are stored.
"""

from __future__ import annotations

import asyncio

import pyarrow as pa
from columns import Columns, write_regularly
from common import read_plan, report, run, tls
from cryptofeed import FeedHandler
from cryptofeed.connection import WebsocketEndpoint
from cryptofeed.defines import BINANCE_FUTURES, FUNDING, PERPETUAL, SELL, TICKER, TRADES
from cryptofeed.exchanges import BinanceFutures
from cryptofeed.symbols import Symbol, Symbols
from cryptofeed.types import Funding, Ticker, Trade

_TIMES = [("ts_event", pa.float64()), ("ts_recv", pa.float64())]
BOOKS = pa.schema([*_TIMES, ("bid", pa.float64()), ("ask", pa.float64())])
SALES = pa.schema([*_TIMES, ("price", pa.float64()), ("qty", pa.float64()), ("sell", pa.bool_()), ("id", pa.string())])
RATES = pa.schema([*_TIMES, ("mark", pa.float64()), ("rate", pa.float64()), ("next_funding", pa.float64())])


class Store:
    """The callbacks, and what they keep."""

    def __init__(self, symbols: list[str]) -> None:
        self.books = {symbol: Columns(BOOKS, "bbo", symbol) for symbol in symbols}
        self.trades = {symbol: Columns(SALES, "trade", symbol) for symbol in symbols}
        self.rates = {symbol: Columns(RATES, "mark_price", symbol) for symbol in symbols}
        self.all = [columns for kind in (self.books, self.trades, self.rates) for columns in kind.values()]
        self.messages = 0

    async def ticker(self, ticker: Ticker, receipt: float) -> None:
        self.messages += 1
        event, recv, bid, ask = self.books[ticker.symbol].lists
        event.append(ticker.timestamp)
        recv.append(receipt)
        bid.append(float(ticker.bid))
        ask.append(float(ticker.ask))

    async def trade(self, trade: Trade, receipt: float) -> None:
        self.messages += 1
        event, recv, price, qty, sell, number = self.trades[trade.symbol].lists
        event.append(trade.timestamp)
        recv.append(receipt)
        price.append(float(trade.price))
        qty.append(float(trade.amount))
        sell.append(trade.side == SELL)
        number.append(trade.id)

    async def funding(self, funding: Funding, receipt: float) -> None:
        self.messages += 1
        event, recv, mark, rate, next_funding = self.rates[funding.symbol].lists
        event.append(funding.timestamp)
        recv.append(receipt)
        mark.append(float(funding.mark_price))
        rate.append(float(funding.rate))
        next_funding.append(funding.next_funding_time)


class OurBinance(BinanceFutures):
    """Its addresses may be without encryption."""

    plain = False

    def connect(self) -> list:
        connections = super().connect()
        if self.plain:
            for connection, *_ in connections:
                connection.address = connection.address.replace("wss://", "ws://", 1)
        return connections


async def main() -> None:
    plan = read_plan()
    names = {Symbol(name.removesuffix("USDT"), "USDT", type=PERPETUAL).normalized: name for name in plan["symbols"]}
    Symbols.set(BINANCE_FUTURES, names, {"tick_size": {}, "instrument_type": dict.fromkeys(names, PERPETUAL)})
    context = tls(plan)
    options = {"compression": None} if context is None else {"compression": None, "ssl": context}
    OurBinance.plain = context is None
    OurBinance.websocket_endpoints = [WebsocketEndpoint(plan["url"].replace("ws://", "wss://", 1), options=options)]
    store = Store(list(names))
    callbacks = {TICKER: store.ticker, TRADES: store.trade, FUNDING: store.funding}
    handler = FeedHandler(config={"log": {"disabled": True}})
    handler.add_feed(OurBinance(symbols=list(names), channels=list(callbacks), callbacks=callbacks))
    writer = asyncio.create_task(write_regularly(store.all))
    await handler.run_async()  # until a SIGTERM, which it takes itself
    writer.cancel()
    for columns in store.all:
        columns.write()
    report(store.messages)


if __name__ == "__main__":
    run(main())
