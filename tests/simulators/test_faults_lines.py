"""What can be done to an open connection, seen from its other end, and what the ledger says afterwards."""

from __future__ import annotations

import json
import socket
import struct

import pytest
import trio

from simulators.support import about, closed, connect, frame_client, in_ledger, server_tls, streams

BOTH = pytest.mark.parametrize("tls", [False, True])
CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 3000, 4004]


def quotes(simulator):
    return "/public/stream?streams=" + streams(simulator, "bookTicker")


def got(simulator, client):
    return sorted(about(simulator, json.loads(message)["data"]) for message in client.messages)


@BOTH
async def test_a_close_frame_and_nothing_after_it(play, tls):
    simulator = await play(ssl_context=server_tls() if tls else None)
    async with frame_client(simulator, quotes(simulator)) as client:
        await client.read_until(500)
        injection = simulator.faults.close(1001, "going away")
        await client.read_all()
        assert (client.protocol.close_code, client.protocol.close_reason) == (1001, "going away")
        assert await closed(simulator, 1) == (1001, "going away")
        assert got(simulator, client) == sorted(in_ledger(simulator, 1))
    assert injection.hits == 1


async def test_any_code_for_one_connection_at_a_time(play):
    simulator = await play(rate=1000.0)
    for number, code in enumerate(CODES, start=1):
        async with frame_client(simulator, quotes(simulator)) as client:
            simulator.faults.close(code, f"because {code}", connection=number)
            await client.read_all()
            assert (client.protocol.close_code, client.protocol.close_reason) == (code, f"because {code}")
    assert len(simulator.faults.injected) == len(CODES)


async def test_one_connection_and_not_the_others(play):
    simulator = await play(rate=1000.0)
    async with (
        frame_client(simulator, quotes(simulator)) as one,
        frame_client(simulator, quotes(simulator)) as two,
        frame_client(simulator, quotes(simulator)) as three,
    ):
        simulator.faults.cut(connection=2)
        await two.read_all()
        await one.read_until(10)
        await three.read_until(10)
        assert (await closed(simulator, 2))[0] == 1006
        assert [info.closed_ns is None for info in simulator.connections] == [True, False, True]
        with pytest.raises(ValueError, match="connection 2 is not open"):
            simulator.faults.reset(connection=2)


@pytest.mark.parametrize("code", [1005, 1006, 1015])
async def test_codes_that_are_never_sent(play, code):
    simulator = await play()
    with pytest.raises(ValueError, match="never stands in a close frame"):
        simulator.faults.close(code)
    assert simulator.faults.injected == []


@BOTH
async def test_cut_without_a_close_frame(play, tls):
    simulator = await play(ssl_context=server_tls() if tls else None)
    async with frame_client(simulator, quotes(simulator)) as client:
        await client.read_until(500)
        injection = simulator.faults.cut()
        with trio.fail_after(2):
            try:
                await client.read_all()
            except trio.BrokenResourceError:
                assert tls  # its end without close_notify
        assert not client.closed_by_server
        assert (await closed(simulator, 1))[0] == 1006
        # FIN comes behind what the kernel had taken: all of it arrives.
        assert got(simulator, client) == sorted(in_ledger(simulator, 1))
    assert injection.hits == 1


@BOTH
async def test_a_reset_throws_away_what_is_on_its_way(play, tls):
    simulator = await play(ssl_context=server_tls() if tls else None)
    async with frame_client(simulator, quotes(simulator)) as client:
        await client.read_until(500)
        simulator.faults.reset()
        with trio.fail_after(2), pytest.raises(trio.BrokenResourceError) as end:
            await client.read_all()
        assert isinstance(end.value.__cause__, ConnectionResetError) or tls
        assert (await closed(simulator, 1))[0] == 1006
        assert set(got(simulator, client)) <= set(in_ledger(simulator, 1))


@BOTH
async def test_frozen_in_the_middle(play, tls):
    simulator = await play(limit=20_000, ssl_context=server_tls() if tls else None)
    async with frame_client(simulator, quotes(simulator)) as frozen, frame_client(simulator, quotes(simulator)) as client:
        await frozen.read_until(300)
        injection = simulator.faults.freeze(connection=1)
        with trio.move_on_after(0.3) as waiting:
            await frozen.read_all()
        assert waiting.cancelled_caught
        assert not frozen.closed_by_server
        assert (await closed(simulator, 1))[0] == 1006
        # What the kernel had taken still came; of the frame that was on its way not the whole.
        assert got(simulator, frozen) == sorted(in_ledger(simulator, 1))
        await client.read_until(len(frozen.messages) + 100)
    assert injection.hits == 1


async def test_what_hangs_ends_with_the_simulator(play, nursery):
    simulator = await play(rate=100.0)
    async with frame_client(simulator, quotes(simulator)) as client:
        simulator.faults.freeze()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(2):
            await trio.sleep(0.05)
            assert simulator.faults._held == []
            try:
                assert await client.stream.receive_some() == b""
            except trio.BrokenResourceError:
                pass


@BOTH
async def test_slow_loris_is_slow_in_frames_and_in_handshakes(play, tls):
    simulator = await play(rate=50.0, ssl_context=server_tls() if tls else None)
    async with frame_client(simulator, quotes(simulator)) as client:
        await client.read_until(3)
        injection = simulator.faults.slow_loris(100.0)
        await trio.sleep(0.05)
        received = len(client.messages), simulator.ledger.total
        with trio.move_on_after(0.2):
            await client.read_all()
        # A message has about 200 bytes: hardly a tenth of one in that time.
        assert len(client.messages) - received[0] <= 5
        assert simulator.ledger.total - received[1] <= 1
        with trio.move_on_after(0.2) as waiting:
            async with frame_client(simulator, quotes(simulator)):
                pass
        assert waiting.cancelled_caught
        assert injection.hits == 2
        simulator.faults.relent()
        before = len(client.messages)
        await client.read_until(before + 10)
        simulator.pause()
        with trio.move_on_after(0.2):
            await client.read_all()
        assert got(simulator, client) == sorted(in_ledger(simulator, 1))


async def test_slow_for_one_alone(play):
    simulator = await play(rate=1000.0)
    async with frame_client(simulator, quotes(simulator)) as slow, frame_client(simulator, quotes(simulator)) as client:
        simulator.faults.slow_loris(10.0, connection=1)
        await client.read_until(500)
        assert len(slow.messages) < 100
    async with frame_client(simulator, quotes(simulator)) as client:
        await client.read_until(100)


async def test_words_that_are_no_event(play):
    simulator = await play(rate=100.0)
    async with connect(simulator, quotes(simulator)) as websocket:
        injection = simulator.faults.say('{"e":"nobody knows"}')
        simulator.faults.say(b"\x00\xff", connection=1)
        seen = []
        with trio.fail_after(2):
            while not {'{"e":"nobody knows"}', b"\x00\xff"} <= set(seen):
                seen.append(await websocket.get_message())
        simulator.pause()
        await simulator.wait_quiet()
        assert simulator.ledger.total == simulator.connections[0].sent
    assert injection.hits == 1
    assert injection.detail == 'message={"e":"nobody knows"}'


async def test_who_is_already_gone_is_no_trouble(play):
    simulator = await play(rate=5000.0)
    async with frame_client(simulator, quotes(simulator)) as client:
        await client.read_until(10)
        client.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.stream.socket.close()
        for verb in (simulator.faults.close, simulator.faults.cut, simulator.faults.freeze, simulator.faults.reset):
            verb()
    async with frame_client(simulator, quotes(simulator)) as client:
        await client.read_until(10)
