"""Binance numbers its trades without holes: what is left out, and what comes again, is seen. Everything is recorded as it comes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.binance import SPOT, USDM
from quantlab_collector.exchanges.protocol import ConnectionPlan, Hole, Repeat

TRADE = StreamType.TRADE
AGGREGATE = {"e": "aggTrade", "T": 1, "p": "1", "q": "1", "m": True}
SPOT_TRADE = {"e": "trade", "T": 1, "p": "1", "q": "1", "m": True}


def session(exchange, symbols=("BTCUSDT", "ETHUSDT")):
    return exchange.session(ConnectionPlan(exchange.name, "x", "", tuple(Topic(exchange.name, TRADE, s) for s in symbols), ()))


def frame(number, symbol="BTCUSDT", exchange=USDM, **changes):
    shape, key = (AGGREGATE, "a") if exchange is USDM else (SPOT_TRADE, "t")
    return json.dumps({"stream": "s", "data": {**shape, key: number, "s": symbol, **changes}}).encode()


@pytest.mark.parametrize("exchange", [USDM, SPOT], ids=lambda exchange: exchange.name)
def test_seven_are_missed(exchange):
    talk = session(exchange)
    talk.decode([frame(100, exchange=exchange)], 5)
    harvest = talk.decode([frame(101, exchange=exchange)], 6)
    assert harvest.outcomes == []
    harvest = talk.decode([frame(109, exchange=exchange), frame(110, exchange=exchange)], 9)

    assert harvest.outcomes == [Hole(TRADE, "BTCUSDT", 6, 9, 7)]
    assert [trade.trade_id for trade in harvest.trade] == ["109", "110"]


def test_symbols_are_numbered_each_for_itself():
    talk = session(USDM)
    harvest = talk.decode([frame(1), frame(500, "ETHUSDT"), frame(2), frame(501, "ETHUSDT")], 1)

    assert harvest.outcomes == []


def test_what_comes_again_is_counted_and_moves_nothing():
    talk = session(USDM)
    harvest = talk.decode([frame(n) for n in (10, 11, 10, 11, 12, 12, 13)], 1)

    assert harvest.outcomes == [Repeat(TRADE, "BTCUSDT", n) for n in (10, 11, 12)]
    assert len(harvest.trade) == 7


def test_what_came_and_could_not_be_recorded_is_not_missed():
    talk = session(USDM)
    harvest = talk.decode([frame(1), frame(2, p="NaN"), frame(3)], 1)

    assert (len(harvest.rejects), harvest.outcomes) == (1, [])


def test_an_odd_frame_counts_like_any_other():
    talk = session(USDM)
    harvest = talk.decode([frame(1), json.dumps({**AGGREGATE, "a": 2, "s": "BTCUSDT"}).encode(), frame(4)], 1)

    assert harvest.outcomes == [Hole(TRADE, "BTCUSDT", 1, 1, 1)]


def test_the_next_session_goes_on_where_this_one_was():
    before = session(USDM)
    before.decode([frame(100)], 5)
    after = session(USDM)
    after.next_numbers.update(before.next_numbers)
    harvest = after.decode([frame(108)], 9)

    assert harvest.outcomes == [Hole(TRADE, "BTCUSDT", None, 9, 7)]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=80))
def test_holes_and_repeats_are_what_a_slow_reader_finds(numbers):
    talk = session(USDM)
    harvest = talk.decode([frame(n) for n in numbers], 1)
    missed = sum(outcome.missed for outcome in harvest.outcomes if isinstance(outcome, Hole))
    repeated = sum(isinstance(outcome, Repeat) for outcome in harvest.outcomes)

    highest = [max(numbers[: place + 1]) for place in range(len(numbers))]
    assert repeated == sum(n <= top for n, top in zip(numbers[1:], highest, strict=False))
    assert missed == highest[-1] - numbers[0] + 1 - len(set(highest))
