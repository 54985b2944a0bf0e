"""The ring of recent trades: what it keeps, and what it forgets."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from quantlab_collector.contracts.events import BUY, Trade
from quantlab_collector.runtime.recent_trades import IN_TOTAL, PER_SYMBOL, SPAN_NS, SYMBOLS, RecentTrades

NOW = 10 * SPAN_NS


def trade(number: int, symbol: str = "BTCUSDT", exchange: str = "okx", ts_recv: int | None = None) -> Trade:
    return Trade(1, NOW + number if ts_recv is None else ts_recv, exchange, symbol, 1.0, 2.0, BUY, str(number))


def ids(trades: list[Trade]) -> list[int]:
    return [int(trade.trade_id) for trade in trades]


def kept(recent: RecentTrades) -> list[Trade]:
    return recent.newest(NOW, 10**9)


def test_the_newest_of_a_symbol_stay() -> None:
    recent = RecentTrades()
    for start in range(0, 3000, 3):
        recent.add([trade(start), trade(start + 1), trade(start + 2)])

    assert ids(recent.newest(NOW, 10**9, symbol="BTCUSDT")) == list(range(2999, 2999 - PER_SYMBOL, -1))


def test_a_busy_symbol_leaves_the_others_alone() -> None:
    recent = RecentTrades()
    recent.add([trade(0, "POLUSDT")])
    recent.add([trade(number) for number in range(1, 50_000)])

    assert ids(recent.newest(NOW, 10, symbol="POLUSDT")) == [0]


def test_many_symbols_share_the_room() -> None:
    recent = RecentTrades()
    for number in range(100):
        recent.add([trade(n, f"S{number}") for n in range(2 * PER_SYMBOL)])

    assert len(kept(recent)) == IN_TOTAL
    assert ids(recent.newest(NOW, 10**9, symbol="S0")) == list(range(1999, 1899, -1))


def test_no_number_of_symbols_is_too_many() -> None:
    recent = RecentTrades()
    for number in range(3 * SYMBOLS):
        recent.add([trade(number, f"S{number}")])

    assert len(kept(recent)) == SYMBOLS


def test_all_symbols_together_are_bounded() -> None:
    recent = RecentTrades()
    for number in range(3 * IN_TOTAL):
        recent.add([trade(number, f"S{number % 50}")])

    assert len(kept(recent)) == IN_TOTAL
    assert min(ids(kept(recent))) >= 2 * IN_TOTAL


def test_an_hour_is_the_end() -> None:
    recent = RecentTrades()
    recent.add([trade(1, ts_recv=NOW - SPAN_NS - 1), trade(2, ts_recv=NOW - SPAN_NS), trade(3, ts_recv=NOW)])

    assert ids(recent.newest(NOW, 10)) == [3, 2]


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(["okx", "bybit"])), max_size=5), max_size=30),
    st.integers(1, 20),
    st.sampled_from([None, "A", "B"]),
    st.sampled_from([None, "okx"]),
)
def test_it_gives_what_a_list_would(bursts, limit, symbol, exchange) -> None:
    recent, all_trades = RecentTrades(), []
    for burst in bursts:
        trades = [trade(len(all_trades) + n, *names) for n, names in enumerate(burst)]
        all_trades += trades
        recent.add(trades)

    wanted = [t for t in reversed(all_trades) if symbol in (None, t.symbol) and exchange in (None, t.exchange)]
    assert recent.newest(NOW, limit, symbol=symbol, exchange=exchange) == wanted[:limit]
