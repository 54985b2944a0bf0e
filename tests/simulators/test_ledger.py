"""What was sent: in memory, in a file, and in a file whose process was killed."""

from __future__ import annotations

import pytest
import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.ledger import FLUSH_INTERVAL, Entry, Ledger, keep_flushed, read_ledger

SENT = [
    Entry(1, StreamType.BBO, "BTCUSDT", 0, 1_790_757_176_000, 1_790_757_176_003_000_001),
    Entry(2, StreamType.TRADE, "BTCUSDT", 0, 1_790_757_176_001, 1_790_757_176_003_000_002),
    Entry(3, StreamType.BBO, "BTCUSDT", 0, 1_790_757_176_000, 1_790_757_176_003_000_003),
    Entry(1, StreamType.BBO, "BTCUSDT", 1, 1_790_757_176_002, 1_790_757_176_003_000_004),
    Entry(2, StreamType.MARK_PRICE, "ETHUSDT", 7, 1_790_757_176_003, 1_790_757_176_004_000_005),
]


def filled(ledger: Ledger) -> Ledger:
    for entry in SENT:
        ledger.record(entry)
    return ledger


def test_what_was_sent_is_found_by_kind_symbol_and_connection():
    ledger = filled(Ledger())
    assert ledger.total == 5
    assert ledger.totals == {
        (StreamType.BBO, "BTCUSDT"): 3,
        (StreamType.TRADE, "BTCUSDT"): 1,
        (StreamType.MARK_PRICE, "ETHUSDT"): 1,
    }
    assert ledger.sent(StreamType.BBO, "BTCUSDT") == [tuple(SENT[n][3:]) for n in (0, 2, 3)]
    assert ledger.sent(StreamType.BBO, "BTCUSDT", connection=1) == [tuple(SENT[n][3:]) for n in (0, 3)]
    assert ledger.sent(StreamType.BBO, "NONEUSDT") == []
    assert list(ledger.entries(connection=2)) == [SENT[1], SENT[4]]


def test_a_file_holds_the_same(tmp_path):
    file = tmp_path / "sent.csv"
    ledger = filled(Ledger(file))
    ledger.close()
    assert list(read_ledger(file).entries()) == list(ledger.entries())
    assert file.read_text().splitlines()[:2] == [
        "connection,kind,symbol,number,exchange_ms,accepted_ns",
        "1,bbo,BTCUSDT,0,1790757176000,1790757176003000001",
    ]


async def test_a_running_ledger_reaches_its_file_soon(tmp_path, autojump_clock):
    file = tmp_path / "sent.csv"
    ledger = filled(Ledger(file))
    assert read_ledger(file).total == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_flushed, ledger)
        await trio.sleep(1.5 * FLUSH_INTERVAL)
        assert read_ledger(file).total == 5
        nursery.cancel_scope.cancel()
    ledger.close()


def test_a_line_that_was_cut_is_left_out(tmp_path):
    file = tmp_path / "sent.csv"
    filled(Ledger(file)).close()
    whole = file.read_bytes()
    for length in range(len(whole) - 1, whole.rstrip(b"\n").rfind(b"\n"), -1):
        file.write_bytes(whole[:length])
        assert read_ledger(file).total == 4


def test_another_file_is_no_ledger(tmp_path):
    file = tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="not a ledger"):
        read_ledger(file)
