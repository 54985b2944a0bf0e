"""The ledger says what was sent: exactly what clients found on the wire, neither more nor less."""

from __future__ import annotations

import json
import random
from contextlib import AsyncExitStack

import pytest
import trio

from quantlab_collector.contracts.events import StreamType
from simulators.support import about, closed, connect, frame_client, in_ledger, server_tls, streams, unwrapped


@pytest.mark.parametrize("tls", [False, True])
async def test_the_ledger_is_what_all_clients_received(play, tls):
    simulator = await play(limit=2500, ssl_context=server_tls() if tls else None)
    assert simulator.ws_url.startswith("wss://localhost:" if tls else "ws://127.0.0.1:")
    paths = [
        "/public/stream?streams=" + streams(simulator, "bookTicker"),
        "/market/stream?streams=" + streams(simulator, "aggTrade", "markPrice@1s"),
        "/public/ws/btcusdt@bookTicker",
    ]
    received: list[list[dict]] = []
    simulator.pause()  # so that all are there from the first event
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(simulator, path)) for path in paths]
        simulator.resume()
        with trio.fail_after(10):
            await simulator.wait_quiet()
            for client, info in zip(clients, simulator.connections, strict=True):
                received.append(unwrapped([await client.get_message() for _ in range(info.sent)]))

    for number, payloads in enumerate(received, start=1):
        assert sorted(about(simulator, payload) for payload in payloads) == sorted(in_ledger(simulator, number))
    assert [info.missed for info in simulator.connections] == [0, 0, 0]
    assert len(received[0]) + len(received[1]) == 2500
    assert simulator.ledger.total == sum(map(len, received)) == 2500 + len(received[2])
    for symbol in simulator.options.symbols:  # and without a hole
        for kind in (StreamType.BBO, StreamType.TRADE, StreamType.MARK_PRICE):
            numbers = [number for number, _, _ in simulator.ledger.sent(kind, symbol, 1 if kind is StreamType.BBO else 2)]
            assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("tls", [False, True])
async def test_two_connections_get_the_same_event(play, tls):
    simulator = await play(limit=1000, ssl_context=server_tls() if tls else None)
    simulator.pause()
    path = "/public/stream?streams=" + streams(simulator, "bookTicker")
    async with frame_client(simulator, path) as one, frame_client(simulator, path) as two:
        simulator.resume()
        await one.read_until(1000)
        await two.read_until(1000)
        assert one.messages == two.messages
        await simulator.wait_quiet()  # the clients know a moment before the ledger does
        assert in_ledger(simulator, 1) == in_ledger(simulator, 2)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_client_that_closes_in_the_middle_gets_what_stands_in_the_ledger(play, tls):
    simulator = await play(rate=15_000.0, ssl_context=server_tls() if tls else None)
    path = "/public/stream?streams=" + streams(simulator, "bookTicker")
    dice = random.Random(1)
    for number in range(1, 5):
        async with frame_client(simulator, path) as client:
            await client.read_until(dice.randrange(1, 1000))
            await client.close()  # reads on until the server's own close frame
            assert client.closed_by_server
            got = [about(simulator, json.loads(message)["data"]) for message in client.messages]
        assert sorted(got) == sorted(in_ledger(simulator, number))
        assert await closed(simulator, number) == (1000, "")
    before = simulator.ledger.total
    await trio.sleep(0.1)  # the market goes on, and nobody is sent anything
    assert simulator.ledger.total == before
    assert simulator.feed.happened > before


async def test_a_client_that_vanishes_leaves_the_others_alone(play):
    simulator = await play(rate=15_000.0, limit=3000)
    path = "/public/stream?streams=" + streams(simulator, "bookTicker")
    simulator.pause()
    async with frame_client(simulator, path) as staying:
        async with frame_client(simulator, path) as vanishing:
            simulator.resume()
            await vanishing.read_until(200)
            await trio.aclose_forcefully(vanishing.stream)
        await staying.read_until(3000)
        await simulator.wait_quiet()
    got = [about(simulator, json.loads(message)["data"]) for message in vanishing.messages]
    sent = set(in_ledger(simulator, 2))
    assert set(got) <= sent  # what was on its way is lost, and was accepted
    assert len(sent) < 3000
    assert len(in_ledger(simulator, 1)) == 3000


async def test_who_comes_back_finds_a_hole_in_the_trades(play):
    simulator = await play(rate=5000.0, symbols=("BTCUSDT",))
    ids: list[list[int]] = []
    for _ in range(2):
        async with frame_client(simulator, "/market/ws/btcusdt@aggTrade") as client:
            await client.read_until(100)
            await client.close()
            ids.append([json.loads(message)["a"] for message in client.messages])
        await trio.sleep(0.05)
    for some in ids:
        assert some == list(range(some[0], some[0] + len(some)))
    assert ids[1][0] > ids[0][-1] + 1


async def test_an_event_can_be_told_again_from_its_ledger_entry(play):
    simulator = await play(limit=500)
    async with frame_client(simulator, "/market/ws/" + streams(simulator, "aggTrade", "markPrice@1s")) as client:
        await client.read_until(500)
        await simulator.wait_quiet()
    told = {simulator.messages.text(e.kind, e.symbol, e.number, e.exchange_ms) for e in simulator.ledger.entries()}
    assert {message.decode() for message in client.messages} == told


async def test_times_are_the_wall_clocks(play):
    now = 1_790_757_176_000_000_000
    simulator = await play(limit=100, wall_clock=lambda: now)
    async with frame_client(simulator, "/public/ws/btcusdt@bookTicker") as client:
        await client.read_until(100)
        await simulator.wait_quiet()
    for _, exchange_ms, accepted_ns in simulator.ledger.sent(StreamType.BBO, "BTCUSDT"):
        assert accepted_ns == now
        assert 0 <= now // 10**6 - exchange_ms <= 3
    assert all(json.loads(message)["E"] * 10**6 <= now for message in client.messages)
