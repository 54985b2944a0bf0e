"""How every wire ends: what was said before is delivered, why it ended is told, and exceptions of others pass through."""

from __future__ import annotations

import pytest
import trio

from intake.support import CLOSE, CONT, PING, Peer, Setting, close_frame, drain, frame, take
from quantlab_collector.intake.transport import FaultKind, TransportFault


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1009, 1011, 1012, 1013, 4000])
async def test_the_peer_closes(setting: Setting, code: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"last words") + close_frame(code, "grüße"))
        assert (await peer.next_close())[0] == code

    async with setting.talk(script) as wire:
        messages, fault = await drain(wire)
        with pytest.raises(TransportFault):
            await wire.send(b"too late")

    assert messages == [b"last words"]
    assert (fault.kind, fault.close_code, fault.close_reason) == (FaultKind.CLOSED, code, "grüße")


async def test_the_peer_closes_without_a_code(plain: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(close_frame())
        assert (await peer.next_frame())[0] == CLOSE

    async with plain.talk(script) as wire:
        messages, fault = await drain(wire)

    assert messages == []
    assert (fault.kind, fault.close_code) == (FaultKind.CLOSED, 1005)


@pytest.mark.parametrize(
    "tail", [b"", frame(b"cut off")[:1], frame(b"cut off")[:5]], ids=["no rest", "half a header", "half a message"]
)
async def test_the_peer_leaves_without_a_word(setting: Setting, tail: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"whole") + tail)

    async with setting.talk(script) as wire:
        messages, fault = await drain(wire)

    assert messages == [b"whole"]
    assert (fault.kind, fault.close_code) == (FaultKind.CLOSED, 1006)


async def test_the_connection_is_reset(setting: Setting) -> None:
    arrived = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"whole") + frame(b"cut off")[:5])
        await arrived.wait()
        peer.reset()

    async with setting.talk(script) as wire:
        messages = await take(wire, 1)
        arrived.set()
        more, fault = await drain(wire)

    assert messages + more == [b"whole"]
    assert (fault.kind, fault.close_code) == (FaultKind.CLOSED, 1006)


WRONG = {
    "rsv1": frame(b"compressed", rsv=4),
    "opcode 3": frame(b"?", opcode=3),
    "opcode 11": frame(b"?", opcode=11),
    "masked": frame(b"masked", masked=True),
    "no beginning": frame(b"no beginning", CONT),
    "no end": frame(fin=False) + frame(b"no end"),
    "long ping": frame(b"x" * 126, PING),
    "fragmented ping": frame(b"", PING, fin=False),
    "short close": frame(b"\x03", CLOSE),
    "wrong code": close_frame(1005),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_the_peer_breaks_the_protocol(plain: Setting, wrong: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"good") + wrong + frame(b"never seen"))
        if plain.is_default:  # the other library says nothing
            assert (await peer.next_close())[0] == 1002
        await peer.wait_for_end()

    async with plain.talk(script) as wire:
        messages, fault = await drain(wire)

    assert messages == [b"good"]
    assert (fault.kind, fault.close_code) == (FaultKind.PROTOCOL, 1002)
    assert fault.detail


@pytest.mark.parametrize("size", [101, 126, 0x10000])
async def test_a_message_above_the_limit(setting: Setting, size: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"x" * 100))
        if setting.is_default:
            await peer.send(frame(b"x" * size)[:10])
        else:  # counts what comes in
            await peer.send(frame(b"x" * size))
        assert (await peer.next_close())[0] == 1009
        await peer.wait_for_end()

    async with setting.talk(script, max_message_bytes=100) as wire:
        await take(wire, 1)
        messages, fault = await drain(wire)

    assert messages == []
    assert (fault.kind, fault.close_code) == (FaultKind.TOO_BIG, 1009)


async def test_fragments_above_the_limit(plain: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"x" * 60, fin=False) + frame(b"x" * 60, CONT, fin=False))
        assert (await peer.next_close())[0] == 1009
        await peer.wait_for_end()

    async with plain.talk(script, max_message_bytes=100) as wire:
        messages, fault = await drain(wire)

    assert messages == []
    assert (fault.kind, fault.close_code) == (FaultKind.TOO_BIG, 1009)


async def test_an_absurd_length_is_refused_by_its_header(plain: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(b"\x81\x7f" + (2**62).to_bytes(8, "big"))
        if not plain.is_default:  # waits for the payload, but buffers no more than the limit
            await peer.send(b"x" * 101)
        assert (await peer.next_close())[0] == 1009
        await peer.wait_for_end()

    async with plain.talk(script, max_message_bytes=100) as wire:
        messages, fault = await drain(wire)

    assert messages == []
    assert fault.kind is FaultKind.TOO_BIG


async def test_we_close_and_hear_the_peer_out(setting: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(b"before"))
        assert await peer.next_close() == (1001, "on our way")
        await peer.send(frame(b"on its way"), frame(b"ping", PING), frame(b"like", fin=False), frame(b"wise", CONT))
        await peer.send(close_frame(1001, "bye"))

    async with setting.talk(script, close_timeout=2 if setting.is_default else 0.05) as wire:
        assert await take(wire, 1) == [b"before"]
        await wire.start_close(1001, "on our way")
        with pytest.raises(TransportFault):
            await wire.send(b"too late")
        messages, fault = await drain(wire)

    if setting.is_default:
        assert messages == [b"on its way", b"likewise"]
        assert (fault.kind, fault.close_code, fault.close_reason) == (FaultKind.CLOSED, 1001, "bye")
    else:  # its library discards what comes after our close frame, and stumbles over the ping
        assert messages == []
        assert fault.kind in (FaultKind.CLOSED, FaultKind.TIMEOUT)


async def test_we_close_while_another_task_receives(plain: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.next_close()
        await peer.send(close_frame(1000))

    async with plain.talk(script, close_timeout=2) as wire, trio.open_nursery() as nursery:
        ended: list[TransportFault] = []

        async def receive() -> None:
            ended.append((await drain(wire))[1])

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await wire.start_close()

    assert [fault.kind for fault in ended] == [FaultKind.CLOSED]


@pytest.mark.parametrize("already_receiving", [False, True])
async def test_the_peer_never_answers_our_close_frame(plain: Setting, already_receiving: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.next_close()
        await trio.sleep_forever()

    faults: list[TransportFault] = []
    async with plain.talk(script, close_timeout=0.1) as wire, trio.open_nursery() as nursery:

        async def receive() -> None:
            faults.append((await drain(wire))[1])

        if already_receiving:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
        await wire.start_close()
        if not already_receiving:
            nursery.start_soon(receive)

    if plain.is_default or not already_receiving:  # the other library wakes its reader at once
        assert [fault.kind for fault in faults] == [FaultKind.TIMEOUT]


async def test_leaving_says_goodbye_at_once(setting: Setting) -> None:
    heard = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        assert (await peer.next_close())[0] == 1000
        if not setting.is_default:  # the other wire waits for an answer, for as long as ``close_timeout``
            await peer.send(close_frame(1000))
        await peer.wait_for_end()
        heard.set()

    async with setting.serve(script) as url:
        with trio.fail_after(2):
            async with setting.open_wire(url, setting.options(close_timeout=5)):
                pass
            await heard.wait()


async def test_a_peer_that_does_not_read(setting: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await trio.sleep_forever()

    async with setting.talk(script, send_timeout=0.1, close_timeout=0.1) as wire:
        with pytest.raises(TransportFault) as caught:
            while True:
                await wire.send(b"x" * 500_000)
        with pytest.raises(TransportFault) as again:
            await wire.send(b"x")

    assert caught.value.kind is again.value.kind is FaultKind.TIMEOUT


# ------------------------------------------------------------------------------------------- exceptions come out as they are


async def test_the_users_exception_is_not_wrapped(plain: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(frame(b"x"))
        await peer.wait_for_end()

    async with plain.serve(script) as url:
        with pytest.raises(ZeroDivisionError):
            async with plain.open_wire(url, plain.options(close_timeout=0.05)) as wire:
                await wire.receive()
                raise ZeroDivisionError


async def test_the_user_is_cancelled(plain: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        assert (await peer.next_close())[0] == 1000

    async with plain.serve(script) as url:
        with trio.move_on_after(0.05) as scope:
            async with plain.open_wire(url, plain.options(close_timeout=0.05)) as wire:
                await wire.receive()
        assert scope.cancelled_caught
