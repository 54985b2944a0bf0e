"""A request with a bad topic is refused as a whole; in the end every good topic is subscribed and every bad one told once."""

import json
import math
from collections import Counter, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.bybit import LINEAR, SPOT
from quantlab_collector.exchanges.bybit_requests import Narrowed, PendingRequests, subscribe_request
from quantlab_collector.exchanges.protocol import Endpoints, Refused, Subscribed, Wanted

SYMBOLS = tuple(f"S{n}USDT" for n in range(24))
MARKETS = {"linear": LINEAR, "spot": SPOT}
RECORDED = {"orderbook.1": ["bbo"], "publicTrade": ["trade"], "tickers": ["mark_price", "funding", "open_interest"]}


def recorded(market, topic):
    channel, _, symbol = topic.rpartition(".")
    return [str(Topic(market.name, StreamType(stream), symbol)) for stream in RECORDED[channel]]


class Exchange:
    """All or nothing. ``texts`` says how a refusal names its topic; ``echo`` whether an answer carries the id."""

    def __init__(self, bad, *, text, echo, held=(), most=math.inf):
        self.bad, self.text, self.echo, self.most = bad, text, echo, most
        self.subscribed = set(held)
        self.requests = 0

    def answer(self, request):
        message = json.loads(request)
        assert message["op"] == "subscribe"
        assert message["args"]
        self.requests += 1
        problem = None
        if len(message["args"]) > self.most:
            problem = "args size >10"
        for topic in message["args"]:
            if topic in self.subscribed:
                problem = f"error:already subscribed,topic:{topic}"
            elif topic in self.bad:
                problem = self.text.format(topic)
            if problem is not None:
                break
        else:
            self.subscribed.update(message["args"])
        reply = {"success": problem is None, "ret_msg": problem or "", "conn_id": "x", "op": "subscribe"}
        return json.dumps(reply | ({"req_id": message["req_id"]} if self.echo else {"req_id": ""})).encode()


def converse(market, plan, exchange, lags):
    """Send what is to be sent, in order; answers come in order too, some of them late. Everything that was told comes back."""
    talk = market.session(plan)
    to_send, answers, outcomes = deque(plan.requests), deque(), []
    while to_send or answers:
        if to_send and (not answers or next(lags)):
            answers.append(exchange.answer(to_send.popleft()))
        else:
            harvest = talk.decode([answers.popleft()], 1)
            assert (harvest.events, harvest.rejects) == ([], [])
            to_send += harvest.replies
            outcomes += harvest.outcomes
    return outcomes


def forever(values):
    while True:
        yield from values


NAMED = ("error:handler not found,topic:{}", "Invalid symbol :[{}]", 'no "{}" here')


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    market=st.sampled_from([LINEAR, SPOT]),
    bad=st.sets(st.tuples(st.sampled_from(SYMBOLS), st.sampled_from(["orderbook.1", "publicTrade", "tickers"])), max_size=20),
    text=st.sampled_from([*NAMED, "something is wrong", ""]),
    echo=st.booleans(),
    lags=st.lists(st.booleans(), min_size=1, max_size=8),
)
def test_exactly_the_good_topics_are_subscribed(market, bad, text, echo, lags):
    (plan,) = market.plan(Wanted(SYMBOLS, tuple(StreamType), Endpoints("", "")))
    asked = {arg for request in plan.requests for arg in json.loads(request)["args"]}
    bad = {f"{channel}.{symbol}" for symbol, channel in bad} & asked
    exchange = Exchange(bad, text=text, echo=echo, most=10 if market is SPOT else math.inf)
    outcomes = converse(market, plan, exchange, forever([*lags, True, False]))
    assert exchange.subscribed == asked - bad
    refused = Counter(outcome.topic for outcome in outcomes if isinstance(outcome, Refused))
    assert refused == Counter(topic for name in bad for topic in recorded(market, name))
    taken = Counter(topic for outcome in outcomes if isinstance(outcome, Subscribed) for topic in outcome.topics)
    assert taken == Counter(topic for name in asked - bad for topic in recorded(market, name))
    # One request more for each bad topic that is named, and where none is, those of a search by halves.
    each = 1 if text in NAMED else 2 * math.ceil(math.log2(50))
    assert exchange.requests <= len(plan.requests) + each * len(bad)


@pytest.mark.parametrize("echo", [True, False])
@pytest.mark.parametrize("market", [LINEAR, SPOT])
def test_what_is_subscribed_already_is_no_loss_but_the_rest_has_to_be_asked_for_again(market, echo):
    (plan,) = market.plan(Wanted(SYMBOLS, tuple(StreamType), Endpoints("", "")))
    asked = {arg for request in plan.requests for arg in json.loads(request)["args"]}
    exchange = Exchange(set(), text="", echo=echo, held=sorted(asked)[::7])
    outcomes = converse(market, plan, exchange, forever([True]))
    assert exchange.subscribed == asked
    assert not [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    taken = Counter(topic for outcome in outcomes for topic in outcome.topics)
    assert taken == Counter(topic for name in asked for topic in recorded(market, name))


def test_too_many_topics_in_a_request_are_halved():
    topics = [f"orderbook.1.{symbol}" for symbol in SYMBOLS]
    pending = PendingRequests([subscribe_request("1", topics)])
    exchange = Exchange(set(), text="", echo=True, most=10)
    to_send = [subscribe_request("1", topics)]
    while to_send:
        answer = json.loads(exchange.answer(to_send.pop(0)))
        if not answer["success"]:
            to_send += pending.refuse(answer["req_id"], answer["ret_msg"]).requests
    assert exchange.subscribed == set(topics)


def test_a_batch_that_lost_one_topic_of_a_symbol_keeps_the_others():
    (plan,) = LINEAR.plan(Wanted(("BTCUSDT", "MATICUSDT"), tuple(StreamType), Endpoints("", "")))
    exchange = Exchange({"tickers.MATICUSDT"}, text=NAMED[0], echo=False)
    outcomes = converse(LINEAR, plan, exchange, forever([True]))
    text = "error:handler not found,topic:tickers.MATICUSDT"
    assert [outcome for outcome in outcomes if isinstance(outcome, Refused)] == [
        Refused(f"bybit/{stream}/MATICUSDT", None, text) for stream in ("mark_price", "funding", "open_interest")
    ]


# ------------------------------------------------------------------------------------------ answers without a name


def pending(*requests):
    return PendingRequests([subscribe_request(str(n), topics) for n, topics in enumerate(requests, start=1)])


def test_a_nameless_refusal_belongs_to_the_request_with_the_topic_that_it_names():
    requests = pending(["a.A"], ["a.B", "a.C"], ["a.D"])
    assert requests.refuse("", "error:handler not found,topic:a.C") == Narrowed(
        lost=("a.C",), requests=(subscribe_request("4", ["a.B"]),)
    )
    assert [requests.acknowledge("") for _ in range(4)] == [("a.A",), ("a.D",), ("a.B",), ()]


def test_one_that_names_nothing_belongs_to_the_oldest():
    requests = pending(["a.A"], ["a.B", "a.C"])
    assert requests.acknowledge("") == ("a.A",)
    assert requests.refuse("", "no") == Narrowed(requests=(subscribe_request("3", ["a.B"]), subscribe_request("4", ["a.C"])))
    assert requests.refuse("", "no") == Narrowed(lost=("a.B",))


def test_a_refusal_that_overtook_shows_that_an_earlier_acknowledgement_was_for_another_request():
    requests = pending(["a.A", "a.X"], ["a.B"])
    assert requests.acknowledge("") == ("a.A", "a.X")  # in truth it was for the second
    assert requests.refuse("", "error:handler not found,topic:a.X") == Narrowed(
        lost=("a.X",), requests=(subscribe_request("3", ["a.A"]),)
    )
    assert requests.acknowledge("") == ("a.A",)


def test_a_topic_is_a_whole_word():
    requests = pending(["tickers.BTCUSDT", "tickers.BTC"])
    assert requests.refuse("1", "error:handler not found,topic:tickers.BTC").lost == ("tickers.BTC",)


@pytest.mark.parametrize("answer", [("7", "no"), ("", "")])
def test_a_refusal_of_nothing_of_ours_changes_nothing(answer):
    assert pending().refuse(*answer) == Narrowed()
