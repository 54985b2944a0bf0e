"""TLS without a socket: any cut of the records, both ends of the connection, and errors behind data."""

from __future__ import annotations

import ssl

import pytest

from intake.support import client_tls, server_tls
from quantlab_collector.intake.tls import Tls, tls_detail


class Server:
    """The other side, by hand."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.records = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def answer(self, data: bytes) -> bytes:
        self._incoming.write(data)
        try:
            self.records.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()

    def say(self, *pieces: bytes) -> bytes:
        """Each piece in a record."""
        for piece in pieces:
            self.records.write(piece)
        return self._outgoing.read()

    def hear(self, data: bytes) -> bytes:
        self._incoming.write(data)
        return self.records.read()

    def goodbye(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.records.unwrap()
        return self._outgoing.read()


def connected(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, cut: int = 100_000) -> tuple[Tls, Server]:
    context = server_tls()
    context.maximum_version = version
    server, tls = Server(context), Tls(client_tls(), "localhost")
    done = tls.shake_hands()
    while not done:
        answer = server.answer(tls.data_to_send())
        for at in range(0, len(answer), cut):
            done = tls.shake_hands(answer[at : at + cut])
    tls.decrypt(server.answer(tls.data_to_send()))
    assert server.records.version() == version.name.replace("_", ".")
    return tls, server


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_there_and_back(version: ssl.TLSVersion) -> None:
    tls, server = connected(version)
    tls.encrypt(b"request")
    assert server.hear(tls.data_to_send()) == b"request"
    assert tls.data_to_send() == b""
    assert tls.decrypt(server.say(b"one")) == b"one"
    assert tls.decrypt(server.say(b"two", b" and ", b"three")) == b"two and three"
    assert tls.decrypt(b"") == b""


def test_the_handshake_a_byte_at_a_time() -> None:
    tls, server = connected(cut=1)
    assert tls.decrypt(server.say(b"fine")) == b"fine"


@pytest.mark.parametrize("cut", [1, 7, 1000, 16_401])
def test_records_in_any_cut(cut: int) -> None:
    tls, server = connected()
    pieces = [b"%d" % i * (i * 37 % 50 + 1) for i in range(100)] + [b"x" * 100_000]
    ciphertext = server.say(*pieces)
    plaintext = b"".join(tls.decrypt(ciphertext[at : at + cut]) for at in range(0, len(ciphertext), cut))
    assert plaintext == b"".join(pieces)
    assert not tls.ended


def test_nothing_comes_after_a_goodbye() -> None:
    tls, server = connected()
    assert tls.decrypt(server.say(b"last words") + server.goodbye()) == b"last words"
    assert tls.ended
    assert tls.error is None
    tls.encrypt(b"we may still answer")
    assert tls.data_to_send()


def test_what_came_before_an_error_is_kept() -> None:
    tls, server = connected()
    spoilt = bytearray(server.say(b"good", b"spoilt", b"never seen"))
    spoilt[40] ^= 1
    assert tls.decrypt(bytes(spoilt)) == b"good"
    assert tls.ended
    assert tls.error is not None
    assert "mac" in tls_detail(tls.error)
    tls.data_to_send()
    tls.encrypt(b"into the void")
    assert tls.decrypt(b"more") == b""


def test_a_server_without_tls() -> None:
    tls = Tls(client_tls(), "localhost")
    tls.shake_hands()
    with pytest.raises(ssl.SSLError) as caught:
        tls.shake_hands(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert tls_detail(caught.value) == "wrong version number"
