"""What a competent person writes in an afternoon: picows, msgspec, columns in lists, a Parquet file of each symbol every minute.

No journal, no fsync, no state, no reconnects. What is in memory when it dies is lost.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pyarrow as pa
from columns import Columns, write_regularly
from common import read_plan, report, run, tls, until_told
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from typed import AggTrade, BookTicker, decode

_TIMES = [("ts_event", pa.int64()), ("ts_recv", pa.int64())]
BOOKS = pa.schema([*_TIMES, *((name, pa.float64()) for name in ("bid", "bid_qty", "ask", "ask_qty"))])
TRADES = pa.schema([*_TIMES, ("price", pa.float64()), ("qty", pa.float64()), ("sell", pa.bool_()), ("id", pa.int64())])
MARKS = pa.schema([*_TIMES, *((name, pa.float64()) for name in ("mark", "index", "rate")), ("next_funding", pa.int64())])


class Store:
    """All columns, by symbol."""

    def __init__(self, symbols: list[str]) -> None:
        self.books = {symbol: Columns(BOOKS, "bbo", symbol) for symbol in symbols}
        self.trades = {symbol: Columns(TRADES, "trade", symbol) for symbol in symbols}
        self.marks = {symbol: Columns(MARKS, "mark_price", symbol) for symbol in symbols}
        self.all = [columns for kind in (self.books, self.trades, self.marks) for columns in kind.values()]
        self.messages = 0


class Listener(WSListener):
    def __init__(self, requests: list[str], store: Store) -> None:
        self.requests = requests
        self.store = store

    def on_ws_connected(self, transport: WSTransport) -> None:
        for request in self.requests:
            transport.send(WSMsgType.TEXT, request.encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        try:
            data = decode(frame.get_payload_as_memoryview()).data
        except msgspec.MsgspecError:  # no market data: an answer, or a ping
            return
        store = self.store
        store.messages += 1
        if type(data) is BookTicker:
            event, recv, bid, bid_qty, ask, ask_qty = store.books[data.s].lists
            event.append(data.T)
            recv.append(time.time_ns())
            bid.append(data.b)
            bid_qty.append(data.B)
            ask.append(data.a)
            ask_qty.append(data.A)
        elif type(data) is AggTrade:
            event, recv, price, qty, sell, number = store.trades[data.s].lists
            event.append(data.T)
            recv.append(time.time_ns())
            price.append(data.p)
            qty.append(data.q)
            sell.append(data.m)
            number.append(data.a)
        else:
            event, recv, mark, index, rate, next_funding = store.marks[data.s].lists
            event.append(data.E)
            recv.append(time.time_ns())
            mark.append(data.p)
            index.append(data.i)
            rate.append(data.r)
            next_funding.append(data.T)


async def _receive(plan: dict[str, Any], connection: dict[str, Any], listener: WSListener) -> None:
    transport, _ = await ws_connect(lambda: listener, connection["url"], ssl_context=tls(plan))
    try:
        await transport.wait_disconnected()
    finally:
        transport.disconnect()


async def record(store_of: type, listener_of: type) -> None:
    """Receive until told to stop, and store what there is."""
    plan = read_plan()
    store = store_of(plan["symbols"])
    connections = (_receive(plan, each, listener_of(each["requests"], store)) for each in plan["connections"])
    await until_told(*connections, write_regularly(store.all))
    for columns in store.all:
        columns.write()
    report(store.messages)


if __name__ == "__main__":
    run(record(Store, Listener))
