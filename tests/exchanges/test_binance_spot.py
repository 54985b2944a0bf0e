"""What Binance spot sends, and what becomes of it; also as others recorded it."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_collector.contracts.events import Bbo, StreamType, Trade
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.binance import SPOT
from quantlab_collector.exchanges.protocol import BinaryMessage, ConnectionPlan, Endpoints, Refused, Subscribed, Unknown, Wanted

RECV = 1_800_000_000_000_000_001
BOOK = {"u": 400900217, "s": "BNBUSDT", "b": "25.35190000", "B": "31.21000000", "a": "25.36520000", "A": "40.66000000"}
TRADE = {
    "e": "trade",
    "E": 1672515782137,
    "s": "BNBUSDT",
    "t": 12345,
    "p": "0.001",
    "q": "100",
    "T": 1672515782136,
    "m": True,
    "M": True,
}
EXPECTED_BOOK = Bbo(RECV, RECV, "binance-spot", "BNBUSDT", 25.3519, 31.21, 25.3652, 40.66)
EXPECTED_TRADE = Trade(1672515782136000000, RECV, "binance-spot", "BNBUSDT", 0.001, 100.0, -1, "12345")


def session(symbols=("BNBUSDT",)):
    topics = tuple(Topic("binance-spot", stream, symbol) for stream in SPOT.streams for symbol in symbols)
    return SPOT.session(ConnectionPlan("binance-spot", "spot-0", "", topics, ()))


def combined(payload):
    return json.dumps({"stream": "x", "data": payload}).encode()


def test_one_host_without_routes():
    (plan,) = SPOT.plan(Wanted(("BTCUSDT", "ETHUSDT"), SPOT.streams, Endpoints("wss://x", "https://x")))
    assert (plan.name, plan.url) == ("spot-0", "wss://x/stream")
    assert [json.loads(request)["params"] for request in plan.requests] == [
        ["btcusdt@bookTicker", "btcusdt@trade", "ethusdt@bookTicker", "ethusdt@trade"]
    ]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (BOOK, [EXPECTED_BOOK]),
        (TRADE, [EXPECTED_TRADE]),
        ({**TRADE, "m": False}, [Trade(1672515782136000000, RECV, "binance-spot", "BNBUSDT", 0.001, 100.0, 1, "12345")]),
        ({**TRADE, "b": 88, "a": 50}, [EXPECTED_TRADE]),  # the order ids of older payloads
        ({**BOOK, "b": "", "B": ""}, [Bbo(RECV, RECV, "binance-spot", "BNBUSDT", None, None, 25.3652, 40.66)]),
        ({**BOOK, "new": 1}, [EXPECTED_BOOK]),
    ],
)
def test_payload_to_events(payload, expected):
    for frame in (combined(payload), json.dumps(payload).encode()):
        harvest = session().decode([frame], RECV)
        assert (harvest.events, harvest.rejects, harvest.outcomes) == (expected, [], [])


@pytest.mark.parametrize(
    ("frame", "reason", "stream"),
    [
        (b"{", "not_json", None),
        (b"{}", "no_event_type", None),
        (combined({**BOOK, "b": "NaN"}), "not_finite", StreamType.BBO),
        (combined({k: v for k, v in BOOK.items() if k != "b"}), "missing_field", StreamType.BBO),
        (combined({k: v for k, v in TRADE.items() if k != "t"}), "missing_field", StreamType.TRADE),
        (combined({**TRADE, "p": "x"}), "wrong_type", StreamType.TRADE),
        (combined({**TRADE, "p": "inf"}), "not_finite", StreamType.TRADE),
        (combined({**TRADE, "T": 10**16}), "out_of_range", StreamType.TRADE),
        (combined({**BOOK, "s": "XRPUSDT"}), "not_subscribed", StreamType.BBO),
        (combined({**TRADE, "s": "XRPUSDT"}), "not_subscribed", StreamType.TRADE),
        (BinaryMessage(combined(BOOK)), "binary_frame", None),
    ],
)
def test_what_cannot_be_read_is_rejected_with_a_reason(frame, reason, stream):
    harvest = session().decode([combined(BOOK), frame, combined(TRADE)], RECV)
    assert [(r.reason, r.stream, r.frame) for r in harvest.rejects] == [(reason, stream, frame)]
    assert harvest.events == [EXPECTED_BOOK, EXPECTED_TRADE]


def test_control_messages():
    frames = [b'{"result":null,"id":"a"}', b'{"error":{"code":2,"msg":"no"},"id":null}', combined({"e": "kline", "s": "BNBUSDT"})]
    assert session().decode(frames, RECV).outcomes == [Subscribed("a"), Refused(None, 2, "no"), Unknown("kline")]


JSON = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["NaN", "", "1e999", [], {}])
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(base=st.sampled_from([BOOK, TRADE]), changes=st.dictionaries(st.sampled_from([*"usebBaATtpqm", "new"]), JSON))
def test_any_mutation_is_an_event_an_outcome_or_a_counted_rejection(base, changes):
    harvest = session().decode([combined({**base, **changes})], RECV)
    assert len(harvest.rejects) + len(harvest.outcomes) + len(harvest.events) == 1
    for event in harvest.events:
        values = [getattr(event, name) for name in event.__struct_fields__]
        assert not any(isinstance(value, float) and value * 0.0 != 0.0 for value in values)


CAPTURE = Path(os.environ.get("QUANTLAB_CORPUS", ""), "binance-spot/hftbacktest/spot_btcusdt_20230405.tsv.gz")


@pytest.mark.skipif(not CAPTURE.is_file(), reason="QUANTLAB_CORPUS names no folder of recorded frames")
def test_a_recorded_hour_is_accounted_for():
    talk, counts = session(("BTCUSDT",)), Counter()
    for n, line in enumerate(gzip.decompress(CAPTURE.read_bytes()).splitlines()):
        frame = line.split(b"\t", 1)[1]
        harvest = talk.decode([frame], n)
        payload = json.loads(frame)["data"]
        if payload.get("e") == "trade":
            side = -1 if payload["m"] else 1
            expected = [
                Trade(
                    payload["T"] * 10**6,
                    n,
                    "binance-spot",
                    "BTCUSDT",
                    float(payload["p"]),
                    float(payload["q"]),
                    side,
                    str(payload["t"]),
                )
            ]
        elif "e" not in payload:
            expected = [Bbo(n, n, "binance-spot", "BTCUSDT", *(float(payload[key]) for key in "bBaA"))]
        else:
            expected = []
        assert harvest.events == expected
        counts.update([type(event).__name__ for event in harvest.events] or [outcome.kind for outcome in harvest.outcomes])
        assert not harvest.rejects
    assert counts == {"Bbo": 8015, "depthUpdate": 3929, "Trade": 3144}
