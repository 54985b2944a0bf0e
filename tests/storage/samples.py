"""Events, batches and segments to store."""

from quantlab_collector.contracts.events import Bbo, Funding, StreamType, Trade
from quantlab_collector.contracts.manifest import Account, Loss
from quantlab_collector.contracts.schemas import journal_batch, journal_schema
from quantlab_collector.storage.journal import SegmentHeader, SegmentWriter

T0 = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
HEADER = SegmentHeader("a", 1767280498692, 7, T0, "0.1.0", {"x/trade": "base coin"})
ACCOUNT = Account(drops=(Loss("x", "bbo", "queue_full", 3),))


def bbo(n, symbol="BTCUSDT", at=T0):
    return Bbo(at + n - 5, at + n, "x", symbol, 1.0 + n, None if n % 7 == 0 else 2.0, 3.0 + n, 4.0)


def trade(n, symbol="BTCUSDT", at=T0):
    return Trade(at + n - 5, at + n, "x", symbol, 1.0 + n, 0.5, 1 if n % 2 else -1, str(1000 + n))


def funding(n, symbol="BTCUSDT", at=T0):
    return Funding(at + n - 5, at + n, "x", symbol, 0.0001 * n, at + 3600)


def batch(stream, events):
    return journal_batch(journal_schema("x", stream), events)


def bbo_batch(numbers, symbol="BTCUSDT", at=T0):
    return batch(StreamType.BBO, [bbo(n, symbol, at) for n in numbers])


def write_segment(path, batches, *, header=HEADER, account=ACCOUNT, sealed=False):
    writer = SegmentWriter(path, header, account)
    for some in batches:
        writer.append([some], account)
    if sealed:
        writer.seal(account, T0 + 10**9)
    writer.abandon()
    return path
