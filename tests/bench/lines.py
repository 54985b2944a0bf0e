"""The way of bytes to a client: plain, or TLS with one frame a record, as exchanges send them."""

from __future__ import annotations

import ssl


class Plain:
    """Bytes as they are."""

    reusable = True

    def open(self, data: bytes) -> bytes:
        return data

    def seal(self, frames: list[bytes]) -> bytes:
        return b"".join(frames)

    def waiting(self) -> bytes:
        return b""


class Tls:
    """One record for each frame."""

    reusable = False  # no two records are alike

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._records = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._open = False

    def open(self, data: bytes) -> bytes:
        self._incoming.write(data)
        read = b""
        try:
            if not self._open:
                self._records.do_handshake()
                self._open = True
            while self._incoming.pending:
                read += self._records.read(65536)
        except ssl.SSLWantReadError:
            pass
        return read

    def seal(self, frames: list[bytes]) -> bytes:
        for frame in frames:
            self._records.write(frame)
        return self._outgoing.read()

    def waiting(self) -> bytes:
        return self._outgoing.read()
