"""What OKX sends, and what becomes of it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_collector.contracts.events import Bbo, Funding, MarkPrice, OpenInterest, StreamType, Trade
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.okx import CHANNELS, OKX
from quantlab_collector.exchanges.okx_messages import instrument
from quantlab_collector.exchanges.protocol import (
    BinaryMessage,
    ConnectionPlan,
    Endpoints,
    Harvest,
    Notice,
    Pong,
    Refused,
    Subscribed,
    Unknown,
    Wanted,
)

RECV = 1_800_000_000_000_000_001
ENDPOINTS = Endpoints("wss://example.test", "https://example.test")
BTC, ETH = "BTC-USDT-SWAP", "ETH-USDT-SWAP"

BOOK = {
    "asks": [["84093.5", "667.19", "0", "70"]], "bids": [["84093.4", "570.27", "0", "83"]],
    "ts": "1790439594900", "seqId": 342177336945,
}  # fmt: skip
TRADE = {
    "instId": BTC, "tradeId": "2953620209", "px": "84093.4", "sz": "0.01", "side": "sell", "ts": "1790439594782",
    "count": "1", "source": "0", "seqId": 342177336862,
}  # fmt: skip
MARK = {"instId": BTC, "instType": "SWAP", "markPx": "83003.8", "ts": "1790757203016"}
FUNDING = {
    "formulaType": "withRate", "fundingRate": "0.0000252378080097", "fundingTime": "1790784000000",
    "impactValue": "20000.0000000000000000", "instId": BTC, "instType": "SWAP", "interestRate": "0.0001000000000000",
    "maxFundingRate": "0.00375", "method": "current_period", "minFundingRate": "-0.00375", "nextFundingRate": "",
    "nextFundingTime": "1790812800000", "premium": "-0.0005333853474351", "prevFundingTime": "1790755200000",
    "settFundingRate": "0.0000337200721784", "settState": "settled", "ts": "1790757122992",
}  # fmt: skip
INTEREST = {
    "instId": BTC, "instType": "SWAP", "oi": "2874486.99000000925", "oiCcy": "28744.8699000000925",
    "oiUsd": "2385812703.752047677463", "ts": "1790757195759",
}  # fmt: skip
ITEMS = {"bbo-tbt": BOOK, "trades": TRADE, "mark-price": MARK, "funding-rate": FUNDING, "open-interest": INTEREST}

EXPECTED_BOOK = Bbo(1790439594900000000, RECV, "okx", "BTCUSDT", 84093.4, 570.27, 84093.5, 667.19)
EXPECTED_TRADE = Trade(1790439594782000000, RECV, "okx", "BTCUSDT", 84093.4, 0.01, -1, "2953620209")
EXPECTED_MARK = MarkPrice(1790757203016000000, RECV, "okx", "BTCUSDT", 83003.8, None)
EXPECTED_FUNDING = Funding(1790757122992000000, RECV, "okx", "BTCUSDT", 0.0000252378080097, 1790784000000000000)
EXPECTED_INTEREST = OpenInterest(1790757195759000000, RECV, "okx", "BTCUSDT", 2874486.99000000925)


def wanted(symbols=("BTCUSDT", "ETHUSDT"), streams=OKX.streams, symbol_map=None):
    return Wanted(tuple(symbols), tuple(streams), ENDPOINTS, symbol_map or {})


def session(**kwargs):
    (plan,) = OKX.plan(wanted(**kwargs))
    return OKX.session(plan)


def push(channel, *items, inst_id=BTC, **more):
    """A frame as the exchange writes it: compact, and beginning with the channel."""
    message = {"arg": {"channel": channel, "instId": inst_id}, **more, "data": items}
    return json.dumps(message, separators=(",", ":")).encode()


def without(item, *keys):
    return {key: value for key, value in item.items() if key not in keys}


# -------------------------------------------------------------------------------------------------------------- plan


def test_one_connection_and_one_request():
    (plan,) = OKX.plan(wanted())
    assert (plan.exchange, plan.name, plan.url) == ("okx", "public-0", "wss://example.test/ws/v5/public")
    (request,) = plan.requests
    assert json.loads(request) == {
        "id": "1",
        "op": "subscribe",
        "args": [{"channel": channel, "instId": name} for name in (BTC, ETH) for channel in CHANNELS],
    }
    assert set(plan.topics) == {Topic("okx", stream, symbol) for stream in OKX.streams for symbol in ("BTCUSDT", "ETHUSDT")}


def test_the_real_address_has_no_port():
    (plan,) = OKX.plan(Wanted(("BTCUSDT",), OKX.streams, OKX.endpoints))
    assert plan.url == "wss://ws.okx.com/ws/v5/public"


def test_only_what_is_wanted_is_asked_for():
    (plan,) = OKX.plan(wanted(streams=[StreamType.FUNDING]))
    assert [arg["channel"] for arg in json.loads(plan.requests[0])["args"]] == ["funding-rate"] * 2
    assert plan.topics == tuple(Topic("okx", StreamType.FUNDING, symbol) for symbol in ("BTCUSDT", "ETHUSDT"))
    assert OKX.plan(wanted(streams=[])) == OKX.plan(wanted(symbols=[])) == ()


def test_a_thousand_symbols_are_spread_and_each_stays_together():
    plans = OKX.plan(wanted(symbols=[f"S{n}USDT" for n in range(1000)]))
    assert [plan.name for plan in plans] == [f"public-{n}" for n in range(10)]
    asked = []
    for plan in plans:
        assert len(plan.requests) == 1  # 480 an hour are allowed
        args = [(arg["channel"], arg["instId"]) for request in plan.requests for arg in json.loads(request)["args"]]
        assert len(args) == len(plan.topics) == 500
        asked += args
    assert len(set(asked)) == 5000
    homes = [{topic.symbol for topic in plan.topics} for plan in plans]
    assert sum(map(len, homes)) == len(set.union(*homes)) == 1000


def test_a_request_is_never_too_long():
    names = {f"S{n}": f"{'N' * 400}-{n}" for n in range(100)}
    (plan,) = OKX.plan(wanted(symbols=names, symbol_map=names))
    assert len(plan.requests) == 5
    assert all(len(request) < 64_000 for request in plan.requests)
    requests = [json.loads(request) for request in plan.requests]
    assert [request["id"] for request in requests] == ["1", "2", "3", "4", "5"]
    assert [arg["instId"] for request in requests for arg in request["args"]] == [n for n in names.values() for _ in range(5)]


def test_one_name_that_is_too_long_still_has_its_request():
    (plan,) = OKX.plan(wanted(symbols=["A", "B" * 70_000, "C"], streams=[StreamType.BBO]))
    assert [len(json.loads(request)["args"]) for request in plan.requests] == [1, 1, 1]


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("BTCUSDT", "BTC-USDT-SWAP"),
        ("BTCUSDC", "BTC-USDC-SWAP"),
        ("BTCUSD", "BTC-USD-SWAP"),
        ("1000SATSUSDT", "1000SATS-USDT-SWAP"),
        ("USDCUSDT", "USDC-USDT-SWAP"),
        ("BTC-USDT-SWAP", "BTC-USDT-SWAP"),
        # What follows does not exist, and the exchange says so by these names. None of them is a spot pair or a future.
        ("BTC", "BTC-SWAP"),
        ("USDT", "USDT-SWAP"),
        ("", "-SWAP"),
        ("BTC-USDT", "BTC--USDT-SWAP"),
        ("BTC-USDT-260925", "BTC-USDT-260925-SWAP"),
        ("btcusdt", "btcusdt-SWAP"),
        ("币安人生USDT", "币安人生-USDT-SWAP"),
        ('"}],"op":"x', '"}],"op":"x-SWAP'),
    ],
)
def test_symbols_have_names_of_the_exchange(symbol, name):
    assert instrument(symbol, {}) == name
    (plan,) = OKX.plan(wanted(symbols=[symbol]))
    assert {arg["instId"] for arg in json.loads(plan.requests[0])["args"]} == {name}
    assert OKX.session(plan).decode([push("mark-price", {**MARK, "instId": name})], RECV).mark_price[0].symbol == symbol


@given(st.lists(st.text(), max_size=4))
def test_no_symbol_is_too_strange_for_a_plan(symbols):
    symbols = [*symbols, "\udc80USDT"]  # what an environment variable that is not text becomes
    (plan,) = OKX.plan(wanted(symbols=symbols))
    asked = [arg["instId"] for request in plan.requests for arg in json.loads(request)["args"]]
    assert asked == [instrument(symbol, {}) for symbol in symbols for _ in CHANNELS]


def test_a_mapped_symbol_is_asked_for_by_its_own_name_and_recorded_under_ours():
    names = {"BTCUSDT": "BTC-USD_UM-SWAP"}
    (plan,) = OKX.plan(wanted(symbols=["BTCUSDT"], symbol_map=names))
    assert {arg["instId"] for arg in json.loads(plan.requests[0])["args"]} == {"BTC-USD_UM-SWAP"}
    talk = session(symbols=["BTCUSDT"], symbol_map=names)
    harvest = talk.decode([push("bbo-tbt", BOOK, inst_id="BTC-USD_UM-SWAP"), push("bbo-tbt", BOOK)], RECV)
    assert harvest.events == [EXPECTED_BOOK]
    assert [reject.reason for reject in harvest.rejects] == ["not_subscribed"]


def test_what_the_exchange_is():
    assert set(OKX.units) == {StreamType.BBO, StreamType.TRADE, StreamType.OPEN_INTEREST}
    assert set(OKX.units.values()) == {"contracts"}
    assert (OKX.heartbeat.message, OKX.heartbeat.when_quiet) == (b"ping", True)
    assert OKX.heartbeat.interval < 30


# ------------------------------------------------------------------------------------------------------------ events


def bbo(*numbers, ts=1790439594900000000):
    return Bbo(ts, RECV, "okx", "BTCUSDT", *numbers)


@pytest.mark.parametrize(
    ("channel", "item", "expected"),
    [
        ("bbo-tbt", BOOK, EXPECTED_BOOK),
        ("trades", TRADE, EXPECTED_TRADE),
        ("trades", {**TRADE, "side": "buy"}, Trade(1790439594782000000, RECV, "okx", "BTCUSDT", 84093.4, 0.01, 1, "2953620209")),
        ("mark-price", MARK, EXPECTED_MARK),
        ("funding-rate", FUNDING, EXPECTED_FUNDING),
        ("open-interest", INTEREST, EXPECTED_INTEREST),
        # Fields of later years may be missing, and others may come: neither matters.
        ("bbo-tbt", without(BOOK, "seqId"), EXPECTED_BOOK),
        ("trades", without(TRADE, "count", "source", "seqId"), EXPECTED_TRADE),
        ("bbo-tbt", {**BOOK, "new": {"nested": [1, 2]}}, EXPECTED_BOOK),
        ("trades", {**TRADE, "new": [[]]}, EXPECTED_TRADE),
        # The instrument is named by the item, or else by what was asked for.
        ("bbo-tbt", {**BOOK, "instId": BTC}, EXPECTED_BOOK),
        ("trades", without(TRADE, "instId"), EXPECTED_TRADE),
        ("trades", {**TRADE, "instId": ""}, EXPECTED_TRADE),
        # Numbers instead of strings, and any order of keys.
        ("mark-price", {**MARK, "markPx": 83003.8, "ts": 1790757203016}, EXPECTED_MARK),
        ("trades", {**TRADE, "tradeId": 2953620209}, EXPECTED_TRADE),
        ("trades", dict(reversed(TRADE.items())), EXPECTED_TRADE),
        # An empty side is null, not zero; zero and negative numbers are recorded as sent.
        ("bbo-tbt", {**BOOK, "bids": []}, bbo(None, None, 84093.5, 667.19)),
        ("bbo-tbt", {**BOOK, "asks": []}, bbo(84093.4, 570.27, None, None)),
        ("bbo-tbt", {**BOOK, "bids": [["", "", "0", "0"]]}, bbo(None, None, 84093.5, 667.19)),
        ("bbo-tbt", {**BOOK, "asks": [["1", "", "0", "0"]]}, bbo(84093.4, 570.27, None, None)),
        ("bbo-tbt", {**BOOK, "bids": [["0", "-1", "0", "1"]]}, bbo(0.0, -1.0, 84093.5, 667.19)),
        # Only the best level counts, and of a level only its price and quantity.
        ("bbo-tbt", {**BOOK, "bids": [*BOOK["bids"], ["1", "1", "0", "1"]]}, EXPECTED_BOOK),
        ("bbo-tbt", {**BOOK, "asks": [["84093.5", "667.19"]]}, EXPECTED_BOOK),
        ("bbo-tbt", {**BOOK, "asks": [["84093.5", "667.19", None, {}, 7]]}, EXPECTED_BOOK),
        # A wrong time is recorded as sent.
        ("bbo-tbt", {**BOOK, "ts": "0"}, bbo(84093.4, 570.27, 84093.5, 667.19, ts=0)),
        ("bbo-tbt", {**BOOK, "ts": "-5"}, bbo(84093.4, 570.27, 84093.5, 667.19, ts=-5_000_000)),
        # What the next funding time is called here is not the one that is meant.
        ("funding-rate", without(FUNDING, "nextFundingTime"), EXPECTED_FUNDING),
    ],
)
def test_item_to_event(channel, item, expected):
    loose = json.dumps({"data": [item], "arg": {"instId": BTC, "channel": channel}}).encode()
    for frame in (push(channel, item), push(channel, item, action="snapshot"), loose):
        harvest = session().decode([frame], RECV)
        assert (harvest.events, harvest.rejects, harvest.outcomes) == ([expected], [], [])


def test_the_name_in_an_item_counts_more_than_the_one_that_was_asked_for():
    frames = [push(channel, {**item, "instId": ETH}, inst_id=BTC) for channel, item in ITEMS.items()]
    harvest = session().decode(frames, RECV)
    assert [event.symbol for event in harvest.events] == ["ETHUSDT"] * 5


def test_every_item_of_a_push_is_an_event():
    items = [{**TRADE, "tradeId": str(n), "instId": name} for n, name in enumerate((BTC, ETH, BTC))]
    harvest = session().decode([push("trades", *items)], RECV)
    assert [(event.trade_id, event.symbol) for event in harvest.events] == [("0", "BTCUSDT"), ("1", "ETHUSDT"), ("2", "BTCUSDT")]
    harvest = session().decode([push("trades", items[0], {**items[1], "px": "?"}, items[2])], RECV)
    assert [event.trade_id for event in harvest.events] == ["0", "2"]
    assert [(reject.reason, reject.stream) for reject in harvest.rejects] == [("wrong_type", StreamType.TRADE)]


def test_trade_ids_keep_every_character():
    for trade_id in ("00012", str(2**70 + 1), "a-b"):
        (event,) = session().decode([push("trades", {**TRADE, "tradeId": trade_id})], RECV).events
        assert event.trade_id == trade_id


def test_what_was_seen_is_remembered_by_stream_and_symbol():
    talk = session()
    frames = [push(channel, item) for channel, item in ITEMS.items()]
    talk.decode([*frames, push("trades", {**TRADE, "instId": ETH}, inst_id=ETH)], RECV)
    assert talk.seen == {
        StreamType.BBO: {"BTCUSDT": RECV},
        StreamType.TRADE: {"BTCUSDT": RECV, "ETHUSDT": RECV},
        StreamType.MARK_PRICE: {"BTCUSDT": RECV},
        StreamType.FUNDING: {"BTCUSDT": RECV},
        StreamType.OPEN_INTEREST: {"BTCUSDT": RECV},
    }


def test_what_was_rejected_was_not_seen():
    talk = session()
    talk.decode([push("trades", {**TRADE, "px": "nan"}), push("bbo-tbt", {**BOOK, "ts": ""})], RECV)
    assert not any(talk.seen.values())


def test_events_keep_the_order_of_their_frames():
    frames = [push("bbo-tbt", {**BOOK, "bids": [["1", str(n)]] * (1 + n % 2)}) for n in range(100)]
    assert [event.bid_qty for event in session().decode(frames, RECV).bbo] == [float(n) for n in range(100)]


# ------------------------------------------------------------------------------------------- what is not an event


@pytest.mark.parametrize(
    ("frame", "reason", "stream"),
    [
        (b"", "not_json", None),
        (b"{", "not_json", None),
        (b"pong ", "not_json", None),
        (b"ping", "not_json", None),
        (push("bbo-tbt", BOOK) + b"x", "not_json", None),
        (push("bbo-tbt", BOOK).replace(b'"570.27"', b"NaN"), "not_json", None),
        (push("bbo-tbt", BOOK)[:-40], "not_json", None),
        (b"[" * 5000, "not_json", None),
        (b'{"arg":{"channel":"trades"},"data":' + b"[" * 5000, "not_json", None),
        (b'{"arg":{"channel":"trades","instId":"\xff"},"data":[{}]}', "not_json", None),
        (b"7", "not_an_object", None),
        (b"null", "not_an_object", None),
        (b"[]", "not_an_object", None),
        (b"{}", "no_channel", None),
        (b'{"arg":{"instId":"BTC-USDT-SWAP"},"data":[{}]}', "no_channel", None),
        (b'{"event":7}', "no_channel", None),
        (b'{"arg":{"channel":"trades"}}', "no_data", StreamType.TRADE),
        (push("trades"), "no_data", StreamType.TRADE),
        (b'{"arg":{"channel":"trades"},"data":{}}', "no_data", StreamType.TRADE),
        (b'{"arg":{"channel":"trades"},"data":"x"}', "no_data", StreamType.TRADE),
        (push("trades", 7), "not_an_object", StreamType.TRADE),
        (push("trades", None), "not_an_object", StreamType.TRADE),
        (push("bbo-tbt", {**BOOK, "bids": [["NaN", "1"]]}), "not_finite", StreamType.BBO),
        (push("bbo-tbt", {**BOOK, "bids": [["inf", "1"]], "asks": [["-inf", "1"]]}), "not_finite", StreamType.BBO),
        (push("bbo-tbt", {**BOOK, "bids": [], "asks": [["1", "inf"]]}), "not_finite", StreamType.BBO),
        (push("trades", {**TRADE, "px": "-Infinity"}), "not_finite", StreamType.TRADE),
        (push("mark-price", {**MARK, "markPx": "nan"}), "not_finite", StreamType.MARK_PRICE),
        (push("funding-rate", {**FUNDING, "fundingRate": "nan"}), "not_finite", StreamType.FUNDING),
        (push("open-interest", {**INTEREST, "oi": "inf"}), "not_finite", StreamType.OPEN_INTEREST),
        (push("mark-price", {**MARK, "markPx": "1e400"}), "out_of_range", StreamType.MARK_PRICE),
        (push("bbo-tbt", {**BOOK, "ts": str(10**15)}), "out_of_range", StreamType.BBO),
        (push("funding-rate", {**FUNDING, "fundingTime": str(-(10**15))}), "out_of_range", StreamType.FUNDING),
        (push("bbo-tbt", without(BOOK, "bids")), "missing_field", StreamType.BBO),
        (push("trades", without(TRADE, "side")), "missing_field", StreamType.TRADE),
        (push("trades", without(TRADE, "tradeId")), "missing_field", StreamType.TRADE),
        (push("mark-price", without(MARK, "ts")), "missing_field", StreamType.MARK_PRICE),
        (push("funding-rate", without(FUNDING, "ts")), "missing_field", StreamType.FUNDING),  # as in 2022
        (push("open-interest", without(INTEREST, "oi")), "missing_field", StreamType.OPEN_INTEREST),
        (push("bbo-tbt", {**BOOK, "bids": None}), "wrong_type", StreamType.BBO),
        (push("bbo-tbt", {**BOOK, "bids": ["12"]}), "wrong_type", StreamType.BBO),
        (push("bbo-tbt", {**BOOK, "bids": [["84093.4"]]}), "wrong_type", StreamType.BBO),
        (push("bbo-tbt", {**BOOK, "bids": [[]]}), "wrong_type", StreamType.BBO),
        (push("bbo-tbt", {**BOOK, "ts": "soon"}), "wrong_type", StreamType.BBO),
        (push("trades", {**TRADE, "px": "12,5"}), "wrong_type", StreamType.TRADE),
        (push("trades", {**TRADE, "px": ""}), "wrong_type", StreamType.TRADE),
        (push("trades", {**TRADE, "side": "Buy"}), "wrong_type", StreamType.TRADE),
        (push("trades", {**TRADE, "tradeId": ""}), "wrong_type", StreamType.TRADE),
        (push("trades", {**TRADE, "instId": 7}), "wrong_type", StreamType.TRADE),
        (push("funding-rate", {**FUNDING, "fundingTime": ""}), "wrong_type", StreamType.FUNDING),
        (push("bbo-tbt", BOOK, inst_id="XRP-USDT-SWAP"), "not_subscribed", StreamType.BBO),
        (push("bbo-tbt", BOOK, inst_id=None), "not_subscribed", StreamType.BBO),
        (push("bbo-tbt", BOOK, inst_id="BTCUSDT"), "not_subscribed", StreamType.BBO),
        (push("trades", {**TRADE, "instId": "../../etc"}), "not_subscribed", StreamType.TRADE),
        (push("mark-price", {**MARK, "instId": "BTC-USDT"}), "not_subscribed", StreamType.MARK_PRICE),
        (BinaryMessage(push("bbo-tbt", BOOK)), "binary_frame", None),
        (BinaryMessage(push("trades", TRADE)), "binary_frame", None),
        (BinaryMessage(b"pong"), "binary_frame", None),
    ],
)
def test_what_cannot_be_read_is_rejected_with_a_reason(frame, reason, stream):
    harvest = session().decode([push("bbo-tbt", BOOK), frame, push("trades", TRADE)], RECV)
    assert [(r.reason, r.stream, r.frame) for r in harvest.rejects] == [(reason, stream, frame)]
    assert harvest.events == [EXPECTED_BOOK, EXPECTED_TRADE]  # its neighbours are not touched
    assert harvest.outcomes == []


OLD_REFUSAL = "channel:trades,instId:BTC-USDT-SWAP doesn't exist"
REFUSAL = "Wrong URL or channel:bbo-tbt,instId:ETH-USDT-SWAP doesn't exist. Please use the correct URL, channel and parameters referring to API document."  # fmt: skip
NEW_REFUSAL = "Subscribe failed, wrong URL or channel:open-interest,instId:BTC-USDT-SWAP doesn't exist. Please use the correct URL, channel and parameters referring to API document."  # fmt: skip
STRANGER = "Subscribe failed, wrong URL or channel:candle1m,instId:BTC-USDT doesn't exist. Please use the correct URL."
MALFORMED = 'Invalid request: {"op": "subscribe", "argss":[{ "channel" : "tickers", "instId" : "LTC-USD-200327"}]}'
UPGRADE = "The connection will soon be closed for a service upgrade. Please reconnect."


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (
            {"id": "1", "event": "subscribe", "arg": {"channel": "trades", "instId": BTC}, "connId": "accb8e21"},
            Subscribed("1", ("okx/trade/BTCUSDT",)),
        ),
        ({"event": "subscribe", "arg": {"channel": "funding-rate", "instId": ETH}}, Subscribed("", ("okx/funding/ETHUSDT",))),
        ({"id": "1", "event": "subscribe", "arg": {"channel": "account"}}, Subscribed("1")),
        ({"event": "subscribe"}, Subscribed("")),
        ({"event": "error", "msg": OLD_REFUSAL, "code": "60018"}, Refused("okx/trade/BTCUSDT", "60018", OLD_REFUSAL)),
        ({"event": "error", "msg": REFUSAL, "code": "60018"}, Refused("okx/bbo/ETHUSDT", "60018", REFUSAL)),
        (
            {"id": "1", "event": "error", "msg": NEW_REFUSAL, "code": "60018", "connId": "b2b0944b"},
            Refused("okx/open_interest/BTCUSDT", "60018", NEW_REFUSAL),
        ),
        ({"event": "error", "msg": STRANGER, "code": "60018"}, Refused(None, "60018", STRANGER)),
        ({"event": "error", "msg": MALFORMED, "code": "60012"}, Refused(None, "60012", MALFORMED)),
        ({"event": "error", "msg": "Requests too frequent", "code": "60014"}, Refused(None, "60014", "Requests too frequent")),
        ({"event": "error", "msg": "?", "code": [1]}, Refused(None, None, "?")),
        ({"event": "notice", "code": "64008", "msg": UPGRADE, "connId": "a4d3ae55"}, Notice("64008", UPGRADE, reconnect=True)),
        ({"event": "notice", "code": "64009", "msg": "?"}, Notice("64009", "?", reconnect=False)),
        ({"event": "unsubscribe", "arg": {"channel": "trades", "instId": BTC}}, Unknown("unsubscribe")),
        ({"event": "channel-conn-count", "channel": "orders", "connCount": "2", "connId": "a4d3ae55"}, Unknown("channel-conn-count")),
        ({"arg": {"channel": "status"}, "data": [{"state": "scheduled", "ts": "1672826038470"}]}, Unknown("status")),
        ({"arg": {"channel": "trades-all", "instId": BTC}, "data": [TRADE]}, Unknown("trades-all")),
        ({"arg": {"channel": "mark-price-candle1m", "instId": BTC}, "data": [[]]}, Unknown("mark-price-candle1m")),
        ({"arg": {"channel": "mark-prices", "instId": BTC}, "data": [MARK]}, Unknown("mark-prices")),
        ({"arg": {"channel": "bbo-tbt2", "instId": BTC}, "data": [BOOK]}, Unknown("bbo-tbt2")),
    ],
)  # fmt: skip
def test_other_messages_are_outcomes(message, outcome):
    harvest = session().decode([json.dumps(message, separators=(",", ":")).encode()], RECV)
    assert (harvest.events, harvest.rejects, harvest.outcomes) == ([], [], [outcome])


@pytest.mark.parametrize("key", ["id", "msg", "code", "arg", "instId", "channel"])
@pytest.mark.parametrize("event", ["subscribe", "error", "notice", "new"])
def test_no_depth_is_too_deep(event, key):
    for depth in (10, 300, *range(850, 1010, 7), 5000):
        deep = "[" * depth + "]" * depth
        message = f'{{"event":"{event}","{key}":{deep},"arg":{{"channel":"trades","{key}":{deep}}}}}'
        push = f'{{"arg":{{"channel":"trades","{key}":{deep}}},"data":[{{"{key}":{deep},"px":{deep}}}]}}'
        harvest = session().decode([message.encode(), push.encode()], RECV)
        assert len(harvest.outcomes) + len(harvest.rejects) == 2


def test_the_answer_to_a_heartbeat_is_not_json():
    harvest = session().decode([push("bbo-tbt", BOOK), b"pong", push("trades", TRADE)], RECV)
    assert (harvest.events, harvest.rejects, harvest.outcomes) == ([EXPECTED_BOOK, EXPECTED_TRADE], [], [Pong()])


def test_a_refusal_names_what_a_plan_asked_for_whatever_its_name():
    for symbol in ("MATICUSDT", "a b", "x,instId:y", "币安人生USDT"):
        talk = session(symbols=[symbol])
        text = f"Wrong URL or channel:trades,instId:{instrument(symbol, {})} doesn't exist."
        (refused,) = talk.decode([json.dumps({"event": "error", "msg": text, "code": "60018"}).encode()], RECV).outcomes
        assert refused.topic == f"okx/trade/{symbol}"


# -------------------------------------------------------------------------------------------------------- mutations

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["NaN", "", "1e999", "1", "1.5", "buy", "1790439594900", "null", "true", BTC, ETH]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["instId", "ts", "px", "sz", "side", "tradeId", "bids", "asks", "markPx", "fundingTime", "oi", "new"])
LEVELS = st.lists(st.lists(JSON, max_size=4), max_size=2)
ITEM = st.tuples(
    st.sampled_from(list(ITEMS)),
    st.dictionaries(KEYS, JSON, max_size=2) | st.fixed_dictionaries({"bids": LEVELS}),
    st.none() | KEYS,
)


@st.composite
def frames(draw):
    """A push in which something is changed, or missing, or that is cut."""
    channel, changes, missing = draw(ITEM)
    item = without({**ITEMS[channel], **changes}, missing)
    more = draw(st.dictionaries(st.sampled_from(["event", "action"]), st.sampled_from(["subscribe", "error", 1]), max_size=1))
    return push(channel, *[item] * draw(st.sampled_from([1, 1, 1, 0, 2])), **more)[: draw(st.none() | st.integers(0, 300))]


@settings(max_examples=600, derandomize=True, deadline=None)
@given(frame=frames())
def test_any_mutation_is_an_event_an_outcome_or_a_counted_rejection(frame):
    harvest = session().decode([frame], RECV)
    items = len(harvest.rejects) + len(harvest.outcomes) + len(harvest.events)
    assert items == 1 or items == len(json.loads(frame)["data"]) == 2
    for event in harvest.events:
        numbers = [getattr(event, name) for name in event.__struct_fields__]
        assert not any(isinstance(number, float) and number * 0.0 != 0.0 for number in numbers)
        assert all(-(2**63) <= number < 2**63 for number in numbers if isinstance(number, int))
        assert event.symbol in {"BTCUSDT", "ETHUSDT"}


@settings(max_examples=600, derandomize=True, deadline=None)
@given(frame=frames())
def test_the_fast_way_and_the_careful_way_agree(frame):
    fast, slow, talk = session(), Harvest(), session()
    harvest = fast.decode([frame], RECV)
    talk._read_carefully(frame, RECV, slow)
    assert (harvest.events, harvest.rejects, harvest.outcomes) == (slow.events, slow.rejects, slow.outcomes)
    assert fast.seen == talk.seen


def test_plans_of_others_are_no_concern_of_a_session():
    talk = OKX.session(ConnectionPlan("okx", "none", "", (), ()))
    assert [reject.reason for reject in talk.decode([push("trades", TRADE)], RECV).rejects] == ["not_subscribed"]
