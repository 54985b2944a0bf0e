"""The requests of a client and their answers, word for word."""

from __future__ import annotations

import json

import pytest

from quantlab_collector.simulators.binance_connection import parse_path
from quantlab_collector.simulators.binance_control import MAX_STREAMS, Subscriptions

VARIANTS = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"


def test_the_conversation_of_the_documentation():
    connection = Subscriptions()
    for request, reply in [
        ('{"method":"SUBSCRIBE","params":["btcusdt@aggTrade","btcusdt@depth"],"id":1}', '{"result":null,"id":1}'),
        ('{"method":"UNSUBSCRIBE","params":["btcusdt@depth"],"id":312}', '{"result":null,"id":312}'),
        ('{"method":"LIST_SUBSCRIPTIONS","id":3}', '{"result":["btcusdt@aggTrade"],"id":3}'),
        ('{"method":"SET_PROPERTY","params":["combined",true],"id":5}', '{"result":null,"id":5}'),
        ('{"method":"GET_PROPERTY","params":["combined"],"id":2}', '{"result":true,"id":2}'),
    ]:
        assert connection.answer(request) == reply


ERRORS = [
    ('{"method":"SET_PROPERTY","params":["nonsense",true],"id":1}', 0, "Unknown property", 1),
    ('{"method":"GET_PROPERTY","params":["nonsense"],"id":1}', 0, "Unknown property", 1),
    ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1, "Invalid value type: expected Boolean", 1),
    ('{"method":"SET_PROPERTY","params":["combined"],"id":1}', 1, "Invalid value type: expected Boolean", 1),
    ('{"method":"SET_PROPERTY","params":[1,true],"id":1}', 2, "Invalid request: property name must be a string", 1),
    ('{"method":"GET_PROPERTY","id":1}', 2, "Invalid request: property name must be a string", 1),
    ('{"method":"SUBSCRIBE","params":[]}', 2, "Invalid request: request ID must be an unsigned integer", None),
    ('{"method":"SUBSCRIBE","params":[],"id":"1"}', 2, "Invalid request: request ID must be an unsigned integer", None),
    ('{"method":"SUBSCRIBE","params":[],"id":-1}', 2, "Invalid request: request ID must be an unsigned integer", None),
    ('{"method":"SUBSCRIBE","params":[],"id":true}', 2, "Invalid request: request ID must be an unsigned integer", None),
    (
        '{"id":4,"method":"SUBSCRIBED","params":[]}',
        2,
        f"Invalid request: unknown variant SUBSCRIBED, expected one of {VARIANTS} at line 1 column 29",
        4,
    ),
    ('{"id":4,"params":[]}', 2, "Invalid request: missing field `method` at line 1 column 20", 4),
    ('{"method":"SUBSCRIBE","params":[],"id":1,"more":1}', 2, "Invalid request: too many parameters", 1),
    ('{"method":"LIST_SUBSCRIPTIONS","params":["x"],"id":1}', 2, "Invalid request: too many parameters", 1),
    ("subscribe, please", 3, "Invalid JSON: expected value at line 1 column 1", None),
    ('{"method":', 3, "Invalid JSON: expected value at line 1 column 11", None),
    (b"\xff\xfe", 3, "Invalid JSON: expected value at line 1 column 1", None),
    ("[" * 100_000, 3, "Invalid JSON: expected value at line 1 column 1", None),
]


@pytest.mark.parametrize(("request_", "code", "message", "identity"), ERRORS)
def test_errors_are_wrapped_and_say_what_the_documentation_says(request_, code, message, identity):
    assert json.loads(Subscriptions().answer(request_)) == {"error": {"code": code, "msg": message}, "id": identity}


@pytest.mark.parametrize(
    "text", ["[]", "1", '"x"', "null", '{"method":"SUBSCRIBE","params":"x","id":1}', '{"method":"SUBSCRIBE","params":[1],"id":1}']
)
def test_what_nobody_has_documented_is_an_error_too(text):
    assert json.loads(Subscriptions().answer(text))["error"]["code"] == 2


def test_one_stream_too_many_refuses_the_whole_request():
    connection = Subscriptions(f"s{n}usdt@bookTicker" for n in range(MAX_STREAMS - 1))
    request = {"method": "SUBSCRIBE", "params": ["a@b", "c@d"], "id": 19}
    assert connection.answer(json.dumps(request)) == '{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}'
    assert len(connection.names) == MAX_STREAMS - 1
    request["params"] = ["a@b", "s0usdt@bookTicker"]  # one of them is there already
    assert json.loads(connection.answer(json.dumps(request))) == {"result": None, "id": 19}


@pytest.mark.parametrize(
    ("path", "route", "names", "combined"),
    [
        ("/public/ws", "/public", [], False),
        ("/public/ws/", "/public", [], False),
        ("/public/ws/bnbusdt@depth/ethusdt@depth", "/public", ["bnbusdt@depth", "ethusdt@depth"], False),
        ("/market/ws/btcusdt%40aggTrade", "/market", ["btcusdt@aggTrade"], False),
        (
            "/market/stream?streams=bnbusdt@aggTrade/btcusdt@markPrice@1s",
            "/market",
            ["bnbusdt@aggTrade", "btcusdt@markPrice@1s"],
            True,
        ),
        ("/public/stream", "/public", [], True),
        ("/ws/btcusdt@bookTicker", "", ["btcusdt@bookTicker"], False),
        ("/stream?streams=btcusdt@bookTicker", "", ["btcusdt@bookTicker"], True),
    ],
)
def test_an_address_says_what_is_wanted(path, route, names, combined):
    found = parse_path(path)
    assert found is not None
    assert (found[0], list(found[1].names), found[1].combined) == (route, names, combined)


@pytest.mark.parametrize(
    "path", ["/", "", "/public", "/private/ws", "/public/wss", "/public/stream/x", "//[x/ws", "/market/streams?streams=a"]
)
def test_nothing_is_elsewhere(path):
    assert parse_path(path) is None
