"""The simulated OKX seen by a real WebSocket client: what it answers, what it delivers, and where it draws lines."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import trio
from trio_websocket import ConnectionClosed

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.okx import OkxOptions, serve_okx
from simulators.okx_support import (
    PATH,
    ask,
    hear,
    hear_all,
    hear_something,
    hear_until_all_spoke,
    hear_within,
    play,
    request,
    talking,
)
from simulators.support import closed, server_tls, status_of

BTC, ETH = "BTC-USDT-SWAP", "ETH-USDT-SWAP"
REFUSAL = (
    "Subscribe failed, wrong URL or channel:{},instId:{} doesn't exist. "
    "Please use the correct URL, channel and parameters referring to API document."
)


# ------------------------------------------------------------------------------------------------------- requests


async def test_every_channel_has_its_own_answer_and_speaks_after_it(nursery):
    simulator = await play(nursery)
    async with talking(simulator) as websocket:
        await websocket.send_message(request(("bbo-tbt", BTC), ("trades", ETH), id="a1"))
        messages = await hear_until_all_spoke(websocket, {"bbo-tbt", "trades"})
    acks = [message for message in messages if "event" in message]
    connection_id = acks[0]["connId"]
    assert len(connection_id) == 8
    assert acks == [
        {"id": "a1", "event": "subscribe", "arg": {"channel": channel, "instId": name}, "connId": connection_id}
        for channel, name in (("bbo-tbt", BTC), ("trades", ETH))
    ]
    subscribed = []
    for message in messages:
        if "event" in message:
            subscribed.append(message["arg"])
        else:
            assert message["arg"] in subscribed
    assert {message["arg"]["channel"] for message in messages if "data" in message} == {"bbo-tbt", "trades"}
    assert simulator.connections[0].streams == (f"bbo-tbt:{BTC}", f"trades:{ETH}")


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        ("trades", "MATIC-USDT-SWAP"),
        ("trades", "btc-usdt-swap"),
        ("trades", "BTC-USDT"),
        ("trades", "BTCUSDT"),
        ("trades", "ANY"),
        ("trades-all", BTC),  # on the other path
        ("bookTicker", BTC),
    ],
)
async def test_what_does_not_exist_is_refused_by_name_and_harms_nobody(nursery, channel, name):
    simulator = await play(nursery)
    async with talking(simulator) as websocket:
        first, no, last = await ask(websocket, request(("mark-price", BTC), (channel, name), ("mark-price", ETH)), 3)
        assert (no["event"], no["code"], no["msg"]) == ("error", "60018", REFUSAL.format(channel, name))
        assert set(no) == {"event", "code", "msg", "connId"}
        assert first["event"] == last["event"] == "subscribe"
        pushed = [message["arg"]["instId"] for message in await hear_something(websocket, 0.1)]
        assert set(pushed) == {BTC, ETH}


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("nonsense", "60012", "Invalid request: nonsense"),
        ("[]", "60012", "Invalid request: []"),
        ("7", "60012", "Invalid request: 7"),
        ('{"op":"subscribe","argss":[]}', "60012", 'Invalid request: {"op":"subscribe","argss":[]}'),
        ('{"args":[]}', "60012", 'Invalid request: {"args":[]}'),
        ("[" * 2000, "60012", "Invalid request: " + "[" * 2000),
        (request(("trades", BTC), id="not-alphanumeric"), "60012", None),
        (request(("trades", BTC), id="x" * 33), "60012", None),
        (request(("trades", BTC), id=7), "60012", None),
        (request(("trades", BTC), op="shout"), "60019", "Invalid op: shout"),
        ('{"op":"subscribe","args":[]}', "60013", "Invalid args"),
        ('{"op":"subscribe","args":{}}', "60013", "Invalid args"),
        ('{"op":"subscribe","args":["trades"]}', "60013", "Invalid args"),
        ('{"op":"subscribe","args":[{"channel":"trades"}]}', "60013", "Invalid args"),
    ],
)
async def test_requests_that_make_no_sense(nursery, text, code, words):
    simulator = await play(nursery)
    async with talking(simulator) as websocket:
        (error,) = await ask(websocket, text)
        assert (error["event"], error["code"]) == ("error", code)
        assert error["msg"] == (words or f"Invalid request: {text}")
        (ack,) = await ask(websocket, request(("trades", BTC)))  # and the connection lives on
        assert ack["event"] == "subscribe"


async def test_unsubscribing_silences(nursery):
    simulator = await play(nursery)
    async with talking(simulator) as websocket:
        await ask(websocket, request(("trades", BTC), ("bbo-tbt", BTC)), 2)
        (ack,) = await ask(websocket, request(("trades", BTC), op="unsubscribe", id="u"))
        assert (ack["event"], ack["arg"], ack["id"]) == ("unsubscribe", {"channel": "trades", "instId": BTC}, "u")
        assert {message["arg"]["channel"] for message in await hear_something(websocket, 0.1)} == {"bbo-tbt"}
        assert simulator.connections[0].streams == (f"bbo-tbt:{BTC}",)


async def test_whoever_comes_later_is_told_the_state_at_once(nursery):
    simulator = await play(nursery, limit=2000, symbols=("BTCUSDT",))
    channels = ("bbo-tbt", "trades", "mark-price", "funding-rate", "open-interest")
    last = {}
    async with talking(simulator) as first:
        await first.send_message(request(*((channel, BTC) for channel in channels)))
        await simulator.wait_quiet()
        for message in await hear_all(first):
            last[message["arg"]["channel"]] = message
    assert set(last) == set(channels)
    async with talking(simulator) as second:
        await second.send_message(request(*((channel, BTC) for channel in channels)))
        told = await hear_something(second, 0.5)
    assert [message["arg"]["channel"] for message in told if "event" in message] == list(channels)
    del last["trades"]  # they are not a state
    assert [message for message in told if "data" in message] == list({c: last[c] for c in channels if c in last}.values())


async def test_groups_of_fills_leave_no_gap(nursery):
    simulator = await play(nursery, symbols=("BTCUSDT",))
    async with talking(simulator) as websocket:
        await ask(websocket, request(("trades", BTC)))
        trades = [(await hear(websocket))["data"][0] for _ in range(200)]
    for before, trade in pairwise(trades):
        assert int(trade["tradeId"]) - int(trade["count"]) == int(before["tradeId"])
    assert {trade["count"] for trade in trades} == {"1", "3"}


# ------------------------------------------------------------------------------------------------ what is repeated


async def test_what_does_not_change_is_told_again(nursery):
    simulator = await play(nursery, symbols=("BTCUSDT",), mark_repeat=10, quote_repeat=20, quiet_timeout=1000, time_scale=100)
    async with talking(simulator) as websocket:
        await websocket.send_message(request(("bbo-tbt", BTC), ("mark-price", BTC), ("funding-rate", BTC)))
        await trio.sleep(0.1)
        paused = trio.current_time()
        simulator.pause()
        await simulator.wait_quiet()
        flow = [await hear(websocket) for _ in range(3 + simulator.ledger.total)]  # three answers, and all events
        again = await hear_until_all_spoke(websocket, {"bbo-tbt", "mark-price"})
        again += await hear_until_all_spoke(websocket, {"mark-price"})
        elapsed = trio.current_time() - paused
    last = {message["arg"]["channel"]: message["data"][0] for message in flow if "data" in message}
    quotes = [message["data"][0] for message in again if message["arg"]["channel"] == "bbo-tbt"]
    marks = [message["data"][0] for message in again if message["arg"]["channel"] == "mark-price"]
    assert len(quotes) + len(marks) == len(again)  # and nothing else
    assert 1 <= len(quotes) <= elapsed / 0.2 + 1
    assert all(quote == last["bbo-tbt"] for quote in quotes)  # with its time and its seqId
    assert 2 <= len(marks) <= elapsed / 0.1 + 1
    assert {mark["markPx"] for mark in marks} == {last["mark-price"]["markPx"]}
    times = [int(mark["ts"]) for mark in (last["mark-price"], *marks)]
    assert times == sorted(set(times))
    before = sum(message["arg"]["channel"] == "mark-price" for message in flow if "data" in message)
    in_ledger = [ms for _, ms, _ in simulator.ledger.sent(StreamType.MARK_PRICE, "BTCUSDT")]
    assert in_ledger[before : before + len(marks)] == times[1:]


async def test_an_idle_symbol_has_its_mark_price_and_nothing_else(nursery):
    simulator = await play(nursery, symbols=("BTCUSDT", "ETHUSDT"), idle_symbols=("ETHUSDT",))
    async with talking(simulator) as websocket:
        await websocket.send_message(request(("bbo-tbt", ETH), ("trades", ETH), ("mark-price", ETH)))
        told = await hear_something(websocket, 0.1)
    assert {message["arg"]["channel"] for message in told if "data" in message} == {"mark-price"}


async def test_what_is_muted_is_not_repeated_either(nursery):
    simulator = await play(nursery, symbols=("BTCUSDT",), mark_repeat=5, time_scale=100, quiet_timeout=1000)
    async with talking(simulator) as websocket:
        await ask(websocket, request(("mark-price", BTC)))
        await hear(websocket)
        simulator.faults.mute(StreamType.MARK_PRICE)
        await trio.sleep(0.05)
        await hear_within(websocket, 0.05)
        assert await hear_within(websocket, 0.2) == []
        simulator.faults.unmute(StreamType.MARK_PRICE)
        await hear(websocket)


# -------------------------------------------------------------------------------------------------------- lines


async def test_ping_is_a_text(nursery):
    simulator = await play(nursery)
    async with talking(simulator) as websocket:
        for _ in range(3):
            await websocket.send_message("ping")
            assert await websocket.get_message() == "pong"


async def test_a_quiet_connection_is_closed(nursery):
    simulator = await play(nursery, time_scale=100)
    simulator.pause()
    async with talking(simulator) as websocket:
        await ask(websocket, request(("trades", BTC)))
        with pytest.raises(ConnectionClosed):
            await websocket.get_message()
    assert await closed(simulator, 1) == (4004, "No data received in 30s.")


async def test_pings_keep_a_subscribed_connection(nursery):
    simulator = await play(nursery, time_scale=100)
    simulator.pause()
    async with talking(simulator) as websocket:
        await ask(websocket, request(("trades", BTC)))
        for _ in range(8):
            await trio.sleep(0.1)
            await websocket.send_message("ping")
            assert await websocket.get_message() == "pong"
    assert await closed(simulator, 1) == (1000, "")


@pytest.mark.parametrize("wanted", [[], [("trades", "MATIC-USDT-SWAP")]])
async def test_pings_do_not_keep_one_that_has_no_subscription(nursery, wanted):
    simulator = await play(nursery, time_scale=100)
    async with talking(simulator) as websocket:
        if wanted:
            await websocket.send_message(request(*wanted))
        with pytest.raises(ConnectionClosed), trio.fail_after(2):
            while True:
                await websocket.send_message("ping")
                await trio.sleep(0.05)
    assert await closed(simulator, 1) == (4004, "No data received in 30s.")


@pytest.mark.parametrize("ordered", [True, False])
async def test_an_upgrade_is_announced(nursery, ordered):
    simulator = await play(nursery, time_scale=600, quiet_timeout=6000, upgrade_after=6000 if ordered else 60)
    async with talking(simulator) as websocket:
        await ask(websocket, request(("trades", BTC)))
        start = trio.current_time()
        if ordered:
            simulator.announce_upgrade()
        while "event" not in (message := await hear(websocket)):
            pass
        assert (message["event"], message["code"]) == ("notice", "64008")
        assert message["msg"] == "The connection will soon be closed for a service upgrade. Please reconnect."
        with pytest.raises(ConnectionClosed):
            while True:
                assert "data" in await hear(websocket)
        assert 0.1 <= trio.current_time() - start < 3
    assert (await closed(simulator, 1))[0] == 1001


async def test_three_connections_a_second(nursery):
    simulator = await play(nursery, max_connects=3, connects_period=0.4)
    statuses = [await status_of(simulator, PATH) for _ in range(5)]
    assert statuses == [101, 101, 101, 429, 429]
    await trio.sleep(0.4)
    assert await status_of(simulator, PATH) == 101
    assert len(simulator.connections) == 4


async def test_so_many_requests_an_hour(nursery):
    simulator = await play(nursery, max_requests=4, requests_period=3600, time_scale=3600 / 0.3, quiet_timeout=1e9)
    async with talking(simulator) as websocket:
        replies = [(await ask(websocket, request(("trades", BTC), op=op)))[0] for op in ["subscribe", "unsubscribe"] * 3]
        assert [reply.get("code") for reply in replies] == [None] * 4 + ["60014"] * 2
        assert replies[-1]["msg"] == "Requests too frequent"
        await trio.sleep(0.3)
        assert (await ask(websocket, request(("trades", BTC))))[0]["event"] == "subscribe"


async def test_a_request_may_be_long_and_not_longer(nursery):
    simulator = await play(nursery)
    args = [{"channel": "trades", "instId": f"NO{n:04d}-USDT-SWAP"} for n in range(1000)]
    async with talking(simulator) as websocket:
        await websocket.send_message(json.dumps({"op": "subscribe", "args": args}))
        assert {(await hear(websocket))["code"] for _ in range(1000)} == {"60018"}
        await websocket.send_message(json.dumps({"op": "subscribe", "args": args * 2}))
        with pytest.raises(ConnectionClosed):
            await websocket.get_message()
    assert await closed(simulator, 1) == (1009, "Request message exceeds the maximum frame length")


@pytest.mark.parametrize("path", ["/", "/ws/v5/private", "/ws/v5/public/", "/public/ws", "/ws/v5/business"])
async def test_other_addresses_do_not_exist(nursery, path):
    assert await status_of(await play(nursery), path) == 404


async def test_tls_and_a_close_at_command(nursery):
    simulator = await play(nursery, ssl_context=server_tls())
    assert simulator.ws_url.startswith("wss://localhost:")
    async with talking(simulator) as websocket:
        await ask(websocket, request(("trades", BTC)))
        simulator.faults.close(4006, "Abnormal disconnection")
        with pytest.raises(ConnectionClosed):
            while True:
                await hear(websocket)
    assert await closed(simulator, 1) == (4006, "Abnormal disconnection")


async def test_a_delisted_instrument_is_gone(nursery):
    simulator = await play(nursery, mark_repeat=5, time_scale=100, quiet_timeout=1000)
    async with talking(simulator) as websocket:
        await ask(websocket, request(("mark-price", BTC)))
        simulator.faults.delist("BTCUSDT")
        await hear_within(websocket, 0.1)
        assert await hear_within(websocket, 0.2) == []
        (refusal,) = await ask(websocket, request(("trades", BTC)))
        assert refusal["code"] == "60018"


async def test_it_stops_at_once_whoever_is_connected():
    async with trio.open_nursery() as server:
        simulator = await server.start(serve_okx, OkxOptions(rate=5000.0))
        async with talking(simulator) as websocket:
            await ask(websocket, request(("bbo-tbt", BTC)))
            stop = trio.current_time()
            server.cancel_scope.cancel()
    assert trio.current_time() - stop < 1.5


def test_symbols_are_listed_once_and_in_capitals():
    assert OkxOptions(symbols=("btcusdt", "BTCUSDT", "ethusdt")).symbols == ("BTCUSDT", "ETHUSDT")
