"""Frames on their way into the archive: all of them, whatever becomes of them as events, marked with their socket."""

from __future__ import annotations

import trio

from intake.test_supervisor import LOST, Exchange, Run, frame
from quantlab_collector.contracts.raw_frames import RawRead
from quantlab_collector.exchanges.protocol import BinaryMessage
from quantlab_collector.intake.raw_tap import RawTap, open_raw_queue


class TappedRun(Run):
    """A run whose connections have a tap."""

    def __init__(self, exchange, capacity):
        super().__init__(exchange)
        self.send, self.receive = open_raw_queue()
        self.tap = RawTap(self.send, self.notices, capacity)

    def reads(self) -> list[RawRead]:
        found = []
        while True:
            try:
                found.append(self.receive.receive_nowait())
            except trio.WouldBlock:
                return found


TRADE = frame(7, "aggTrade")
ACK = b'{"result":null,"id":1}'


async def test_every_frame_of_every_socket_is_offered(autojump_clock):
    first = [[ACK], [frame(1), b"not json"], 1.0, [BinaryMessage(b"\xff")], LOST]
    run = TappedRun(Exchange(public=[first, [[frame(2)]]], market=[[0.5, [TRADE]]]), 10**6)
    await run(20)
    reads = [(read.exchange, read.connection, read.messages, [trade.trade_id for trade in read.trades]) for read in run.reads()]
    assert reads == [
        ("binance", "public-0#1", [ACK], []),
        ("binance", "public-0#1", [frame(1), b"not json"], []),
        ("binance", "market-0#1", [TRADE], ["7"]),
        ("binance", "public-0#1", [b"\xff"], []),
        ("binance", "public-0#2", [frame(2)], []),
    ]
    state = run.state
    assert state.raw_archive.account("binance").received == sum(connection.frames for connection in state.connections) == 6
    assert state.books.counters().rejected == 2


async def test_what_does_not_fit_changes_nothing_for_the_events(autojump_clock):
    run = TappedRun(Exchange(public=[[[frame(n)] for n in range(10)]], market=[[5.0]]), 1000)
    await run(5)
    account, kept = run.state.raw_archive.account("binance"), run.reads()
    assert (account.received, account.dropped) == (10, 10 - len(kept))
    assert 0 < len(kept) < 10
    assert run.received("bbo") == 10
    assert run.state.raw_archive.queued_bytes == sum(read.cost for read in kept) <= 1000
    (told,) = run.log.told("raw_frames_dropped")
    assert (told["exchange"], told["reason"]) == ("binance", "queue_full")


async def test_the_trades_of_a_read_stay_those_of_the_read(autojump_clock):
    """The list itself goes to the writer, which puts others behind them."""
    trades = [1, 2]
    run = TappedRun(Exchange(public=[[5.0]], market=[[5.0]]), 10**6)
    run.tap.offer("binance", "c#1", 1, [b"x"], trades)
    trades.append(3)
    (read,) = run.reads()
    assert read.trades == [1, 2]
