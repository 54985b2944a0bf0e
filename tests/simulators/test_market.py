"""Every event is a pure function of seed, symbol, kind and number, and carries its number where a recording keeps it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from quantlab_collector.contracts.events import BUY, SELL, Bbo, Funding, MarkPrice, StreamType, Trade
from quantlab_collector.simulators.binance_messages import BinanceMessages, next_funding_ms
from quantlab_collector.simulators.market import MAX_DELAY_MS, Market

SYMBOLS = ("BTCUSDT", "SOLUSDT", "ADAUSDT", "POLUSDT", "NOBODYKNOWSUSDT")
NUMBERS = [*range(200), 999, 1_000, 10**6 - 1, 10**6, 10**6 + 1, 123_456_789, 10**9]
MS = 1_790_757_176_000
STREAMS = [StreamType.BBO, StreamType.TRADE, StreamType.MARK_PRICE, StreamType.FUNDING]
KINDS = STREAMS[:3]


@pytest.fixture(scope="module")
def messages() -> BinanceMessages:
    return BinanceMessages(Market(1, SYMBOLS))


GOLDEN = {
    (
        StreamType.BBO,
        "BTCUSDT",
        0,
    ): '{"e":"bookTicker","u":11701103237674,"s":"BTCUSDT","ps":"BTCUSDT","b":"83646.50","B":"0.001","a":"83646.60","A":"13.084","T":1790757176000,"E":1790757176002,"st":1}',
    (
        StreamType.BBO,
        "XRPUSDT",
        70_001,
    ): '{"e":"bookTicker","u":11705992749583,"s":"XRPUSDT","ps":"XRPUSDT","b":"2.1497","B":"70.002","a":"2.1498","A":"38.009","T":1790757176000,"E":1790757176002,"st":1}',
    (
        StreamType.TRADE,
        "BTCUSDT",
        0,
    ): '{"e":"aggTrade","E":1790757176001,"a":3103237674,"s":"BTCUSDT","p":"83646.60","q":"1.224","nq":"1.224","f":7503237674,"l":7503237675,"T":1790757176000,"m":true,"st":1}',
    (
        StreamType.TRADE,
        "ADAUSDT",
        1_000_000,
    ): '{"e":"aggTrade","E":1790757176000,"a":3080699730,"s":"ADAUSDT","p":"0.47750","q":"1.023","nq":"1.023","f":7382699730,"l":7382699731,"T":1790757176000,"m":true,"st":1}',
    (
        StreamType.MARK_PRICE,
        "BTCUSDT",
        0,
    ): '{"e":"markPriceUpdate","E":1790757176000,"s":"BTCUSDT","p":"83646.60846096","ap":"83646.68350667","P":"83697.09000410","i":"83663.40846096","r":"0.00010000","T":1790784000000,"st":1}',
    (
        StreamType.MARK_PRICE,
        "SOLUSDT",
        250_001,
    ): '{"e":"markPriceUpdate","E":1790757176000,"s":"SOLUSDT","p":"141.83975897","ap":"141.84211539","P":"141.92624317","i":"141.86670896","r":"-0.00115001","T":1790784000000,"st":1}',
}


@pytest.mark.parametrize(
    ("event", "text"), GOLDEN.items(), ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else ""
)
def test_an_event_says_the_same_for_ever(event, text):
    kind, symbol, number = event
    assert BinanceMessages(Market(7, [symbol])).text(kind, symbol, number, MS) == text


def test_the_other_symbols_do_not_matter(messages):
    alone = BinanceMessages(Market(1, ["SOLUSDT"]))
    assert alone.text(StreamType.BBO, "SOLUSDT", 5, MS) == messages.text(StreamType.BBO, "SOLUSDT", 5, MS)


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_is_another_market(messages, kind):
    other = BinanceMessages(Market(2, SYMBOLS))
    assert all(other.text(kind, "BTCUSDT", n, MS) != messages.text(kind, "BTCUSDT", n, MS) for n in range(50))


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("stream", STREAMS)
def test_the_number_is_told_from_the_columns_alone(messages, stream, symbol):
    assert [messages.number(messages.raw(stream, symbol, n, MS)) for n in NUMBERS] == NUMBERS


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_what_is_expected_is_what_a_plain_reader_finds_in_the_json(messages, symbol):
    for n in NUMBERS:
        quote = json.loads(messages.text(StreamType.BBO, symbol, n, MS))
        assert messages.raw(StreamType.BBO, symbol, n, MS, 5) == Bbo(
            quote["T"] * 10**6,
            5,
            "binance",
            quote["s"],
            float(quote["b"]),
            float(quote["B"]),
            float(quote["a"]),
            float(quote["A"]),
        )
        trade = json.loads(messages.text(StreamType.TRADE, symbol, n, MS))
        assert messages.raw(StreamType.TRADE, symbol, n, MS, 5) == Trade(
            trade["T"] * 10**6,
            5,
            "binance",
            trade["s"],
            float(trade["p"]),
            float(trade["q"]),
            SELL if trade["m"] else BUY,
            str(trade["a"]),
        )
        mark = json.loads(messages.text(StreamType.MARK_PRICE, symbol, n, MS))
        assert messages.raw(StreamType.MARK_PRICE, symbol, n, MS, 5) == MarkPrice(
            mark["E"] * 10**6, 5, "binance", mark["s"], float(mark["p"]), float(mark["i"])
        )
        assert messages.raw(StreamType.FUNDING, symbol, n, MS, 5) == Funding(
            mark["E"] * 10**6, 5, "binance", mark["s"], float(mark["r"]), mark["T"] * 10**6
        )


def test_the_fields_are_those_of_2026(messages):
    fields = [set(json.loads(messages.text(kind, "BTCUSDT", 0, MS))) for kind in KINDS]
    assert fields == [
        {"e", "u", "s", "ps", "b", "B", "a", "A", "T", "E", "st"},
        {"e", "E", "a", "s", "p", "q", "nq", "f", "l", "T", "m", "st"},
        {"e", "E", "s", "p", "ap", "P", "i", "r", "T", "st"},
    ]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_values_are_those_of_a_market(messages, symbol):
    instrument = messages.market[symbol].instrument
    unit = 10**instrument.decimals
    quotes = [json.loads(messages.text(StreamType.BBO, symbol, n, MS)) for n in range(2000)]
    trades = [json.loads(messages.text(StreamType.TRADE, symbol, n, MS)) for n in range(2000)]
    for quote in quotes:
        assert float(quote["b"]) < float(quote["a"])
        assert 0 <= quote["E"] - quote["T"] <= MAX_DELAY_MS
        assert round(float(quote["b"]) * unit) % instrument.tick == 0
        assert abs(float(quote["b"]) * unit / instrument.level - 1) < 0.02
    for trade in trades:
        assert 0 <= trade["E"] - trade["T"] <= MAX_DELAY_MS
        assert 0 < float(trade["nq"]) <= float(trade["q"])
        assert trade["f"] <= trade["l"]
        assert len(trade["p"].split(".")[1]) == instrument.decimals
    assert all(before["u"] < after["u"] for before, after in pairwise(quotes))
    assert all(before["a"] + 1 == after["a"] for before, after in pairwise(trades))
    assert all(before["l"] < after["f"] for before, after in pairwise(trades))
    assert 800 < sum(trade["m"] for trade in trades) < 1200
    assert any(trade["nq"] != trade["q"] for trade in trades)
    assert any(quote["E"] != quote["T"] for quote in quotes)


def test_all_kinds_show_the_same_price(messages):
    values = messages.market["BTCUSDT"]
    for step in range(0, 5000, 100):
        mark = float(values.mark(step).mark_price)
        assert abs(float(values.trade(2 * step).price) / mark - 1) < 0.0001
        assert abs(float(values.quote(7 * step).bid_price) / mark - 1) < 0.0001


def test_the_next_settlement_is_every_eight_hours_and_due_until_it_has_passed():
    boundary = 1_790_755_200_000  # 2026-09-30 08:00:00 UTC
    assert next_funding_ms(boundary - 1) == boundary
    assert next_funding_ms(boundary) == boundary  # recorded: the push of that very millisecond still names it
    assert next_funding_ms(boundary + 1) == boundary + 8 * 3_600_000


def test_there_is_no_open_interest_on_this_exchange(messages):
    with pytest.raises(ValueError, match="open_interest"):
        messages.raw(StreamType.OPEN_INTEREST, "BTCUSDT", 0, MS)
