"""The bytes that are sent: all messages, to whom they belong, and trades that go on counting."""

import json
import re
from collections import Counter, defaultdict

import mix
import pytest
from lines import Plain
from steps import Turns, in_bunches, in_rows

SYMBOLS = mix.symbol_names(3)
POOL = mix.pool("binance", SYMBOLS, 200)


class Client:
    def __init__(self):
        self.line = Plain()


@pytest.fixture
def owner():
    """Trades and mark prices go to one client, the rest to another."""
    quotes, others = Client(), Client()
    return {message.topic: quotes if "bookTicker" in message.topic else others for message in POOL}


def frames(data):
    """The payloads of frames that stand one behind the other."""
    while data:
        size, start = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4], "big"), 4)
        yield json.loads(data[start : start + size])
        data = data[start + size :]


def sent(turns):
    told = defaultdict(list)
    for turn, step in turns:
        for client, data in step.sealed(turn):
            told[client] += frames(data)
    return told


@pytest.mark.parametrize(("cut", "size"), [(in_rows, 20), (in_rows, 200), (in_bunches, 7)])
def test_what_is_said_to_be_sent_is_sent_to_whom_it_belongs(owner, cut, size):
    turns = Turns(cut(POOL, owner, size), 1000)
    told = sent(turns)
    assert 1000 - size < turns.messages <= 1000
    assert sum(map(len, told.values())) == turns.messages
    streams = Counter(message["stream"].partition("@")[2] for messages in told.values() for message in messages)
    assert streams.total() + streams["markPrice@1s"] == turns.events
    assert all(owner[message["stream"]] is client for client, messages in told.items() for message in messages)


@pytest.mark.parametrize(("cut", "size"), [(in_rows, 20), (in_bunches, 4), (in_bunches, 7)])
def test_a_pool_that_begins_anew_repeats_no_trade_and_leaves_none_out(owner, cut, size):
    told = sent(Turns(cut(POOL, owner, size), 1000))
    numbers = defaultdict(list)
    for message in (message for messages in told.values() for message in messages):
        if "a" in message["data"] and message["data"]["e"] == "aggTrade":
            numbers[message["stream"]].append(message["data"]["a"])
    assert set(numbers) == {f"{symbol.lower()}@aggTrade" for symbol in SYMBOLS}
    for own in numbers.values():
        assert len(own) == len(set(own))
        assert own == list(range(own[0], own[0] + len(own)))


def test_a_number_that_grows_longer_is_not_cut_short(owner):
    (step, *_) = in_rows(POOL, owner, 200)
    with pytest.raises(OverflowError):
        step.sealed(10**12)


def test_a_bunch_is_for_one_client_alone(owner):
    assert {len(step.parts) for step in in_bunches(POOL, owner, 7)} == {1}


def test_frames_are_whole():
    assert all(re.fullmatch(rb'\x81.{1,3}?\{"stream":.*\}\}', message.frame, re.DOTALL) for message in POOL)
