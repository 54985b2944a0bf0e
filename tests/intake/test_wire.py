"""What only the default wire promises: no frame is torn, and nothing that came is lost, whatever goes wrong on the way out."""

from __future__ import annotations

import socket

import pytest
import trio

from intake.support import PING, PONG, TEXT, Peer, Setting, close_frame, drain, frame, take
from quantlab_collector.intake.transport import FaultKind, TransportFault
from quantlab_collector.intake.wire import open_wire

PLAIN = Setting("wire", open_wire, secure=False)
SECURE = Setting("wire", open_wire, secure=True)

both = pytest.mark.parametrize("setting", [PLAIN, SECURE], ids=["plain", "tls"])


def narrow(wire) -> None:
    """Let the kernel take little at a time."""
    wire._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)


@both
async def test_receive_cancelled_while_it_answers_pings(setting: Setting) -> None:
    reads, pings = trio.Event(), 10_000

    async def script(peer: Peer) -> None:
        await peer.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                peer.send,
                b"".join(frame(b"%0120d" % i, PING) + (frame(b"%d" % i) if i % 500 == 0 else b"") for i in range(pings)),
            )
            await reads.wait()
            for i in range(pings):
                assert await peer.next_frame() == (PONG, b"%0120d" % i)
        await peer.send(close_frame(1000))
        await peer.next_close()

    async with setting.talk(script) as wire:
        narrow(wire)
        messages: list[bytes] = []
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_when_stuck, scope)
                while True:
                    messages += await wire.receive()
        assert wire._outgoing, "it was cancelled in the middle of sending"
        reads.set()
        more, fault = await drain(wire)

    assert messages + more == [b"%d" % i for i in range(0, pings, 500)]
    assert fault.close_code == 1000


@both
async def test_what_came_with_a_ping_is_given_before_the_ping_is_answered(setting: Setting) -> None:
    """To answer gives way to others, and what they read meanwhile would be recorded before what was read first."""
    given = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"first") + frame(b"still there?", PING))
        await given.wait()
        assert await peer.next_frame() == (PONG, b"still there?")
        await peer.send(frame(b"last words") + close_frame(1001))
        await peer.next_close()

    async with setting.talk(script) as wire:
        assert await wire.receive() == [b"first"]
        assert wire._outgoing, "the answer was sent first"
        given.set()
        assert await wire.receive() == [b"last words"]
        assert wire._outgoing, "the answer was sent first"
        with pytest.raises(TransportFault, match="1001"):
            await wire.receive()
        assert not wire._outgoing


@both
async def test_a_cancelled_send_tears_no_frame(setting: Setting) -> None:
    reads = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await reads.wait()
        assert await peer.next_frame() == (TEXT, b"x" * 2_000_000)
        assert await peer.next_frame() == (TEXT, b"next")
        await peer.send(close_frame(1000))
        await peer.next_close()

    async with setting.talk(script) as wire:
        narrow(wire)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_when_stuck, scope)
                await wire.send(b"x" * 2_000_000)
        assert scope.cancelled_caught
        reads.set()
        await wire.send(b"next")
        assert (await drain(wire))[1].close_code == 1000


async def cancel_when_stuck(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked(0.05)
    scope.cancel()


async def test_last_words_are_heard_after_a_failed_send() -> None:
    """The peer says why it leaves and is gone. We find out by sending, and still read what it said."""
    gone = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.next_frame()
        await peer.send(frame(b"last words") + close_frame(1008, "banned"))
        peer.tcp.socket.close()
        gone.set()

    async with PLAIN.talk(script) as wire:
        await wire.send(b"hello")
        await gone.wait()
        with pytest.raises(TransportFault) as caught:
            while True:
                await wire.send(b"still there?")
        messages, fault = await drain(wire)

    assert (caught.value.kind, caught.value.close_code) == (FaultKind.CLOSED, 1006)
    assert messages == [b"last words"]
    assert (fault.kind, fault.close_code, fault.close_reason) == (FaultKind.CLOSED, 1008, "banned")


async def test_tls_breaks_after_the_handshake() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"good"))
        await peer.tcp.send_all(b"\x17\x03\x03\x00\x20" + b"not encrypted with our key......")
        await peer.wait_for_end()

    async with SECURE.talk(script) as wire:
        messages, fault = await drain(wire)

    assert messages == [b"good"]
    assert fault.kind is FaultKind.TLS


async def test_the_fault_is_told_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(close_frame(1012))
        await peer.wait_for_end()

    async with PLAIN.talk(script) as wire:
        for _ in range(3):
            with pytest.raises(TransportFault, match="1012"):
                await take(wire, 1)
        await wire.start_close()  # too late, and harmless
