"""How every wire fails to open: one fault of the right kind, soon, and nothing left open."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from email.utils import format_datetime

import pytest
import trio
import trustme

from intake.support import UPGRADE, Peer, Setting, accepting, close_frame, drain, listening, opening_fault, server_tls, take
from quantlab_collector.intake.transport import FaultKind, retry_after_seconds

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize("status", [301, 403, 418, 429, 503])
async def test_refused(setting: Setting, status: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 %d No\r\nContent-Length: 9\r\n\r\nnot today" % status)

    fault = await setting.fault_of(script)
    assert (fault.kind, fault.status, fault.retry_after) == (FaultKind.REFUSED, status, None)


async def test_refused_with_a_time_to_wait(plain: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 429 Slow down\r\nretry-after: 120\r\nContent-Length: 0\r\n\r\n")
        await peer.wait_for_end()

    assert (await plain.fault_of(script)).retry_after == 120.0


async def test_refused_until_a_date(plain: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        date = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(minutes=2), usegmt=True)
        await peer.send(b"HTTP/1.1 418 Teapot\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n" % date.encode())
        await peer.wait_for_end()

    fault = await plain.fault_of(script)
    assert fault.status == 418
    assert 100 < fault.retry_after <= 120


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120.0),
        ("Thursday, 01-Jan-26 00:02:00 GMT", 120.0),
        ("Thu Jan  1 00:02:00 2026", 120.0),
        ("Thu, 01 Jan 2026 00:02:00 -0000", 120.0),
        ("Wed, 31 Dec 2025 00:02:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1e9", None),
        ("9" * 5000, None),
        ("Thu, 99 Jan 2026 00:02:00 GMT", None),
        ("Thu, 01 Jan 2026 00:02:00 +99999999999999", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        UPGRADE + b"\r\n",
        UPGRADE + b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
    ids=["another protocol", "noise", "no accept", "wrong accept", "no upgrade"],
)
async def test_an_answer_of_no_websocket_server(plain: Setting, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(answer)
        await peer.wait_for_end()

    fault = await plain.fault_of(script, connect_timeout=5)
    assert fault.kind is FaultKind.HANDSHAKE
    assert fault.detail


async def test_compression_that_nobody_asked_for(plain: Setting) -> None:
    async def script(peer: Peer) -> None:
        response = accepting(await peer.read_request())
        await peer.send(response[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
        await peer.wait_for_end()

    assert (await plain.fault_of(script, connect_timeout=5)).kind is FaultKind.HANDSHAKE


@pytest.mark.parametrize("answer", [b"", UPGRADE], ids=["before", "within"])
async def test_the_peer_closes_during_the_handshake(setting: Setting, answer: bytes) -> None:
    """Noticed at once, not when the limit has passed."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(answer)

    assert (await setting.fault_of(script, connect_timeout=60)).kind is FaultKind.HANDSHAKE


async def test_the_peer_resets_during_the_handshake(plain: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.reset()

    assert (await plain.fault_of(script, connect_timeout=60)).kind is FaultKind.HANDSHAKE


async def test_the_peer_accepts_and_never_answers(setting: Setting) -> None:
    fault = await setting.fault_of(lambda peer: peer.wait_for_end(), connect_timeout=0.15)
    assert fault.kind is FaultKind.TIMEOUT


async def test_the_peer_answers_a_byte_at_a_time(plain: Setting) -> None:
    """The limit is for the whole handshake: bytes that come in do not extend it."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await peer.send(b"H")
                await trio.sleep(0.02)

    assert (await plain.fault_of(script, connect_timeout=0.15)).kind is FaultKind.TIMEOUT


async def test_the_request(setting: Setting) -> None:
    requests: list[bytes] = []

    async def script(peer: Peer) -> None:
        requests.append(await peer.read_request())
        await peer.send(accepting(requests[0]) + close_frame(1000))
        await peer.wait_for_end()

    with trio.fail_after(10):
        async with setting.serve(script) as url, setting.open_wire(url, setting.options()) as wire:
            await drain(wire)

    lines = requests[0].lower().split(b"\r\n")
    assert lines[0] == b"get /ws?streams=btcusdt@bookticker http/1.1"
    assert b"host: " + url.split("/")[2].encode() in lines
    assert b"sec-websocket-extensions" not in requests[0].lower()


# ------------------------------------------------------------------------------------------------------------------ TLS


async def test_an_unknown_authority(secure: Setting) -> None:
    fault = await secure.fault_of(never_spoken_to, server=server_tls(ca=trustme.CA()))
    assert fault.kind is FaultKind.TLS
    assert "certificate" in fault.detail


async def test_a_certificate_for_another_host(secure: Setting) -> None:
    fault = await secure.fault_of(never_spoken_to, server=server_tls("elsewhere.example"))
    assert fault.kind is FaultKind.TLS
    assert "127.0.0.1" in fault.detail


async def test_an_expired_certificate(secure: Setting) -> None:
    fault = await secure.fault_of(never_spoken_to, server=server_tls(not_after=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))
    assert fault.kind is FaultKind.TLS
    assert "expired" in fault.detail


async def test_an_old_version_of_tls(secure: Setting) -> None:
    server = server_tls()
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    client = ssl.create_default_context()
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    assert (await secure.fault_of(never_spoken_to, server=server, tls=client)).kind is FaultKind.TLS


async def test_the_systems_authorities_by_default(secure: Setting) -> None:
    fault = await secure.fault_of(never_spoken_to, tls=None)
    assert fault.kind is FaultKind.TLS
    assert "certificate" in fault.detail


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\x16\x03\x03\x00\x7a\x02"], ids=["plain text", "nothing", "cut off"]
)
async def test_a_server_without_tls(secure: Setting, answer: bytes) -> None:
    async def handle(tcp: trio.SocketStream) -> None:
        await tcp.receive_some()
        await tcp.send_all(answer)
        await tcp.aclose()

    with trio.fail_after(10):
        async with listening(handle) as port:
            fault = await opening_fault(secure.open_wire, f"wss://127.0.0.1:{port}/", secure.options())
    assert fault.kind is FaultKind.TLS
    assert fault.detail


async def test_a_server_that_stops_during_the_tls_handshake(secure: Setting) -> None:
    async def handle(tcp: trio.SocketStream) -> None:
        await tcp.receive_some()
        await trio.sleep_forever()

    with trio.fail_after(10):
        async with listening(handle) as port:
            fault = await opening_fault(secure.open_wire, f"wss://127.0.0.1:{port}/", secure.options(connect_timeout=0.15))
    assert fault.kind is FaultKind.TIMEOUT


async def never_spoken_to(peer: Peer) -> None:
    # With TLS 1.3 the server is done before the client has judged, so it gets here, but hears nothing.
    with pytest.raises((trio.BrokenResourceError, AssertionError)):
        await peer.read_request()


# ------------------------------------------------------------------------------------------------------- names and addresses


class Names(trio.abc.HostnameResolver):
    """A resolver that knows ``twice.example``, at two addresses."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self._addresses = addresses

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002
        await trio.lowlevel.checkpoint()
        if host == b"slow.example":
            await trio.sleep_forever()
        if host != b"twice.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self._addresses]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


async def closed_port() -> int:
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


async def test_a_name_that_does_not_resolve(plain: Setting) -> None:
    trio.socket.set_custom_hostname_resolver(Names())
    fault = await opening_fault(plain.open_wire, "ws://nowhere.example/", plain.options())
    assert fault.kind is FaultKind.RESOLVE
    assert "nowhere.example" in fault.detail


async def test_a_name_that_cannot_be(plain: Setting) -> None:
    fault = await opening_fault(plain.open_wire, f"ws://{'x' * 64}.example/", plain.options())
    assert fault.kind is FaultKind.RESOLVE


async def test_a_name_that_resolves_too_late(plain: Setting) -> None:
    trio.socket.set_custom_hostname_resolver(Names())
    fault = await opening_fault(plain.open_wire, "ws://slow.example/", plain.options(connect_timeout=0.05))
    assert fault.kind is FaultKind.TIMEOUT


async def test_one_dead_address_of_two(plain: Setting) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(b"\x81\x02ok")
        await peer.wait_for_end()

    with trio.fail_after(10):
        async with plain.serve(script) as url:
            port = int(url.split(":")[2].split("/")[0])
            trio.socket.set_custom_hostname_resolver(Names(("127.0.0.1", await closed_port()), ("127.0.0.1", port)))
            async with plain.open_wire(f"ws://twice.example:{port}/", plain.options(close_timeout=0.05)) as wire:
                assert await take(wire, 1) == [b"ok"]


async def test_no_address_answers(plain: Setting) -> None:
    first, second = await closed_port(), await closed_port()
    trio.socket.set_custom_hostname_resolver(Names(("127.0.0.1", first), ("127.0.0.1", second)))
    fault = await opening_fault(plain.open_wire, "ws://twice.example/", plain.options())
    assert fault.kind is FaultKind.CONNECT
    assert str(first) in fault.detail
    assert str(second) in fault.detail


async def test_a_port_where_nobody_listens(plain: Setting) -> None:
    fault = await opening_fault(plain.open_wire, f"ws://127.0.0.1:{await closed_port()}/", plain.options())
    assert fault.kind is FaultKind.CONNECT
    assert "refused" in fault.detail
