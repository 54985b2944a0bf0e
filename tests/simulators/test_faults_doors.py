"""Who knocks at a simulator under orders: refused, banned, or left standing, over WebSocket and over REST."""

from __future__ import annotations

from contextlib import AsyncExitStack

import httpcore
import pytest
import trio

from simulators.support import connect, frame_client, server_tls, status_of

QUOTES = "/public/ws/btcusdt@bookTicker"
HANDSHAKE = (
    f"GET {QUOTES} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


def port_of(simulator):
    return int(simulator.ws_url.rsplit(":", 1)[1])


async def answer_to_handshake(simulator):
    async with await trio.open_tcp_stream("127.0.0.1", port_of(simulator)) as stream:
        await stream.send_all(HANDSHAKE)
        with trio.fail_after(2):
            return (await stream.receive_some()).decode().lower()


async def rest_status(simulator, http):
    with trio.fail_after(2):
        response = await http.request("GET", simulator.rest_url + "/fapi/v1/time")
    return response.status, dict(response.headers).get(b"Retry-After", dict(response.headers).get(b"retry-after"))


async def test_refused_so_many_times(play):
    simulator = await play()
    injection = simulator.faults.refuse(429, retry_after=7, count=2)
    for _ in range(2):
        answer = await answer_to_handshake(simulator)
        assert answer.startswith("http/1.1 429 ")
        assert "\r\nretry-after: 7\r\n" in answer
    assert await status_of(simulator, QUOTES) == 101
    assert injection.hits == 2
    assert injection.ordered_ns <= injection.first_ns <= injection.last_ns
    assert simulator.faults.injected == [injection]
    assert len(simulator.connections) == 1  # who is refused has no number


async def test_refused_for_a_time_and_until_it_relents(play):
    simulator = await play()
    simulator.faults.refuse(503, for_seconds=0.2)
    assert await status_of(simulator, QUOTES) == 503
    await trio.sleep(0.2)
    assert await status_of(simulator, QUOTES) == 101
    simulator.faults.refuse(503)
    assert [await status_of(simulator, QUOTES) for _ in range(3)] == [503] * 3
    simulator.faults.relent()
    assert await status_of(simulator, QUOTES) == 101


async def test_a_ban_is_for_rest_too_and_tells_what_is_left_of_it(play):
    simulator = await play()
    async with httpcore.AsyncConnectionPool() as http:
        ban = simulator.faults.ban(1.1)
        answer = await answer_to_handshake(simulator)
        assert answer.startswith("http/1.1 418 ")
        assert "\r\nretry-after: 2\r\n" in answer
        await trio.sleep(0.2)
        assert await rest_status(simulator, http) == (418, b"1")
        await trio.sleep(0.95)
        assert (await rest_status(simulator, http))[0] == 200
        assert await status_of(simulator, QUOTES) == 101
    assert ban.hits == 2


async def test_rest_alone(play):
    simulator = await play()
    async with httpcore.AsyncConnectionPool() as http:
        simulator.faults.refuse(503, count=1, rest=True)
        assert await status_of(simulator, QUOTES) == 101
        assert (await rest_status(simulator, http))[0] == 503
        simulator.faults.hang(rest=True)
        with trio.move_on_after(0.2) as waiting:
            await rest_status(simulator, http)
        assert waiting.cancelled_caught
        assert (await rest_status(simulator, http))[0] == 200


@pytest.mark.parametrize("tls", [False, True])
async def test_a_handshake_that_is_never_answered(play, tls):
    simulator = await play(ssl_context=server_tls() if tls else None)
    injection = simulator.faults.hang(count=1)
    with trio.move_on_after(0.2) as waiting:
        async with frame_client(simulator, QUOTES):
            pass
    assert waiting.cancelled_caught
    async with frame_client(simulator, QUOTES) as client:
        await client.read_until(5)
    assert injection.hits == 1
    assert len(simulator.connections) == 1


@pytest.mark.parametrize("tls", [False, True])
async def test_half_open_from_the_start(play, tls):
    simulator = await play(limit=3000, symbols=("BTCUSDT",), ssl_context=server_tls() if tls else None)
    injection = simulator.faults.half_open()
    simulator.pause()
    async with frame_client(simulator, QUOTES) as silent, frame_client(simulator, QUOTES) as client:
        simulator.resume()
        await client.read_until(100)
        with trio.move_on_after(0.2) as waiting:
            await silent.read()
        assert waiting.cancelled_caught  # no data, and no end either
        assert silent.messages == silent.pings == []
        await silent.stream.send_all(b"\x8a\x80\x00\x00\x00\x00")  # TCP still takes what we send
        await client.read_until(3000)
        with trio.fail_after(2):
            await simulator.wait_quiet()  # nobody waits for the one that hangs
    assert injection.hits == 1
    assert simulator.connections[0].sent == 0
    assert list(simulator.ledger.entries(1)) == []


async def test_a_restart_refuses_tcp_for_a_while(play):
    simulator = await play(rate=1000.0)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(frame_client(simulator, QUOTES)) for _ in range(2)]
        await clients[0].read_until(5)
        start = trio.current_time()
        injection = simulator.faults.restart(0.3, code=1012, reason="service restart")
        for client in clients:
            await client.read_all()
            assert (client.protocol.close_code, client.protocol.close_reason) == (1012, "service restart")
        refusals = 0
        while True:
            try:
                await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port_of(simulator)))
                break
            except OSError:
                refusals += 1
                await trio.sleep(0.01)
        assert refusals > 5
        assert 0.3 <= trio.current_time() - start < 1
    async with connect(simulator, QUOTES) as websocket:
        assert await websocket.get_message()
    assert injection.hits == 1
    assert [injection.verb for injection in simulator.faults.injected] == ["restart", "close"]
    assert [info.close_code for info in simulator.connections[:2]] == [1012, 1012]


async def test_restarts_may_follow_one_another(play):
    simulator = await play(rate=1000.0)
    simulator.faults.restart(0.05, code=None)
    simulator.faults.restart(0.1, code=None)
    await trio.sleep(0.3)
    simulator.faults.restart(0.05, code=None)
    await trio.sleep(0.02)
    with pytest.raises(OSError):
        await status_of(simulator, QUOTES)
    await trio.sleep(0.2)
    assert await status_of(simulator, QUOTES) == 101
