"""What Binance USD-M sends, and what becomes of it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_collector.contracts.events import Bbo, Funding, MarkPrice, StreamType, Trade
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.binance import USDM
from quantlab_collector.exchanges.protocol import (
    BinaryMessage,
    Endpoints,
    Notice,
    Refused,
    Subscribed,
    Unknown,
    Wanted,
)

BINANCE = USDM
RECV = 1_800_000_000_000_000_001
ENDPOINTS = Endpoints("wss://example.test", "https://example.test")

BOOK = {
    "e": "bookTicker", "u": 11730346419457, "s": "BTCUSDT", "ps": "BTCUSDT", "b": "84788.20", "B": "5.923",
    "a": "84788.30", "A": "2.824", "T": 1791091007473, "E": 1791091007474, "st": 1,
}  # fmt: skip
TRADE = {
    "e": "aggTrade", "E": 1773136021199, "a": 3190727436, "s": "BTCUSDT", "p": "70974.50", "q": "0.002", "nq": "0.002",
    "f": 7413816280, "l": 7413816280, "T": 1773136021194, "m": False, "st": 1,
}  # fmt: skip
MARK = {
    "e": "markPriceUpdate", "E": 1790755199000, "s": "BTCUSDT", "p": "83259.61836957", "ap": "83259.6", "P": "83390.5",
    "i": "83301.31260870", "r": "-0.00000189", "T": 1790755200000, "st": 1,
}  # fmt: skip

EXPECTED_BOOK = Bbo(1791091007473000000, RECV, "binance", "BTCUSDT", 84788.2, 5.923, 84788.3, 2.824)
EXPECTED_TRADE = Trade(1773136021194000000, RECV, "binance", "BTCUSDT", 70974.5, 0.002, 1, "3190727436")
EXPECTED_MARK = MarkPrice(1790755199000000000, RECV, "binance", "BTCUSDT", 83259.61836957, 83301.3126087)
EXPECTED_FUNDING = Funding(1790755199000000000, RECV, "binance", "BTCUSDT", -0.00000189, 1790755200000000000)


def wanted(symbols=("BTCUSDT", "ETHUSDT"), streams=BINANCE.streams, symbol_map=None):
    return Wanted(tuple(symbols), tuple(streams), ENDPOINTS, symbol_map or {})


def session(**kwargs):
    """One that listens to everything, so that a table can hold every kind."""
    plans = BINANCE.plan(wanted(**kwargs))
    both = plans[0].__class__(
        "binance", "all", "", tuple(t for plan in plans for t in plan.topics), (), symbol_map=plans[0].symbol_map
    )
    return BINANCE.session(both)


def combined(payload):
    return json.dumps({"stream": "x", "data": payload}).encode()


# -------------------------------------------------------------------------------------------------------------- plan


def test_two_routes_and_each_stream_on_its_own():
    public, market = BINANCE.plan(wanted())
    assert (public.name, public.url) == ("public-0", "wss://example.test/public/stream")
    assert (market.name, market.url) == ("market-0", "wss://example.test/market/stream")
    assert [json.loads(r) for r in public.requests] == [
        {"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker", "ethusdt@bookTicker"], "id": 1}
    ]
    assert [json.loads(r) for r in market.requests] == [
        {
            "method": "SUBSCRIBE",
            "params": ["btcusdt@aggTrade", "btcusdt@markPrice@1s", "ethusdt@aggTrade", "ethusdt@markPrice@1s"],
            "id": 1,
        }
    ]
    assert set(public.topics) | set(market.topics) == {
        Topic("binance", stream, symbol) for stream in BINANCE.streams for symbol in ("BTCUSDT", "ETHUSDT")
    }


def test_only_what_is_wanted_is_asked_for():
    assert [plan.name for plan in BINANCE.plan(wanted(streams=[StreamType.BBO]))] == ["public-0"]
    (market,) = BINANCE.plan(wanted(symbols=["BTCUSDT"], streams=[StreamType.FUNDING]))
    assert json.loads(market.requests[0])["params"] == ["btcusdt@markPrice@1s"]
    assert market.topics == (Topic("binance", StreamType.FUNDING, "BTCUSDT"),)


def test_a_thousand_symbols_are_spread():
    plans = BINANCE.plan(wanted(symbols=[f"S{n}USDT" for n in range(1000)]))
    assert [plan.name.rpartition("-")[0] for plan in plans] == ["public"] * 5 + ["market"] * 10
    asked = [name for plan in plans for request in plan.requests for name in json.loads(request)["params"]]
    assert len(asked) == len(set(asked)) == 3000
    for plan in plans:
        requests = [json.loads(request) for request in plan.requests]
        assert sum(len(request["params"]) for request in requests) <= 200
        assert all(len(request["params"]) <= 100 for request in requests)
        assert [request["id"] for request in requests] == list(range(1, len(requests) + 1))
    assert len({plan.name for plan in plans}) == len(plans)


def test_a_mapped_symbol_is_asked_for_by_its_own_name_and_recorded_under_ours():
    names = {"POLUSDT": "1000POLUSDT"}
    plans = BINANCE.plan(wanted(symbols=["POLUSDT"], symbol_map=names))
    assert json.loads(plans[0].requests[0])["params"] == ["1000polusdt@bookTicker"]
    (event,) = session(symbols=["POLUSDT"], symbol_map=names).decode([combined({**BOOK, "s": "1000POLUSDT"})], RECV).events
    assert event.symbol == "POLUSDT"


# ------------------------------------------------------------------------------------------------------------ events


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (BOOK, [EXPECTED_BOOK]),
        (TRADE, [EXPECTED_TRADE]),
        ({**TRADE, "m": True}, [Trade(1773136021194000000, RECV, "binance", "BTCUSDT", 70974.5, 0.002, -1, "3190727436")]),
        (MARK, [EXPECTED_MARK, EXPECTED_FUNDING]),
        # The fields of 2026 may be missing, and others may come: neither matters.
        ({k: v for k, v in BOOK.items() if k not in {"ps", "st", "u", "E"}}, [EXPECTED_BOOK]),
        ({**BOOK, "new": {"nested": [1, 2]}}, [EXPECTED_BOOK]),
        ({k: v for k, v in MARK.items() if k not in {"ap", "P", "st"}}, [EXPECTED_MARK, EXPECTED_FUNDING]),
        # Numbers instead of strings, and any order of keys.
        ({**BOOK, "b": 84788.2, "B": 5.923}, [EXPECTED_BOOK]),
        (dict(reversed(BOOK.items())), [EXPECTED_BOOK]),
        # An empty side is null, not zero; zero and negative numbers are recorded as sent.
        ({**BOOK, "b": "", "B": ""}, [Bbo(1791091007473000000, RECV, "binance", "BTCUSDT", None, None, 84788.3, 2.824)]),
        ({**BOOK, "a": None, "A": "1"}, [Bbo(1791091007473000000, RECV, "binance", "BTCUSDT", 84788.2, 5.923, None, None)]),
        ({**BOOK, "b": "0", "B": "-1"}, [Bbo(1791091007473000000, RECV, "binance", "BTCUSDT", 0.0, -1.0, 84788.3, 2.824)]),
        # Delivery contracts have no funding; some marks have no index.
        ({**MARK, "r": ""}, [EXPECTED_MARK]),
        ({**MARK, "i": ""}, [MarkPrice(1790755199000000000, RECV, "binance", "BTCUSDT", 83259.61836957, None), EXPECTED_FUNDING]),
        # A wrong time is recorded as sent.
        ({**BOOK, "T": 0}, [Bbo(0, RECV, "binance", "BTCUSDT", 84788.2, 5.923, 84788.3, 2.824)]),
        ({**BOOK, "T": -5}, [Bbo(-5_000_000, RECV, "binance", "BTCUSDT", 84788.2, 5.923, 84788.3, 2.824)]),
    ],
)
def test_payload_to_events(payload, expected):
    for frame in (combined(payload), json.dumps(payload).encode(), json.dumps([payload]).encode()):
        harvest = session().decode([frame], RECV)
        assert (harvest.events, harvest.rejects, harvest.outcomes) == (expected, [], [])


def test_trade_ids_keep_every_digit():
    (event,) = session().decode([combined({**TRADE, "a": 2**70 + 1})], RECV).events
    assert event.trade_id == str(2**70 + 1)


def test_only_the_asked_half_of_a_mark_price_is_recorded():
    harvest = session(streams=[StreamType.FUNDING]).decode([combined(MARK)], RECV)
    assert harvest.events == [EXPECTED_FUNDING]
    assert session(streams=[StreamType.MARK_PRICE]).decode([combined(MARK)], RECV).events == [EXPECTED_MARK]


def test_what_was_seen_is_remembered_by_stream_and_symbol():
    talk = session()
    talk.decode([combined(BOOK), combined({**TRADE, "s": "ETHUSDT"}), combined(MARK)], RECV)
    assert {stream: seen for stream, seen in talk.seen.items() if seen} == {
        StreamType.BBO: {"BTCUSDT": RECV},
        StreamType.TRADE: {"ETHUSDT": RECV},
        StreamType.MARK_PRICE: {"BTCUSDT": RECV},
        StreamType.FUNDING: {"BTCUSDT": RECV},
    }


def test_events_keep_the_order_of_their_frames():
    frames = [combined({**BOOK, "B": str(n)}) for n in range(100)]
    assert [event.bid_qty for event in session().decode(frames, RECV).bbo] == [float(n) for n in range(100)]


def test_bursts_are_by_stream_and_never_empty():
    bursts = session().decode([combined(BOOK), combined(MARK)], RECV).bursts("binance")
    assert [(b.exchange, b.stream, len(b)) for b in bursts] == [
        ("binance", StreamType.BBO, 1),
        ("binance", StreamType.MARK_PRICE, 1),
        ("binance", StreamType.FUNDING, 1),
    ]


# ------------------------------------------------------------------------------------------- what is not an event


@pytest.mark.parametrize(
    ("frame", "reason", "stream"),
    [
        (b"", "not_json", None),
        (b"{", "not_json", None),
        (b"nonsense", "not_json", None),
        (combined(BOOK) + b"x", "not_json", None),
        (b"\xef\xbb\xbf" + combined(BOOK), "not_json", None),
        (combined(BOOK).replace(b'"5.923"', b"NaN"), "not_json", None),
        (b"[" * 5000, "not_json", None),
        (b'{"stream":"x","data":' + b"[" * 5000, "not_json", None),
        (b'{"stream":"\xff","data":{"e":"bookTicker","s":"\xff"}}', "not_json", None),
        (b"7", "not_an_object", None),
        (b"null", "not_an_object", None),
        (b'{"stream":"x","data":7}', "not_an_object", None),
        (b'{"stream":"x"}', "not_an_object", None),
        (b"{}", "no_event_type", None),
        (combined({"e": 7}), "no_event_type", None),
        (combined({**BOOK, "b": "NaN"}), "not_finite", StreamType.BBO),
        (combined({**BOOK, "b": "inf", "a": "-inf"}), "not_finite", StreamType.BBO),
        (combined({**TRADE, "p": "-Infinity"}), "not_finite", StreamType.TRADE),
        (combined({**MARK, "i": "nan"}), "not_finite", StreamType.MARK_PRICE),
        (combined({**MARK, "r": "nan"}), "not_finite", StreamType.MARK_PRICE),
        (combined({**BOOK, "b": "1e400"}), "out_of_range", StreamType.BBO),
        (combined({**BOOK, "T": 10**15}), "out_of_range", StreamType.BBO),
        (combined({**BOOK, "T": -(10**15)}), "out_of_range", StreamType.BBO),
        (combined({k: v for k, v in BOOK.items() if k != "b"}), "missing_field", StreamType.BBO),
        (combined({k: v for k, v in TRADE.items() if k != "m"}), "missing_field", StreamType.TRADE),
        (combined({k: v for k, v in MARK.items() if k != "p"}), "missing_field", StreamType.MARK_PRICE),
        (combined({**BOOK, "T": None}), "wrong_type", StreamType.BBO),
        (combined({**BOOK, "b": "12,5"}), "wrong_type", StreamType.BBO),
        (combined({**BOOK, "b": [1]}), "wrong_type", StreamType.BBO),
        (combined({**TRADE, "m": "maybe"}), "wrong_type", StreamType.TRADE),
        (combined({**TRADE, "a": 1.5}), "wrong_type", StreamType.TRADE),
        (combined({**TRADE, "p": ""}), "wrong_type", StreamType.TRADE),
        (combined({**BOOK, "s": "XRPUSDT"}), "not_subscribed", StreamType.BBO),
        (combined({**TRADE, "s": "../../etc"}), "not_subscribed", StreamType.TRADE),
        (combined({**MARK, "s": "BTCUSD_PERP", "st": 2}), "not_subscribed", StreamType.MARK_PRICE),
        (BinaryMessage(combined(BOOK)), "binary_frame", None),
    ],
)
def test_what_cannot_be_read_is_rejected_with_a_reason(frame, reason, stream):
    harvest = session().decode([combined(BOOK), frame, combined(TRADE)], RECV)
    assert [(r.reason, r.stream, r.frame) for r in harvest.rejects] == [(reason, stream, frame)]
    assert harvest.events == [EXPECTED_BOOK, EXPECTED_TRADE]  # its neighbours are not touched


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ({"result": None, "id": 1}, Subscribed("1")),
        ({"result": ["btcusdt@aggTrade"], "id": 3}, Subscribed("3")),
        ({"error": {"code": 2, "msg": "Invalid request"}, "id": 19}, Refused(None, 2, "Invalid request")),
        ({"code": 3, "msg": "Invalid JSON"}, Refused(None, 3, "Invalid JSON")),
        ({"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1770123456789}}, "shutdown"),
        ({"e": "serverShutdown", "E": 1770123456789}, "shutdown"),
        ({"stream": "x", "data": {"e": "depthUpdate", "s": "BTCUSDT"}}, Unknown("depthUpdate")),
        ({"e": "forceOrder"}, Unknown("forceOrder")),
    ],
)
def test_other_messages_are_outcomes(message, outcome):
    harvest = session().decode([json.dumps(message).encode()], RECV)
    assert (harvest.events, harvest.rejects) == ([], [])
    if outcome == "shutdown":
        (notice,) = harvest.outcomes
        assert isinstance(notice, Notice)
        assert notice.reconnect
    else:
        assert harvest.outcomes == [outcome]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["NaN", "", "1e999"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(base=st.sampled_from([BOOK, TRADE, MARK]), changes=st.dictionaries(st.sampled_from([*"esEabABTpqmir", "new"]), JSON), cut=st.none() | st.integers(0, 300))  # fmt: skip
def test_any_mutation_is_an_event_an_outcome_or_a_counted_rejection(base, changes, cut):
    frame = combined({**base, **changes})[:cut]
    harvest = session().decode([frame], RECV)
    assert len(harvest.rejects) + len(harvest.outcomes) + bool(harvest.events) == 1
    for event in harvest.events:
        numbers = [getattr(event, name) for name in event.__struct_fields__]
        assert not any(isinstance(number, float) and number * 0.0 != 0.0 for number in numbers)
        assert all(-(2**63) <= number < 2**63 for number in numbers if isinstance(number, int))
        assert event.symbol in {"BTCUSDT", "ETHUSDT"}
