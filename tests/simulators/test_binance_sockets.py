"""The simulated exchange seen by a real WebSocket client: what it answers, what it delivers, and where it draws lines."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

import httpcore
import pytest
import trio
from trio_websocket import ConnectionClosed

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from simulators.support import (
    ask,
    closed,
    connect,
    frame_client,
    heard,
    next_reply,
    server_tls,
    something_heard,
    status_of,
    streams,
    unwrapped,
)


def kinds_and_symbols(payloads):
    return {(payload["e"], payload["s"]) for payload in payloads}


async def test_a_combined_address_delivers_combined(play):
    simulator = await play(rate=1000.0)
    async with connect(simulator, "/public/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker") as websocket:
        messages = [json.loads(await websocket.get_message()) for _ in range(20)]
    assert {message["stream"] for message in messages} == {"btcusdt@bookTicker", "ethusdt@bookTicker"}
    assert all(set(message) == {"stream", "data"} for message in messages)
    assert all(message["data"]["s"].lower() == message["stream"].split("@")[0] for message in messages)


async def test_a_raw_address_delivers_raw(play):
    simulator = await play(rate=1000.0)
    async with connect(simulator, "/market/ws/btcusdt@aggTrade/btcusdt@markPrice@1s") as websocket:
        messages = [json.loads(await websocket.get_message()) for _ in range(20)]
    assert kinds_and_symbols(messages) == {("aggTrade", "BTCUSDT"), ("markPriceUpdate", "BTCUSDT")}


@pytest.mark.parametrize("path", ["/public/ws", "/public/stream"])
async def test_subscribing_on_an_open_connection(play, path):
    simulator = await play(rate=1000.0)
    async with connect(simulator, path) as websocket:
        assert await heard(websocket, 0.08) == []
        await websocket.send_message(json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 7}))
        assert json.loads(await websocket.get_message()) == {"result": None, "id": 7}  # before any data
        assert kinds_and_symbols(await something_heard(websocket, 0.08)) == {("bookTicker", "BTCUSDT")}
        assert await ask(websocket, "UNSUBSCRIBE", ["btcusdt@bookTicker"], 8) == {"result": None, "id": 8}
        assert await heard(websocket, 0.08) == []  # not one more after the reply
        assert await ask(websocket, "LIST_SUBSCRIPTIONS", None, 9) == {"result": [], "id": 9}


async def test_the_form_can_be_switched(play):
    simulator = await play(rate=1000.0)
    async with connect(simulator, "/public/ws/btcusdt@bookTicker") as websocket:
        assert await ask(websocket, "SET_PROPERTY", ["combined", True]) == {"result": None, "id": 1}
        assert set(json.loads(await websocket.get_message())) == {"stream", "data"}
        assert await ask(websocket, "SET_PROPERTY", ["combined", False]) == {"result": None, "id": 1}
        assert json.loads(await websocket.get_message())["e"] == "bookTicker"


@pytest.mark.parametrize(
    ("route", "silent"),
    [
        ("/public", ["btcusdt@aggTrade", "btcusdt@markPrice@1s", "btcusdt@markPrice"]),  # the wrong route
        ("/market", ["btcusdt@bookTicker"]),
        ("", ["btcusdt@aggTrade", "btcusdt@markPrice@1s"]),  # the decommissioned address
        ("/public", ["maticusdt@bookTicker", "nosuchusdt@bookTicker", "btcusdt@nonsense", "nonsense"]),
        ("/public", ["BTCUSDT@bookTicker", "btcusdt@bookticker", "Btcusdt@bookTicker"]),
    ],
)
async def test_an_acknowledgement_proves_nothing(play, route, silent):
    simulator = await play(rate=1000.0)
    async with connect(simulator, f"{route}/ws") as websocket:
        assert await ask(websocket, "SUBSCRIBE", silent) == {"result": None, "id": 1}
        assert (await ask(websocket, "LIST_SUBSCRIPTIONS"))["result"] == silent
        assert await heard(websocket, 0.08) == []
    async with connect(simulator, f"{route}/stream?streams={'/'.join(silent)}") as websocket:
        assert await heard(websocket, 0.08) == []
    assert simulator.ledger.total == 0


@pytest.mark.parametrize("path", ["/ws/btcusdt@bookTicker", "/stream?streams=btcusdt@bookTicker/btcusdt@aggTrade"])
async def test_the_decommissioned_address_still_delivers_the_public_streams(play, path):
    simulator = await play(rate=1000.0)
    async with connect(simulator, path) as websocket:
        assert kinds_and_symbols(await something_heard(websocket, 0.08)) == {("bookTicker", "BTCUSDT")}


async def test_the_slow_mark_price_is_every_third(play):
    simulator = await play(rate=1000.0, symbols=("BTCUSDT",))
    async with connect(simulator, "/market/stream?streams=btcusdt@markPrice/btcusdt@markPrice@1s") as websocket:
        messages = [json.loads(await websocket.get_message())["stream"] for _ in range(80)]
    assert messages.count("btcusdt@markPrice") == 20


async def test_a_faulty_request_is_answered_and_the_connection_lives_on(play):
    simulator = await play(rate=1000.0)
    async with connect(simulator, "/public/ws") as websocket:
        await websocket.send_message("{")
        assert (await next_reply(websocket))["error"]["code"] == 3
        await websocket.send_message(b"\xff")
        assert (await next_reply(websocket))["error"]["code"] == 3
        assert await ask(websocket, "SUBSCRIBE", [f"s{n}@bookTicker" for n in range(1025)], 19) == {
            "error": {"code": 4, "msg": "Too many subscriptions"},
            "id": 19,
        }
        assert await ask(websocket, "SUBSCRIBE", ["btcusdt@bookTicker"]) == {"result": None, "id": 1}
        assert await something_heard(websocket, 0.08)


async def test_ten_messages_a_second_are_fine_and_eleven_are_too_many(play):
    simulator = await play(rate=100.0)
    async with connect(simulator, "/public/ws/btcusdt@bookTicker") as websocket:
        for n in range(10):
            await ask(websocket, "LIST_SUBSCRIPTIONS", None, n)
        await trio.sleep(1)
        for n in range(10):
            await ask(websocket, "LIST_SUBSCRIPTIONS", None, n)
        with pytest.raises(ConnectionClosed) as end:
            await ask(websocket, "LIST_SUBSCRIPTIONS", None, 11)
    assert (end.value.reason.code, end.value.reason.reason) == (1008, "Too many requests")
    assert await closed(simulator, 1) == (1008, "Too many requests")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/private/ws", 404),
        ("/public/stream?streams=" + "/".join(f"symbol{n}usdt@bookTicker" for n in range(330)), 414),
        ("/public/ws/" + "x" * 20_000, 414),
    ],
)
async def test_a_wrong_address_is_refused(play, path, status):
    simulator = await play()
    assert await status_of(simulator, path) == status
    assert simulator.connections == []


async def test_whoever_answers_pings_stays(play):
    simulator = await play(rate=100.0, ping_interval=0.03, pong_timeout=0.1)
    async with frame_client(simulator, "/public/ws/btcusdt@bookTicker") as client:
        with trio.move_on_after(0.4):
            await client.read_all()
        assert not client.closed_by_server
        assert len(client.pings) > 5
        assert len(set(client.pings)) == len(client.pings)


async def test_whoever_does_not_is_cut_off(play):
    simulator = await play(rate=10.0, ping_interval=0.05, pong_timeout=0.2)
    # A trio-websocket whose queue is full does not read, and so does not answer.
    async with connect(simulator, "/public/ws/btcusdt@bookTicker", message_queue_size=1) as websocket:
        await trio.sleep(0.6)
        with pytest.raises(ConnectionClosed) as end:
            while True:
                await websocket.get_message()
    assert (end.value.reason.code, end.value.reason.reason) == (1008, "Pong timeout")
    assert await closed(simulator, 1) == (1008, "Pong timeout")


async def test_a_pong_that_nobody_asked_for_does_not_help(play):
    simulator = await play(rate=10.0, ping_interval=0.05, pong_timeout=0.3)
    async with (
        frame_client(simulator, "/public/ws/btcusdt@bookTicker", answer_pings=False) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(client.read_all)
        while not client.closed_by_server:
            await client.pong(b"another payload")
            await trio.sleep(0.02)
        assert client.protocol.close_code == 1008
        assert client.protocol.close_reason == "Pong timeout"
        assert len(client.pings) >= 5


async def test_nobody_stays_for_ever(play):
    simulator = await play(rate=1000.0, max_lifetime=0.2)
    async with connect(simulator, "/public/ws/btcusdt@bookTicker") as websocket:
        with trio.fail_after(2), pytest.raises(ConnectionClosed) as end:
            while True:
                await websocket.get_message()
    assert end.value.reason.code == 1001


async def test_the_rate_is_kept(play):
    simulator = await play(rate=2000.0)
    public = "/public/stream?streams=" + streams(simulator, "bookTicker")
    market = "/market/stream?streams=" + streams(simulator, "aggTrade", "markPrice@1s")
    simulator.pause()
    async with connect(simulator, public), connect(simulator, market):
        simulator.resume()
        await trio.sleep(0.1)
        before, start = simulator.ledger.total, trio.current_time()
        await trio.sleep(1)
        sent, seconds = simulator.ledger.total - before, trio.current_time() - start
    assert sent / seconds == pytest.approx(2000, rel=0.1)
    assert [sum(n for (kind, _), n in simulator.ledger.totals.items() if kind.value == name) for name in ("bbo", "trade")] == [
        pytest.approx(0.7 * simulator.ledger.total, rel=0.05),
        pytest.approx(0.2 * simulator.ledger.total, rel=0.05),
    ]


async def test_an_unread_connection_does_not_stop_the_others(play):
    simulator = await play(rate=40_000.0)
    path = "/public/stream?streams=" + streams(simulator, "bookTicker")
    async with frame_client(simulator, path), frame_client(simulator, path) as reader:
        unread = simulator.connections[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read_all)
            with trio.fail_after(8):
                while simulator.connections[1].sent < unread.sent + 5_000:
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("tls", [False, True])
async def test_whatever_comes_in_over_tcp_hurts_only_itself(play, tls):
    simulator = await play(rate=1000.0, ssl_context=server_tls() if tls else None)
    port = int(simulator.ws_url.rsplit(":", 1)[1])
    for rubbish in (
        b"",
        b"\x16\x03\x01\x00\x05hello",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /public/ws HTTP/1.1\r\n\r\n",
        b"\x00" * 100_000,
    ):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        try:
            await stream.send_all(rubbish)
        except trio.BrokenResourceError:
            pass
        await trio.aclose_forcefully(stream)
    async with frame_client(simulator, "/public/ws/btcusdt@bookTicker") as client:
        await client.read_until(1)
        await client.stream.send_all(b"\xff" * 100)  # not a frame
        await client.read_all()
    async with connect(simulator, "/public/ws/btcusdt@bookTicker") as websocket:
        assert unwrapped([await websocket.get_message()])


@pytest.mark.parametrize("tls", [False, True])
async def test_it_stops_at_once_whoever_is_connected(tls):
    options = BinanceOptions(rate=5000.0, ssl_context=server_tls() if tls else None)
    async with httpcore.AsyncConnectionPool() as http, AsyncExitStack() as clients:
        async with trio.open_nursery() as server:
            simulator = await server.start(serve_binance, options)
            assert (await http.request("GET", simulator.rest_url + "/fapi/v1/time")).status == 200  # this connection stays open
            path = "/public/stream?streams=" + streams(simulator, "bookTicker")
            reading, _ = [await clients.enter_async_context(frame_client(simulator, path)) for _ in range(2)]
            await reading.read_until(100)
            stop = trio.current_time()
            server.cancel_scope.cancel()
        assert trio.current_time() - stop < 0.5


def test_symbols_are_listed_once_and_in_capitals():
    assert BinanceOptions(symbols=("btcusdt", "BTCUSDT", "ethusdt")).symbols == ("BTCUSDT", "ETHUSDT")
