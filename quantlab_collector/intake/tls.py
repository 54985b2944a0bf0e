"""The client's side of TLS, without I/O: records in, plaintext out, and the other way round.

One read from the socket may hold a thousand records, one frame in each. ``ssl.MemoryBIO`` takes them all at once, so a record
costs one call here and not one wake-up of a task.
"""

from __future__ import annotations

import ssl

_RECORD_BYTES = 16 * 1024
"""No record holds more plaintext."""


class Tls:
    """One connection. Errors in the handshake are raised; an error after it is kept, behind the data that came before."""

    def __init__(self, context: ssl.SSLContext, server_hostname: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._records = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self.ended = False
        """The peer said that nothing more will come (close_notify), or broke the protocol."""
        self.error: ssl.SSLError | None = None

    def shake_hands(self, data: bytes = b"") -> bool:
        """Take what the peer sent, and go on with the handshake; whether it is done. Raises ``ssl.SSLError``."""
        self._incoming.write(data)
        try:
            self._records.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def decrypt(self, data: bytes) -> bytes:
        """Take what the peer sent, in any cut; return the plaintext of the records that are complete with it."""
        self._incoming.write(data)
        chunks: list[bytes] = []
        try:
            # Asking first is cheaper than an SSLWantReadError at the end of each read.
            while self._incoming.pending and not self.ended:
                if chunk := self._records.read(_RECORD_BYTES):
                    chunks.append(chunk)
                else:
                    self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.ended, self.error = True, error
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def encrypt(self, data: bytes) -> None:
        """Queue plaintext for the peer, unless there is none left."""
        if data and self.error is None:
            self._records.write(data)

    def data_to_send(self) -> bytes:
        """Take what is to be sent: the handshake, key updates, and what was encrypted."""
        return self._outgoing.read()


def tls_detail(error: OSError) -> str:
    """What went wrong, in words: OpenSSL's errors name its source files besides."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return str(error)
