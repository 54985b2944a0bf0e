"""What is played is what it is said to be; told by the collector's own decoders."""

from collections import Counter
from itertools import pairwise

import dialects
import mix
import plans
import pytest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.protocol import ConnectionPlan
from quantlab_collector.exchanges.registry import EXCHANGES

SYMBOLS = mix.symbol_names(4)
MIXES = {  # of a hundred messages
    "binance": {"bbo": 70, "trade": 20, "mark_price": 10, "funding": 10},
    "bybit": {"bbo": 70, "trade": 20, "mark_price": 8, "funding": 1, "open_interest": 1},
    "okx": {"bbo": 70, "trade": 20, "mark_price": 8, "funding": 1, "open_interest": 1},
}


def payload(message):
    """A frame without its header, which has two bytes or four."""
    return message.frame[2:] if message.frame[1] < 126 else message.frame[4:]


def session(exchange):
    of = EXCHANGES[exchange]
    topics = tuple(Topic(exchange, stream, symbol) for stream in of.streams for symbol in SYMBOLS)
    return of.session(ConnectionPlan(exchange, "all", "", topics, ()))


@pytest.mark.parametrize("exchange", mix.EXCHANGES)
def test_each_message_owes_what_the_collector_makes_of_it(exchange):
    conversation, streams = session(exchange), Counter()
    for message in mix.prelude(exchange, SYMBOLS):
        assert len(conversation.decode([payload(message)], 1).events) == message.events
    for message in mix.pool(exchange, SYMBOLS, 500):
        harvest = conversation.decode([payload(message)], 1)
        assert (len(harvest.events), harvest.rejects, harvest.outcomes) == (message.events, [], []), message
        streams.update(burst.stream.value for burst in harvest.bursts(exchange) for _ in burst.events)
    assert streams == {stream: 5 * share for stream, share in MIXES[exchange].items()}


@pytest.mark.parametrize("exchange", mix.EXCHANGES)
def test_whatever_is_played_is_asked_for_by_the_collector_s_plan(exchange):
    requests = [request for plan in plans.connections(exchange, SYMBOLS, "ws://127.0.0.1:1") for request in plan.requests]
    answers = [dialects.answer(request) for request in requests]
    asked = [topic for topics, _ in answers for topic in topics]
    assert {message.topic for message in mix.pool(exchange, SYMBOLS, 3000)} == set(asked)
    assert len(asked) == len(set(asked))
    conversation = session(exchange)
    for _, acks in answers:
        assert acks
        assert not conversation.decode(acks, 1).rejects


def test_topics_in_an_address_are_those_of_requests():
    assert dialects.asked_by_address("/market/stream?streams=btcusdt@aggTrade/btcusdt@markPrice") == [
        "btcusdt@aggTrade",
        "btcusdt@markPrice@1s",
    ]
    assert dialects.asked_by_address("/market/stream") == []


def test_heartbeats_are_not_subscriptions():
    assert dialects.answer(b"ping") == dialects.answer(b'{"op":"ping"}') == ([], [])


def test_trades_of_a_symbol_are_numbered_without_holes():
    numbers = {}
    for message in mix.pool("binance", SYMBOLS, 1000):
        if message.number is not None:
            numbers.setdefault(message.topic, []).append(message.number)
    assert len(numbers) == len(SYMBOLS)
    assert all(after == before + 1 for own in numbers.values() for before, after in pairwise(own))
    assert sum(map(len, numbers.values())) == 200


def test_other_is_a_tenth():
    assert mix.TEN.count(None) == 1
    assert [kind for kind, _ in zip(mix.kinds("okx"), range(100), strict=False)].count(StreamType.FUNDING) == 1
