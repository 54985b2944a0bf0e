"""What Bybit sends, and what becomes of it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_collector.contracts.events import Bbo, Funding, MarkPrice, OpenInterest, StreamType, Trade
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.bybit import LINEAR, SPOT
from quantlab_collector.exchanges.protocol import BinaryMessage, Endpoints, Pong, Refused, Subscribed, Unknown, Wanted

RECV = 1_800_000_000_000_000_001
ENDPOINTS = Endpoints("wss://example.test", "https://example.test")

BOOK = {
    "topic": "orderbook.1.BTCUSDT", "ts": 1786659828109, "type": "snapshot",
    "data": {"s": "BTCUSDT", "b": [["63561.5", "1.776"]], "a": [["63561.6", "4.848"]], "u": 31398762, "seq": 764144453970},
    "cts": 1786659828107,
}  # fmt: skip
FILL = {
    "T": 1791365008334, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "83766.30", "L": "PlusTick",
    "i": "68bc1c35-dcc0-58e8-a4c5-f59a6b790814", "BT": False, "RPI": False, "seq": 821670598155,
}  # fmt: skip
TRADE = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1791365008335, "data": [FILL]}
PRICES = {"markPrice": "63560.80", "indexPrice": "63585.51"}
FUND = {"fundingRate": "0.00005013", "nextFundingTime": "1786665600000"}
FIELDS = {
    "symbol": "BTCUSDT", "tickDirection": "ZeroPlusTick", "lastPrice": "63561.60", **PRICES, "openInterest": "59972.256",
    "openInterestValue": "3811884569.16", "singleOpenInterest": "29986.128", "fundingIntervalHour": "8", **FUND,
    "bid1Price": "63561.50", "bid1Size": "1.760", "preOpenPrice": "", "preQty": "", "curPreListingPhase": "",
}  # fmt: skip


def ticker(kind, fields, ts=1786659827683):
    return {"topic": "tickers.BTCUSDT", "type": kind, "data": fields, "cs": 764144442982, "ts": ts}


SNAPSHOT = ticker("snapshot", FIELDS)

EXPECTED_BOOK = Bbo(1786659828107000000, RECV, "bybit", "BTCUSDT", 63561.5, 1.776, 63561.6, 4.848)
EXPECTED_TRADE = Trade(1791365008334000000, RECV, "bybit", "BTCUSDT", 83766.3, 0.001, 1, "68bc1c35-dcc0-58e8-a4c5-f59a6b790814")
TS = 1786659827683000000
EXPECTED_MARK = MarkPrice(TS, RECV, "bybit", "BTCUSDT", 63560.8, 63585.51)
EXPECTED_FUNDING = Funding(TS, RECV, "bybit", "BTCUSDT", 0.00005013, 1786665600000000000)
EXPECTED_INTEREST = OpenInterest(TS, RECV, "bybit", "BTCUSDT", 59972.256)


def wanted(symbols=("BTCUSDT", "ETHUSDT"), streams=tuple(StreamType), symbol_map=None):
    return Wanted(tuple(symbols), tuple(streams), ENDPOINTS, symbol_map or {})


def session(market=LINEAR, **kwargs):
    (plan,) = market.plan(wanted(**kwargs))
    return market.session(plan)


def wire(message):
    return json.dumps(message, separators=(",", ":")).encode()


def slow(message):
    """The same message in a form that only the patient way reads: the topic does not come first."""
    return wire({"new": 0, **message})


def without(message, *keys):
    return {key: value for key, value in message.items() if key not in keys}


def book(**changes):
    return {**BOOK, "data": {**BOOK["data"], **changes}}


def trade(**changes):
    return {**TRADE, "data": [{**FILL, **changes}]}


# -------------------------------------------------------------------------------------------------------------- plan


def test_each_market_has_its_own_path_and_its_own_topics():
    (linear,) = LINEAR.plan(wanted())
    assert (linear.exchange, linear.name, linear.url) == ("bybit", "linear-0", "wss://example.test/v5/public/linear")
    assert [json.loads(r) for r in linear.requests] == [
        {
            "req_id": "1",
            "op": "subscribe",
            "args": [f"{channel}.{s}" for s in ("BTCUSDT", "ETHUSDT") for channel in ("orderbook.1", "publicTrade", "tickers")],
        }
    ]
    assert set(linear.topics) == {Topic("bybit", stream, s) for stream in StreamType for s in ("BTCUSDT", "ETHUSDT")}
    (spot,) = SPOT.plan(wanted())
    assert (spot.exchange, spot.name, spot.url) == ("bybit-spot", "spot-0", "wss://example.test/v5/public/spot")
    assert json.loads(spot.requests[0])["args"] == [
        f"{channel}.{s}" for s in ("BTCUSDT", "ETHUSDT") for channel in ("orderbook.1", "publicTrade")
    ]
    assert {topic.stream for topic in spot.topics} == {StreamType.BBO, StreamType.TRADE}


def test_only_what_is_wanted_is_asked_for():
    (plan,) = LINEAR.plan(wanted(symbols=["BTCUSDT"], streams=[StreamType.FUNDING]))
    assert json.loads(plan.requests[0])["args"] == ["tickers.BTCUSDT"]
    assert plan.topics == (Topic("bybit", StreamType.FUNDING, "BTCUSDT"),)
    assert SPOT.plan(wanted(streams=[StreamType.FUNDING])) == ()


@pytest.mark.parametrize(("market", "topics", "most"), [(LINEAR, 3000, 50), (SPOT, 2000, 10)])
def test_a_thousand_symbols_are_spread(market, topics, most):
    plans = market.plan(wanted(symbols=[f"SYMBOL{n}USDT" for n in range(1000)]))
    asked = [arg for plan in plans for request in plan.requests for arg in json.loads(request)["args"]]
    assert len(asked) == len(set(asked)) == topics
    assert len({plan.name for plan in plans}) == len(plans)
    for plan in plans:
        requests = [json.loads(request) for request in plan.requests]
        assert sum(len(arg) + 3 for request in requests for arg in request["args"]) <= 20_000
        assert all(len(request["args"]) <= most for request in requests)
        assert [request["req_id"] for request in requests] == [str(n) for n in range(1, len(requests) + 1)]
    # No connection is left half empty but the last.
    assert all(sum(len(r) for r in plan.requests) > 19_000 for plan in plans[:-1])


def test_a_mapped_symbol_is_asked_for_by_its_own_name_and_recorded_under_ours():
    names = {"PEPEUSDT": "1000PEPEUSDT"}
    (plan,) = LINEAR.plan(wanted(symbols=["PEPEUSDT"], symbol_map=names))
    assert json.loads(plan.requests[0])["args"][0] == "orderbook.1.1000PEPEUSDT"
    talk = session(symbols=["PEPEUSDT"], symbol_map=names)
    (event,) = talk.decode([wire({**BOOK, "topic": "orderbook.1.1000PEPEUSDT"})], RECV).events
    assert event.symbol == "PEPEUSDT"


def test_quantities_have_units():
    assert LINEAR.units[StreamType.OPEN_INTEREST] == "base coin, sum of both sides"
    assert set(SPOT.units) == {StreamType.BBO, StreamType.TRADE}
    assert json.loads(LINEAR.heartbeat.message) == {"op": "ping"}


# ------------------------------------------------------------------------------------------------------------ events


def bbo(bid=(63561.5, 1.776), ask=(63561.6, 4.848), ts=1786659828107000000):
    return Bbo(ts, RECV, "bybit", "BTCUSDT", *bid, *ask)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (BOOK, [EXPECTED_BOOK]),
        (without(BOOK, "cts"), [bbo(ts=1786659828109000000)]),
        ({**BOOK, "cts": ""}, [bbo(ts=1786659828109000000)]),
        ({**BOOK, "cts": 0}, [bbo(ts=0)]),  # a wrong time is recorded as sent
        ({**BOOK, "cts": -5}, [bbo(ts=-5_000_000)]),
        ({**BOOK, "new": {"nested": [1, 2]}}, [EXPECTED_BOOK]),
        (book(b=[[63561.5, 1.776]]), [EXPECTED_BOOK]),
        (book(b=[["63561.5", "1.776"], ["63561", "9"]]), [EXPECTED_BOOK]),
        (book(b=[["63561.5", "1.776", "0"]]), [EXPECTED_BOOK]),
        # An empty side is null, not zero; zero and negative numbers are recorded as sent.
        (book(b=[]), [bbo(bid=(None, None))]),
        (book(a=[]), [bbo(ask=(None, None))]),
        (book(a=None, b=[]), [bbo((None, None), (None, None))]),
        (book(b=[["0", "-1"]]), [bbo(bid=(0.0, -1.0))]),
        # A delta that says both sides needs nothing before it.
        ({**BOOK, "type": "delta"}, [EXPECTED_BOOK]),
        (TRADE, [EXPECTED_TRADE]),
        (trade(S="Sell"), [Trade(*(getattr(EXPECTED_TRADE, f) for f in Trade.__struct_fields__[:6]), -1, FILL["i"])]),
        (trade(i=2290000001225843671), [Trade(*(getattr(EXPECTED_TRADE, f) for f in Trade.__struct_fields__[:7]), "2290000001225843671")]),
        ({**TRADE, "data": [FILL] * 1024}, [EXPECTED_TRADE] * 1024),
        ({**TRADE, "data": []}, []),
        (SNAPSHOT, [EXPECTED_MARK, EXPECTED_FUNDING, EXPECTED_INTEREST]),
        (ticker("snapshot", without(FIELDS, "indexPrice")), [MarkPrice(TS, RECV, "bybit", "BTCUSDT", 63560.8, None), EXPECTED_FUNDING, EXPECTED_INTEREST]),
        # A dated contract has no funding.
        (ticker("snapshot", {**FIELDS, "fundingRate": "", "nextFundingTime": ""}), [EXPECTED_MARK, EXPECTED_INTEREST]),
        (ticker("snapshot", {**FIELDS, "fundingRate": "", "nextFundingTime": "0"}), [EXPECTED_MARK, EXPECTED_INTEREST]),
        (ticker("snapshot", {**FIELDS, "openInterest": ""}), [EXPECTED_MARK, EXPECTED_FUNDING]),
        (ticker("snapshot", {**FIELDS, "openInterest": None}), [EXPECTED_MARK, EXPECTED_FUNDING]),
        # A delta is an event only where it says something that is recorded, and complete ones need no snapshot.
        (ticker("delta", {"symbol": "BTCUSDT", "bid1Price": "1"}), []),
        (ticker("delta", PRICES), [EXPECTED_MARK]),
        (ticker("delta", FUND), [EXPECTED_FUNDING]),
        (ticker("delta", {"openInterest": "59972.256"}), [EXPECTED_INTEREST]),
        (ticker("delta", {"openInterest": "", "markPrice": ""}), []),
    ],
)  # fmt: skip
def test_message_to_events(message, expected):
    for frame in (wire(message), json.dumps(dict(reversed(message.items()))).encode(), slow(message)):
        harvest = session().decode([frame], RECV)
        assert (harvest.events, harvest.rejects, harvest.outcomes, harvest.replies) == (expected, [], [], [])


def test_spot_is_the_same_under_another_name():
    events = session(SPOT).decode([wire(BOOK), wire(trade(i="2290000001225843671"))], RECV).events
    assert [event.exchange for event in events] == ["bybit-spot"] * 2
    assert events[1].trade_id == "2290000001225843671"
    assert session(SPOT).decode([wire(SNAPSHOT)], RECV).rejects[0].reason == "not_subscribed"


def test_trades_of_a_frame_keep_their_order():
    frames = [wire({**TRADE, "data": [{**FILL, "i": f"{frame}-{n}"} for n in range(4)]}) for frame in range(3)]
    assert [e.trade_id for e in session().decode(frames, RECV).trade] == [f"{frame}-{n}" for frame in range(3) for n in range(4)]


def test_a_repeated_snapshot_is_recorded_as_sent():
    again = {**BOOK, "ts": BOOK["ts"] + 3000}
    assert session().decode([wire(BOOK), wire(again)], RECV).events == [EXPECTED_BOOK] * 2


@pytest.mark.parametrize("form", [wire, slow])
def test_a_ticker_delta_is_completed_from_what_came_before_it(form):
    talk = session()
    told = []
    for kind, fields in (
        ("snapshot", FIELDS),
        ("delta", {"markPrice": "2"}),
        ("delta", {"indexPrice": "3"}),
        ("delta", {"fundingRate": "-0.1", "openInterest": "7"}),
        ("delta", {"nextFundingTime": "1786694400000", "indexPrice": ""}),
        ("snapshot", {"symbol": "BTCUSDT", "markPrice": "9"}),
        ("delta", {"markPrice": "10"}),
    ):
        harvest = talk.decode([form(ticker(kind, fields))], RECV)
        assert harvest.rejects == []
        told.append([tuple(getattr(event, name) for name in event.__struct_fields__[4:]) for event in harvest.events])
    assert told == [
        [(63560.8, 63585.51), (0.00005013, 1786665600000000000), (59972.256,)],
        [(2.0, 63585.51)],
        [(2.0, 3.0)],
        [(-0.1, 1786665600000000000), (7.0,)],
        [(-0.1, 1786694400000000000)],
        [(9.0, None)],  # a snapshot clears what was known
        [(10.0, None)],
    ]


@pytest.mark.parametrize("form", [wire, slow])
@pytest.mark.parametrize(
    ("fields", "stream"),
    [
        ({"markPrice": "1"}, StreamType.MARK_PRICE),
        ({"indexPrice": "1"}, StreamType.MARK_PRICE),
        ({"fundingRate": "1"}, StreamType.FUNDING),
        ({"nextFundingTime": "1786665600000"}, StreamType.FUNDING),
    ],
)
def test_a_delta_that_nothing_completes_is_rejected_and_never_filled_up(form, fields, stream):
    frame = form(ticker("delta", fields))
    for before in ([], [wire({**SNAPSHOT, "topic": "tickers.ETHUSDT"})]):
        talk = session()
        talk.decode(before, RECV)
        harvest = talk.decode([frame], RECV)
        assert harvest.events == []
        assert [(r.reason, r.stream, r.frame) for r in harvest.rejects] == [("delta_before_snapshot", stream, frame)]


@pytest.mark.parametrize("bad", ["NaN", "nonsense", [1]])
def test_a_value_that_could_not_be_read_ends_what_was_known(bad):
    """The delta after it would be completed with a price that is no longer true."""
    talk = session()
    talk.decode([wire(SNAPSHOT)], RECV)
    harvest = talk.decode([wire(ticker("delta", {"markPrice": bad, "openInterest": "5"}))], RECV)
    assert [(r.reason, r.stream) for r in harvest.rejects] == [
        ("not_finite" if bad == "NaN" else "wrong_type", StreamType.MARK_PRICE)
    ]
    assert [event.open_interest for event in harvest.events] == [5.0]  # the other streams are not touched
    (reject,) = talk.decode([wire(ticker("delta", {"indexPrice": "5"}))], RECV).rejects
    assert reject.reason == "delta_before_snapshot"
    assert len(talk.decode([wire(ticker("delta", {"fundingRate": "5"}))], RECV).funding) == 1


def test_a_ticker_that_could_not_be_read_at_all_does_so_too():
    talk = session()
    talk.decode([wire(SNAPSHOT), wire({**SNAPSHOT, "ts": None})], RECV)
    harvest = talk.decode([wire(ticker("delta", {"indexPrice": "5", "fundingRate": "5"}))], RECV)
    assert [(r.reason, r.stream) for r in harvest.rejects] == [
        ("delta_before_snapshot", StreamType.MARK_PRICE),
        ("delta_before_snapshot", StreamType.FUNDING),
    ]


def test_a_snapshot_with_half_of_a_stream_is_rejected_for_that_stream_alone():
    harvest = session().decode([wire(ticker("snapshot", {**FIELDS, "nextFundingTime": ""}))], RECV)
    assert harvest.events == [EXPECTED_MARK, EXPECTED_INTEREST]
    assert [(r.reason, r.stream) for r in harvest.rejects] == [("missing_field", StreamType.FUNDING)]
    harvest = session().decode([wire(ticker("snapshot", {**FIELDS, "markPrice": "?"}))], RECV)
    assert harvest.events == [EXPECTED_FUNDING, EXPECTED_INTEREST]
    assert [(r.reason, r.stream) for r in harvest.rejects] == [("wrong_type", StreamType.MARK_PRICE)]


def test_the_book_deltas_of_2023():
    """https://github.com/tardis-dev/tardis-node, test/mappers.test.ts"""
    delta = {"topic": "orderbook.1.BTCUSDT", "type": "delta", "ts": 1680673821137, "data": {"s": "BTCUSDT", "b": [["28552.00", "0.012"]], "a": [], "u": 7003306, "seq": 50193543147}}  # fmt: skip
    talk = session()
    (reject,) = talk.decode([wire(delta)], RECV).rejects
    assert (reject.reason, reject.stream) == ("delta_before_snapshot", StreamType.BBO)
    other = {**delta, "data": {**delta["data"], "b": [["28551.00", "0"], ["28553.00", "2"]]}}
    gone = {**delta, "data": {"b": [], "a": [["63561.6", "0"]]}}
    quiet = {**delta, "data": {"b": [], "a": []}}
    events = talk.decode([wire(BOOK), wire(delta), wire(other), wire(gone), wire(quiet)], RECV).events
    assert [(e.bid_price, e.bid_qty, e.ask_price, e.ask_qty) for e in events] == [
        (63561.5, 1.776, 63561.6, 4.848),
        (28552.0, 0.012, 63561.6, 4.848),
        (28553.0, 2.0, 63561.6, 4.848),
        (28553.0, 2.0, None, None),
        (28553.0, 2.0, None, None),
    ]
    assert talk.decode([wire(book(b="?")), wire(delta)], RECV).rejects[1].reason == "delta_before_snapshot"


def test_only_the_asked_part_of_a_ticker_is_recorded():
    for stream, expected in (
        (StreamType.MARK_PRICE, EXPECTED_MARK),
        (StreamType.FUNDING, EXPECTED_FUNDING),
        (StreamType.OPEN_INTEREST, EXPECTED_INTEREST),
    ):
        talk = session(streams=[stream])
        assert talk.decode([wire(SNAPSHOT)], RECV).events == [expected]
        others = {key: "NaN" for key in ("markPrice", "fundingRate", "openInterest") if key not in str(expected)}
        harvest = session(streams=[stream]).decode([wire(ticker("snapshot", {**FIELDS, **others}))], RECV)
        assert len(harvest.rejects) <= 1


def test_what_was_seen_is_remembered_by_stream_and_symbol():
    talk = session()
    talk.decode([wire(BOOK), wire({**TRADE, "topic": "publicTrade.ETHUSDT"}), wire(SNAPSHOT)], RECV)
    assert {stream: seen for stream, seen in talk.seen.items() if seen} == {
        StreamType.BBO: {"BTCUSDT": RECV},
        StreamType.TRADE: {"ETHUSDT": RECV},
        StreamType.MARK_PRICE: {"BTCUSDT": RECV},
        StreamType.FUNDING: {"BTCUSDT": RECV},
        StreamType.OPEN_INTEREST: {"BTCUSDT": RECV},
    }


# ------------------------------------------------------------------------------------------- what is not an event


@pytest.mark.parametrize(
    ("frame", "reason", "stream"),
    [
        (b"", "not_json", None),
        (b"{", "not_json", None),
        (b'{"topic":"o', "not_json", None),
        (wire(BOOK) + b"x", "not_json", None),
        (b"\xef\xbb\xbf" + wire(BOOK), "not_json", None),
        (wire(BOOK).replace(b'"1.776"', b"NaN"), "not_json", None),
        (b"[" * 5000, "not_json", None),
        (b'{"topic":"tickers.BTCUSDT","data":' + b"[" * 5000, "not_json", None),
        (b'{"topic":"orderbook.1.\xff"}', "not_json", None),
        (b"7", "not_an_object", None),
        (b"null", "not_an_object", None),
        (b"[]", "not_an_object", None),
        (b"{}", "no_topic", None),
        (wire({**BOOK, "topic": 7}), "no_topic", None),
        (wire(book(b=[["NaN", "1"]])), "not_finite", StreamType.BBO),
        (wire(book(b=[["inf", "1"]], a=[["-inf", "1"]])), "not_finite", StreamType.BBO),
        (wire(trade(p="-Infinity")), "not_finite", StreamType.TRADE),
        (wire(book(b=[["1e400", "1"]])), "out_of_range", StreamType.BBO),
        (wire({**BOOK, "cts": 10**15}), "out_of_range", StreamType.BBO),
        (wire(trade(T=-(10**15))), "out_of_range", StreamType.TRADE),
        (wire({**SNAPSHOT, "ts": 10**15}), "out_of_range", StreamType.MARK_PRICE),
        (wire({**BOOK, "data": without(BOOK["data"], "b")}), "missing_field", StreamType.BBO),
        (wire(without(BOOK, "ts")), "missing_field", StreamType.BBO),
        (wire(without(BOOK, "type")), "missing_field", StreamType.BBO),
        (wire(without(TRADE, "data")), "missing_field", StreamType.TRADE),
        (wire({**TRADE, "data": [without(FILL, "p")]}), "missing_field", StreamType.TRADE),
        (wire(without(SNAPSHOT, "ts")), "missing_field", StreamType.MARK_PRICE),
        (wire(ticker("snapshot", {"indexPrice": "1"})), "missing_field", StreamType.MARK_PRICE),
        (wire(ticker("snapshot", {})), "missing_field", StreamType.MARK_PRICE),
        (wire({**BOOK, "ts": None}), "wrong_type", StreamType.BBO),
        (wire({**BOOK, "type": "update"}), "wrong_type", StreamType.BBO),
        (wire(book(b=[["12,5", "1"]])), "wrong_type", StreamType.BBO),
        (wire(book(b=[["12"]])), "wrong_type", StreamType.BBO),
        (wire(book(b=[{"price": "22975.10", "size": "261.537"}])), "wrong_type", StreamType.BBO),
        (wire({**TRADE, "data": {}}), "wrong_type", StreamType.TRADE),
        (wire({**TRADE, "data": [7]}), "not_an_object", StreamType.TRADE),
        (wire(trade(S="buy")), "wrong_type", StreamType.TRADE),
        (wire(trade(p="")), "wrong_type", StreamType.TRADE),
        (wire(trade(i="")), "wrong_type", StreamType.TRADE),
        (wire(trade(i=True)), "wrong_type", StreamType.TRADE),
        (wire({**SNAPSHOT, "data": []}), "wrong_type", StreamType.MARK_PRICE),
        (wire(ticker("delta", {"openInterest": "much"})), "wrong_type", StreamType.OPEN_INTEREST),
        (wire(ticker("delta", {"openInterest": "nan"})), "not_finite", StreamType.OPEN_INTEREST),
        (wire(ticker("delta", {**FUND, "fundingRate": "nan"})), "not_finite", StreamType.FUNDING),
        (wire({**BOOK, "topic": "orderbook.1.XRPUSDT"}), "not_subscribed", StreamType.BBO),
        (wire({**TRADE, "topic": "publicTrade.XRPUSDT"}), "not_subscribed", StreamType.TRADE),
        (wire({**SNAPSHOT, "topic": "tickers.btcusdt"}), "not_subscribed", StreamType.MARK_PRICE),
        (BinaryMessage(wire(BOOK)), "binary_frame", None),
    ],
)
def test_what_cannot_be_read_is_rejected_with_a_reason(frame, reason, stream):
    harvest = session().decode([wire(BOOK), frame, wire(TRADE)], RECV)
    assert [(r.reason, r.stream, r.frame) for r in harvest.rejects] == [(reason, stream, frame)]
    assert harvest.events == [EXPECTED_BOOK, EXPECTED_TRADE]  # its neighbours are not touched


def test_a_bad_trade_does_not_take_the_good_ones_with_it():
    items = [FILL, {**FILL, "p": "NaN"}, {**FILL, "S": "?"}, {**FILL, "i": "last"}]
    harvest = session().decode([wire({**TRADE, "data": items})], RECV)
    assert [event.trade_id for event in harvest.trade] == [FILL["i"], "last"]
    assert [reject.reason for reject in harvest.rejects] == ["not_finite", "wrong_type"]


SUBSCRIBED_ALL = tuple(str(Topic("bybit", stream, s)) for s in ("BTCUSDT", "ETHUSDT") for stream in StreamType)


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ({"success": True, "ret_msg": "", "conn_id": "x", "req_id": "1", "op": "subscribe"}, Subscribed("1", SUBSCRIBED_ALL)),
        ({"success": True, "ret_msg": "", "conn_id": "x", "req_id": "", "op": "subscribe"}, Subscribed("", SUBSCRIBED_ALL)),
        ({"success": True, "ret_msg": "subscribe", "conn_id": "x", "op": "subscribe"}, Subscribed("", SUBSCRIBED_ALL)),
        ({"success": True, "ret_msg": "", "req_id": "strange", "op": "subscribe"}, Subscribed("strange")),
        ({"success": True, "ret_msg": "pong", "conn_id": "465772b1", "req_id": "", "op": "ping"}, Pong()),
        ({"success": True, "ret_msg": "pong", "conn_id": "0970e817", "op": "ping"}, Pong()),
        ({"args": ["1672916271846"], "op": "pong"}, Pong()),
        ({"success": False, "ret_msg": "error:invalid op", "op": "subscribed"}, Refused(None, None, "error:invalid op")),
        ({"success": False, "ret_msg": "?", "req_id": "strange", "op": "subscribe"}, Refused(None, None, "?")),
        ({"success": True, "op": "auth"}, Unknown("auth")),
        ({"op": {"a": 1}}, Unknown("{'a': 1}")),
        ({"success": True, "type": "COMMAND_RESP"}, Unknown("an answer without op")),
        ({"topic": "orderbook.50.BTCUSDT", "type": "delta"}, Unknown("orderbook.50")),
        ({"topic": "kline.1.BTCUSDT"}, Unknown("kline.1")),
        ({"topic": "publicTrade.BTCUSDT.should_not_be_present"}, Unknown("publicTrade.BTCUSDT")),
        ({"topic": "nonsense"}, Unknown("nonsense")),
        ({"topic": ""}, Unknown("")),
    ],
)
def test_other_messages_are_outcomes(message, outcome):
    harvest = session().decode([wire(message)], RECV)
    assert (harvest.events, harvest.rejects, harvest.replies, harvest.outcomes) == ([], [], [], [outcome])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["NaN", "", "1e999", "2", "delta"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=6,
)  # fmt: skip
KEYS = st.sampled_from(["topic", "type", "ts", "data", "cts", "op", "new"])
FIELD_KEYS = st.sampled_from([*"baTSvpi", *PRICES, *FUND, "openInterest", "new"])


def told(harvest):
    return (harvest.events, [(r.reason, r.stream) for r in harvest.rejects], harvest.outcomes)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(
    base=st.sampled_from([BOOK, TRADE, SNAPSHOT, {**SNAPSHOT, "type": "delta"}]),
    changes=st.dictionaries(KEYS, JSON, max_size=2),
    fields=st.dictionaries(FIELD_KEYS, JSON, max_size=3),
    cut=st.none() | st.integers(0, 300),
    before=st.booleans(),
)
def test_any_mutation_is_told_and_both_ways_tell_the_same(base, changes, fields, cut, before):
    data = base["data"]
    mutated = [{**data[0], **fields}] if isinstance(data, list) else {**data, **fields}
    message = {**base, "data": mutated, **changes}
    frame = wire(message)[:cut]
    quick, careful = session(), session()
    if before:
        for talk in (quick, careful):
            talk.decode([wire(BOOK), wire(SNAPSHOT)], RECV)
    harvest = quick.decode([frame], RECV)
    if cut is None:
        assert told(careful.decode([slow(message)], RECV)) == told(harvest)
        # And what is remembered is the same: a delta afterwards shows it.
        after = [wire(ticker("delta", {"indexPrice": "5", "fundingRate": "5"})), wire({**book(a=[]), "type": "delta"})]
        assert told(quick.decode(after, RECV)) == told(careful.decode(after, RECV))
    if "op" not in changes and "data" not in changes and base is not SNAPSHOT and base["type"] != "delta":
        assert len(harvest.rejects) + len(harvest.outcomes) + bool(harvest.events) == 1
    for event in harvest.events:
        numbers = [getattr(event, name) for name in event.__struct_fields__]
        assert not any(isinstance(number, float) and number * 0.0 != 0.0 for number in numbers)
        assert all(-(2**63) <= number < 2**63 for number in numbers if isinstance(number, int))
        assert event.symbol in {"BTCUSDT", "ETHUSDT"}
