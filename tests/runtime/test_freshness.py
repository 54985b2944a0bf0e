"""When a topic is silent, and when it is mute: one case for each rule."""

from __future__ import annotations

import random

import pytest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import Mute, Silence
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.freshness import NEVER, NOTHING_AT_ALL, STOPPED
from quantlab_collector.runtime.silence_options import SilenceOptions
from runtime.listening import Line, Listener, at, topics

BBO, TRADE, MARK, FUNDING, OI = StreamType
SYMBOLS = tuple(f"S{number}USDT" for number in range(500))


def play(listener: Listener, line: Line, seconds: range, *delivering: Topic) -> None:
    """These deliver every second."""
    for second in seconds:
        line.bring(second - 0.5, *delivering)
        listener.look(second)


def test_one_of_five_hundred_is_told_within_a_minute_and_no_other() -> None:
    quotes = topics("bybit", BBO, *SYMBOLS)
    line = Line("bybit", quotes)
    listener = Listener(line)
    line.open(0)
    play(listener, line, range(1, 901), *quotes)
    play(listener, line, range(901, 1_501), *quotes[:7], *quotes[8:])

    assert listener.mutes == [(930, "bbo", "S7USDT")]
    assert listener.found[0][1].muted == [Mute("bybit", "public-0", "bbo", "S7USDT", at(899.5), None, STOPPED)]


def test_one_that_never_delivers_is_told_within_a_minute_and_no_other() -> None:
    quotes = topics("okx", BBO, *SYMBOLS)
    line = Line("okx", quotes)
    listener = Listener(line)
    line.open(0)
    play(listener, line, range(1, 601), *quotes[1:])

    assert listener.mutes == [(45, "bbo", "S0USDT")]
    assert listener.found[0][1].muted == [Mute("okx", "public-0", "bbo", "S0USDT", at(0), None, NEVER)]


def test_a_mute_ends_with_the_first_data_and_is_told_with_its_times() -> None:
    quotes = topics("okx", BBO, "AUSDT", "BUSDT")
    line = Line("okx", quotes)
    listener = Listener(line)
    line.open(0)
    play(listener, line, range(1, 101), quotes[0])
    play(listener, line, range(101, 102), *quotes)

    assert listener.found[-1][0] == 101
    assert listener.found[-1][1].unmuted == [Mute("okx", "public-0", "bbo", "BUSDT", at(0), at(100.5), NEVER)]


def test_a_stopped_topic_that_comes_back_may_stop_again() -> None:
    quotes = topics("okx", BBO, "AUSDT", "BUSDT")
    line = Line("okx", quotes)
    listener = Listener(line)
    line.open(0)
    for first in (1, 2_001, 4_001):
        play(listener, line, range(first, first + 1_000), *quotes)
        play(listener, line, range(first + 1_000, first + 2_000), quotes[0])

    assert [round(now - start) for (now, _, _), start in zip(listener.mutes, (1_000, 3_000, 5_000), strict=True)] == [30, 30, 30]


def test_what_is_refused_or_not_listed_is_no_mute() -> None:
    quotes = topics("okx", BBO, "AUSDT", "BUSDT", "CUSDT")
    line = Line("okx", quotes)
    listener = Listener(line)
    line.open(0)
    line.state.refused[str(quotes[1])] = "doesn't exist"
    play(listener, line, range(1, 100), quotes[0])
    line.state.refused[str(quotes[2])] = "not listed"
    listener.look(100)

    assert listener.mutes == [(45, "bbo", "CUSDT")]
    assert [mute.to for mute in listener.found[-1][1].unmuted] == [at(100)]  # now it is known why


def test_a_connection_that_brings_nothing_is_one_mute_and_not_five_hundred() -> None:
    line = Line("okx", topics("okx", BBO, *SYMBOLS))
    listener = Listener(line)
    for second in range(91):
        if second % 30 == 0:
            line.open(second)  # the idle timeout has struck
        listener.look(second)
    assert [changes.muted for _, changes in listener.found] == [
        [Mute("okx", "public-0", None, None, at(0), None, NOTHING_AT_ALL)]
    ]

    play(listener, line, range(91, 92), *line.state.topics)
    assert listener.found[-1][1].unmuted == [Mute("okx", "public-0", None, None, at(0), at(90.5), NOTHING_AT_ALL)]
    assert len(listener.found) == 2


def test_the_time_in_which_a_connection_is_silent_counts_for_none_of_its_topics() -> None:
    marks = topics("binance", MARK, *SYMBOLS[:50])
    line = Line("binance", marks)
    listener = Listener(line)
    line.open(0)
    play(listener, line, range(1, 1_001), *marks)
    play(listener, line, range(1_001, 1_030))
    play(listener, line, range(1_030, 1_100), *marks)

    assert listener.found == []


def test_after_a_reconnect_nobody_is_late_before_his_time() -> None:
    quotes = topics("binance", BBO, "AUSDT", "BUSDT")
    line = Line("binance", quotes)
    listener = Listener(line)
    line.open(0)
    play(listener, line, range(1, 1_001), *quotes)
    line.open(1_200)
    play(listener, line, range(1_201, 1_300), quotes[0])

    assert listener.mutes == [(1_230, "bbo", "BUSDT")]
    assert listener.found[0][1].muted[0].since == at(1_200)  # before that it was the connection's gap


def test_a_symbol_that_was_quiet_before_may_be_so_after_a_reconnect() -> None:
    quotes = topics("binance", BBO, "AUSDT", "BUSDT")
    line = Line("binance", quotes)
    listener = Listener(line)
    line.open(0)
    for start in range(0, 1_000, 20):
        play(listener, line, range(start + 1, start + 2), *quotes)
        play(listener, line, range(start + 2, start + 21), quotes[0])
    line.open(1_000)
    play(listener, line, range(1_001, 1_001 + 119), quotes[0])
    assert listener.found == []

    play(listener, line, range(1_120, 1_200), quotes[0])
    assert [symbol for _, _, symbol in listener.mutes] == ["BUSDT"]


@pytest.mark.parametrize(
    ("exchange", "stream", "after"),
    [("binance", MARK, 10), ("binance", FUNDING, 10), ("okx", MARK, 30), ("okx", FUNDING, 270), ("bybit", MARK, 180)],
)
def test_a_silence_begins_after_three_intervals_of_its_exchange(exchange: str, stream: StreamType, after: int) -> None:
    watched, sibling = topics(exchange, stream, "AUSDT", "BUSDT")
    line = Line(exchange, [watched, sibling])
    listener = Listener(line)
    line.open(0)
    play(listener, line, range(1, 11), watched, sibling)
    play(listener, line, range(11, 411), sibling)
    play(listener, line, range(411, 412), watched, sibling)

    assert listener.silences == [(10 + after, stream.value, "AUSDT")]
    expected = line.state.rhythms[stream].every
    (ended,) = [silence for _, changes in listener.found for silence in changes.unsilent]
    assert ended == Silence(exchange, "public-0", stream.value, "AUSDT", at(9.5), at(410.5), expected)


@pytest.mark.parametrize(
    ("exchange", "stream"), [("bybit", OI), ("okx", OI), ("bybit", FUNDING), ("okx", BBO), ("binance", TRADE)]
)
def test_what_comes_only_with_a_change_is_never_silent(exchange: str, stream: StreamType) -> None:
    watched, sibling = topics(exchange, stream, "AUSDT", "BUSDT")
    line = Line(exchange, [watched, sibling])
    listener = Listener(line)
    line.open(0)
    play(listener, line, range(1, 11), watched, sibling)
    play(listener, line, range(11, 4_000), sibling)

    assert listener.found == []


def test_no_trade_proves_nothing_until_the_exchange_says_that_there_were_some() -> None:
    quiet, cut_off, busy = topics("binance", TRADE, "AUSDT", "BUSDT", "CUSDT")
    line = Line("binance", [quiet, cut_off, busy])
    listener = Listener(line)
    line.open(0)
    listener.newest = {quiet: at(30), cut_off: at(700)}  # the first may be a matter of two clocks
    play(listener, line, range(1, 2_000), busy)

    assert listener.mutes == [(900, "trade", "BUSDT")]


def test_a_symbol_that_trades_once_an_hour_never_alarms() -> None:
    chance = random.Random(4)
    rare, busy = topics("bybit", TRADE, "AUSDT", "BUSDT")
    line = Line("bybit", [rare, busy])
    listener = Listener(line, options=SilenceOptions(history=60.0))
    line.open(0)
    for second in range(1, 400_000):
        line.bring(second - 0.5, *((rare, busy) if chance.random() < 1 / 3_600 else (busy,)))
        listener.look(second)

    assert listener.found == []


def test_settings_are_taken() -> None:
    options = SilenceOptions(factor=5, shortest=2.0, first_message=3.0, shortest_mute=4.0, history=20.0)
    mark, quote, never, sibling = [*topics("binance", MARK, "AUSDT"), *topics("binance", BBO, "AUSDT", "BUSDT", "CUSDT")]
    line = Line("binance", [mark, quote, never, sibling])
    listener = Listener(line, options=options)
    line.open(0)
    play(listener, line, range(1, 101), mark, quote, sibling)
    play(listener, line, range(101, 201), sibling)

    assert listener.silences == [(105, "mark_price", "AUSDT")]
    assert sorted(listener.mutes) == [(3, "bbo", "BUSDT"), (108, "bbo", "AUSDT"), (108, "mark_price", "AUSDT")]
