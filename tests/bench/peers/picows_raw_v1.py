"""The bare script again, and what it writes are the rows that the collector writes: the columns of RAW v1, in its types and units.

So a mark price is two rows, times are nanoseconds, ids are texts, and each row says what it is of.
"""

from __future__ import annotations

import time

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from columns import Columns
from common import run
from picows import WSFrame, WSTransport
from picows_parquet import Listener, record
from typed import AggTrade, BookTicker, decode

_CONSTANT = {"exchange": pa.string(), "symbol": pa.string(), "stream": pa.string(), "stream_version": pa.int8()}


def _schema(**own: pa.DataType) -> pa.Schema:
    return pa.schema({"ts_event": pa.int64(), "ts_recv": pa.int64(), **own})


_NUMBER = pa.float64()
SCHEMAS = {
    "bbo": _schema(bid_price=_NUMBER, bid_qty=_NUMBER, ask_price=_NUMBER, ask_qty=_NUMBER),
    "trade": _schema(price=_NUMBER, qty=_NUMBER, side=pa.int8(), trade_id=pa.string()),
    "mark_price": _schema(mark_price=_NUMBER, index_price=_NUMBER),
    "funding": _schema(funding_rate=_NUMBER, next_funding_ts=pa.int64()),
}


class RawColumns(Columns):
    """The columns of one stream of one symbol, and what is the same in all its rows."""

    def __init__(self, stream: str, symbol: str) -> None:
        super().__init__(SCHEMAS[stream], stream, symbol)
        self.encodings |= {"trade_id": "DELTA_BYTE_ARRAY"} if stream == "trade" else {}
        self.constants = ("binance", symbol, stream, 1)

    def write(self) -> None:
        rows = len(self.lists[0])
        if not rows:
            return
        arrays = [pa.array(column, field.type) for column, field in zip(self.lists, self.schema, strict=True)]
        same = [pa.repeat(pa.scalar(value, kind), rows) for value, kind in zip(self.constants, _CONSTANT.values(), strict=True)]
        names = [*self.schema.names[:2], *_CONSTANT, *self.schema.names[2:]]
        self.folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.table([*arrays[:2], *same, *arrays[2:]], names=names),
            self.folder / f"part-{time.time_ns()}.parquet",
            compression="zstd",
            compression_level=3,
            use_dictionary=list(_CONSTANT),
            column_encoding=self.encodings,
            write_page_checksum=True,
        )
        for column in self.lists:
            column.clear()


class RawStore:
    """All columns, by stream and symbol."""

    def __init__(self, symbols: list[str]) -> None:
        self.books, self.trades, self.marks, self.fundings = (
            {symbol: RawColumns(stream, symbol) for symbol in symbols} for stream in SCHEMAS
        )
        self.all = [each for kind in (self.books, self.trades, self.marks, self.fundings) for each in kind.values()]
        self.messages = 0


class RawListener(Listener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        try:
            data = decode(frame.get_payload_as_memoryview()).data
        except msgspec.MsgspecError:  # no market data: an answer, or a ping
            return
        store, now = self.store, time.time_ns()
        store.messages += 1
        if type(data) is BookTicker:
            event, recv, bid, bid_qty, ask, ask_qty = store.books[data.s].lists
            event.append(data.T * 1_000_000)
            recv.append(now)
            bid.append(data.b)
            bid_qty.append(data.B)
            ask.append(data.a)
            ask_qty.append(data.A)
        elif type(data) is AggTrade:
            event, recv, price, qty, side, trade_id = store.trades[data.s].lists
            event.append(data.T * 1_000_000)
            recv.append(now)
            price.append(data.p)
            qty.append(data.q)
            side.append(-1 if data.m else 1)
            trade_id.append(str(data.a))
        else:
            event, recv, mark, index = store.marks[data.s].lists
            event.append(data.E * 1_000_000)
            recv.append(now)
            mark.append(data.p)
            index.append(data.i)
            event, recv, rate, next_funding = store.fundings[data.s].lists
            event.append(data.E * 1_000_000)
            recv.append(now)
            rate.append(data.r)
            next_funding.append(data.T * 1_000_000)


if __name__ == "__main__":
    run(record(RawStore, RawListener))
