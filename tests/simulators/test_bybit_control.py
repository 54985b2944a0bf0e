"""The requests of a client and their answers, word for word."""

from __future__ import annotations

import json

import pytest

from quantlab_collector.simulators.bybit_control import MAX_CHARACTERS, Manner, Subscriptions

LINEAR, SPOT = Manner("linear"), Manner("spot")


def subscriptions(manner=LINEAR):
    return Subscriptions(manner, "c", lambda topic: topic.partition(".")[0] == "tickers" and topic.endswith("USDT"))


def ask(connection, **request):
    reply = connection.answer(json.dumps(request))
    return json.loads(reply.text), reply


def test_the_answers_of_linear_and_spot():
    for manner, request, answer in [
        (LINEAR, '{"req_id":"t","op":"subscribe","args":["tickers.AUSDT"]}', '{"success":true,"ret_msg":"","conn_id":"c","req_id":"t","op":"subscribe"}'),
        (LINEAR, '{"op":"subscribe","args":["tickers.AUSDT"]}', '{"success":true,"ret_msg":"","conn_id":"c","req_id":"","op":"subscribe"}'),
        (Manner("linear", echo_req_id=False), '{"req_id":"t","op":"subscribe","args":["tickers.AUSDT"]}', '{"success":true,"ret_msg":"","conn_id":"c","req_id":"","op":"subscribe"}'),
        (SPOT, '{"req_id":"10001","op":"subscribe","args":["tickers.AUSDT"]}', '{"success":true,"ret_msg":"subscribe","conn_id":"c","req_id":"10001","op":"subscribe"}'),
        (SPOT, '{"op":"subscribe","args":["tickers.AUSDT"]}', '{"success":true,"ret_msg":"subscribe","conn_id":"c","op":"subscribe"}'),
        (LINEAR, '{"op":"ping"}', '{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"","op":"ping"}'),
        (SPOT, '{"op":"ping"}', '{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}'),
    ]:  # fmt: skip
        assert subscriptions(manner).answer(request).text == answer


@pytest.mark.parametrize(
    ("manner", "args", "text"),
    [
        (LINEAR, ["tickers.AUSDT", "tickers.NOTASYMBOL"], "error:handler not found,topic:tickers.NOTASYMBOL"),
        (LINEAR, ["tickers.AUSDT", "tickers.busdt"], "error:handler not found,topic:tickers.busdt"),
        (LINEAR, ["nonsense"], "error:handler not found,topic:nonsense"),
        (LINEAR, ["tickers.AUSDT", "tickers.AUSDT"], "error:already subscribed,topic:tickers.AUSDT"),
        (LINEAR, ["tickers.AUSDT", "tickers.HELDUSDT"], "error:already subscribed,topic:tickers.HELDUSDT"),
        (LINEAR, ["tickers.AUSDT", f"tickers.{'X' * 21_000}USDT"], "error:args too long"),
        (LINEAR, [], "error:invalid args"),
        (LINEAR, "tickers.AUSDT", "error:invalid args"),
        (LINEAR, ["tickers.AUSDT", 7], "error:invalid args"),
        (SPOT, ["tickers.AUSDT", "tickers.NOPE"], "Invalid symbol :[tickers.NOPE]"),
        (SPOT, [f"tickers.A{n}USDT" for n in range(11)], "args size >10"),
    ],
)
def test_one_bad_topic_refuses_the_whole_request(manner, args, text):
    connection = subscriptions(manner)
    ask(connection, op="subscribe", args=["tickers.HELDUSDT"])
    answer, reply = ask(connection, op="subscribe", args=args)
    assert (answer["success"], answer["ret_msg"], answer["op"]) == (False, text, "subscribe")
    assert reply.opened == ()
    assert list(connection.topics) == ["tickers.HELDUSDT"]


def test_a_sign_is_escaped_as_on_the_wire():
    reply = subscriptions(SPOT).answer(json.dumps({"op": "subscribe", "args": ["x"] * 11}))
    assert '"ret_msg":"args size \\u003e10"' in reply.text


def test_the_characters_of_all_requests_count():
    connection = subscriptions()
    name = "tickers." + "A" * 988 + "{:02}USDT"
    for n in range(20):
        assert ask(connection, op="subscribe", args=[name.format(n)])[0]["success"]
    assert sum(map(len, connection.topics)) == 20_040 < MAX_CHARACTERS
    assert not ask(connection, op="subscribe", args=[name.format(99)])[0]["success"]
    assert ask(connection, op="unsubscribe", args=[name.format(0)])[0]["success"]
    assert ask(connection, op="subscribe", args=[name.format(99)])[0]["success"]


@pytest.mark.parametrize("message", ["hello", "[]", b"\xff\xfe", "[" * 100_000, "", "7"])
def test_what_is_no_request_is_answered_too(message):
    answer = json.loads(subscriptions().answer(message).text)
    assert not answer["success"]
    assert answer["ret_msg"].startswith("Failed to decode incoming data:readObjectStart: expect { or n, but found ")


@pytest.mark.parametrize("request_", [{"op": "dance"}, {}, {"op": 7}, {"op": None}])
def test_an_unknown_op(request_):
    answer, _ = ask(subscriptions(), **request_)
    assert (answer["success"], answer["ret_msg"]) == (False, "error:invalid op")
