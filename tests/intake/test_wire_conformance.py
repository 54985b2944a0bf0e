"""What every wire does, seen from a peer that the test scripts byte by byte.

Where the trio-websocket wire may differ, the test says so at ``is_default``.
"""

from __future__ import annotations

import pytest
import trio

from intake.support import BINARY, CONT, PING, PONG, TEXT, Peer, Setting, accepting, close_frame, drain, frame, take
from quantlab_collector.exchanges.protocol import BinaryMessage
from quantlab_collector.intake import wire, wire_trio_websocket
from quantlab_collector.intake.transport import FaultKind, TransportFault

TICKER = b'{"e":"bookTicker","u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000"}'

# ------------------------------------------------------------------------------------------------------------- messages


async def test_messages_in_order(setting: Setting) -> None:
    sizes = [0, 1, 125, 126, 127, 1000, 0xFFFF, 0x10000, 200_000]

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(*[frame(b"x" * size) for size in sizes])
        await peer.send(b"".join(frame(b"%d" % i) for i in range(3000)))
        await peer.send(close_frame(1000))
        await peer.next_close()

    async with setting.talk(script) as wire:
        messages, fault = await drain(wire)

    assert [len(message) for message in messages[: len(sizes)]] == sizes
    assert messages[len(sizes) :] == [b"%d" % i for i in range(3000)]
    assert fault.kind is FaultKind.CLOSED


async def test_text_and_binary(setting: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame("ü".encode()) + frame(b"\x00\xff", BINARY) + frame(b"t"))
        await peer.send(frame(b"\xff", BINARY, fin=False) + frame(b"\x00", CONT))
        await peer.wait_for_end()

    async with setting.talk(script) as wire:
        messages = await take(wire, 4)

    assert messages == ["ü".encode(), b"\x00\xff", b"t", b"\xff\x00"]
    assert [type(message) for message in messages] == [bytes, BinaryMessage, bytes, BinaryMessage]


async def test_messages_right_behind_the_handshake(setting: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(b"one") + frame(b"two") + close_frame(1001))
        await peer.wait_for_end()

    async with setting.talk(script) as wire:
        messages, fault = await drain(wire)

    assert messages == [b"one", b"two"]
    assert (fault.kind, fault.close_code) == (FaultKind.CLOSED, 1001)


async def test_one_byte_at_a_time(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (wire, wire_trio_websocket):
        monkeypatch.setattr(module, "_READ_BYTES", 1)

    async def script(peer: Peer) -> None:
        frames = (
            frame(b"a"),
            frame(b"m" * 200),
            frame(b"", PING),
            frame(b"b", fin=False),
            frame(b"c", CONT),
            close_frame(1000, "end"),
        )
        stream = accepting(await peer.read_request()) + b"".join(frames)
        await peer.send(*[bytes([byte]) for byte in stream])
        await peer.next_close()

    async with setting.talk(script) as a_wire:
        messages, fault = await drain(a_wire)

    assert messages == [b"a", b"m" * 200, b"bc"]
    assert (fault.close_code, fault.close_reason) == (1000, "end")


@pytest.mark.parametrize("cut", [3, 129, 4096, 16_000])
async def test_frames_across_reads_and_records(setting: Setting, cut: int) -> None:
    """With TLS each piece is one record, so frames straddle records, or a record holds a hundred frames."""
    messages = [TICKER + b"%d" % i for i in range(20 * cut // len(TICKER) + 20)][:1500]
    stream = b"".join(map(frame, messages))

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(*[stream[at : at + cut] for at in range(0, len(stream), cut)])
        await peer.wait_for_end()

    async with setting.talk(script) as wire:
        assert await take(wire, len(messages)) == messages


async def test_one_frame_per_record(secure: Setting) -> None:
    messages = [TICKER + b"%d" % i for i in range(2000)]

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(*map(frame, messages))
        await peer.wait_for_end()

    async with secure.talk(script) as wire:
        assert await take(wire, len(messages)) == messages


async def test_fragments(setting: Setting) -> None:
    """Empty ones too, and pings, pongs and pieces of nothing between them."""
    pieces = [b"begin "] + [b"" if i % 3 else b"%d " % i for i in range(10_000)] + [b"end"]

    async def script(peer: Peer) -> None:
        await peer.accept()
        frames = [frame(piece, CONT if i else TEXT, fin=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
        frames[5000:5000] = [frame(b"are you there", PING), frame(b"nobody asked", PONG)]
        stream = b"".join([*frames, frame(b"whole"), frame(fin=False), frame(b"", CONT)])
        await peer.send(*[stream[at : at + 10_000] for at in range(0, len(stream), 10_000)])
        assert await peer.next_frame() == (PONG, b"are you there")
        await peer.wait_for_end()

    async with setting.talk(script) as wire:
        assert await take(wire, 3) == [b"".join(pieces), b"whole", b""]


async def test_invalid_utf8_is_for_the_decoder_to_judge(plain: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(b"good") + frame(b"\xff\xfe") + frame(b"good again") + close_frame(1000))
        await peer.wait_for_end()

    async with plain.talk(script) as wire:
        messages, fault = await drain(wire)

    if plain.is_default:
        assert messages == [b"good", b"\xff\xfe", b"good again"]
    else:  # its library decodes
        assert messages == [b"good"]
        assert (fault.kind, fault.close_code) == (FaultKind.PROTOCOL, 1007)


# ------------------------------------------------------------------------------------------------------------- answering


async def test_pings_are_answered_while_the_consumer_is_stalled(setting: Setting) -> None:
    """The channel is full and nobody reads it: the read loop offers, drops, and goes on."""
    sent = 1500

    async def script(peer: Peer) -> None:
        await peer.accept()
        for i in range(sent):
            await peer.send(frame(b"%d" % i))
        await peer.send(frame(b"still there?", PING))
        assert await peer.next_frame() == (PONG, b"still there?")
        await peer.send(close_frame(1000))
        await peer.next_close()

    offers, stalled = trio.open_memory_channel[bytes](10)
    dropped = 0
    with offers, stalled:
        async with setting.talk(script) as wire:
            with pytest.raises(TransportFault, match="1000"):
                while True:
                    for message in await wire.receive():
                        try:
                            offers.send_nowait(message)
                        except trio.WouldBlock:
                            dropped += 1
        assert stalled.statistics().current_buffer_used + dropped == sent
        assert dropped == sent - 10


async def test_several_tasks_send(setting: Setting) -> None:
    """Pongs go out between; each sender's messages arrive whole and in its order."""
    senders, each = 8, 40

    async def script(peer: Peer) -> None:
        await peer.accept()
        pongs, arrived = [], {sender: [] for sender in range(senders)}
        await peer.send(*[frame(b"%d" % i, PING) for i in range(50)])
        while len(pongs) < 50 or sum(map(len, arrived.values())) < senders * each:
            opcode, payload = await peer.next_frame()
            if opcode == PONG:
                pongs.append(payload)
            else:
                assert opcode == TEXT
                sender, i, rest = payload.split(b" ")
                assert set(rest) <= set(b"x")
                arrived[int(sender)].append((int(i), len(rest)))
        assert pongs == [b"%d" % i for i in range(50)]
        assert arrived == {sender: [(i, i * 50) for i in range(each)] for sender in range(senders)}
        await peer.send(close_frame(1000))
        await peer.next_close()

    async with setting.talk(script) as wire, trio.open_nursery() as nursery:

        async def send(sender: int) -> None:
            for i in range(each):
                await wire.send(b"%d %d " % (sender, i) + b"x" * (i * 50))

        for sender in range(senders):
            nursery.start_soon(send, sender)
        assert (await drain(wire))[1].close_code == 1000


async def test_cancelling_receive_loses_nothing(setting: Setting) -> None:
    sent = [b"%d" % i for i in range(2000)]

    async def script(peer: Peer) -> None:
        await peer.accept()
        for i in range(0, len(sent), 10):
            stream = b"".join(map(frame, sent[i : i + 10])) + frame(b"%d" % i, PING)
            await peer.send(stream[:17], stream[17:])
            assert await peer.next_frame() == (PONG, b"%d" % i)
        await peer.send(close_frame(1000))
        await peer.next_close()

    messages: list[bytes] = []
    fault = None
    calls = cancelled = 0
    async with setting.talk(script) as wire, trio.open_nursery() as nursery:
        while fault is None:
            calls += 1
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_soon, scope, calls % 4)
                try:
                    messages += await wire.receive()
                except TransportFault as error:
                    fault = error
            cancelled += scope.cancelled_caught

    assert messages == sent
    assert fault.close_code == 1000
    assert cancelled > 10


async def cancel_soon(scope: trio.CancelScope, turns: int) -> None:
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    scope.cancel()
