"""The client's side of a WebSocket, without I/O: bytes in, messages out, and the bytes to send.

The ``websockets`` library owns the protocol: handshake, fragments, control frames, closing, every error. It takes 2.7 µs for a
message, and nearly all messages here come in one frame of one kind: unmasked, final, text, shorter than 64 KiB, between messages,
and whole in the chunk that was read. These frames are peeled straight off the chunk, in 0.2 µs. That is the *lane*.

The lane never judges. Whatever it does not recognise at once is handed to the library: from the first byte of such a frame to its
last, as the bytes arrive. So the library always stands at the same frame boundary as it would alone, an error comes up with the
same byte as it would alone, and nothing is buffered here.
"""

from __future__ import annotations

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from quantlab_collector.exchanges.protocol import BinaryMessage
from quantlab_collector.intake.transport import FaultKind, TransportFault, retry_after_seconds

_FINAL_TEXT = 0x81
"""The first byte of the frames of the lane: FIN, no RSV, opcode 1."""

_LENGTH_16 = 126
"""The second byte when two bytes of length follow. Above it: eight of them, or a mask."""

_END_OF_HEADERS = b"\r\n\r\n"

_ABNORMAL_CLOSURE = 1006


class Lane:
    """One connection, from the handshake request to the end."""

    def __init__(self, url: str, max_message_bytes: int) -> None:
        uri = parse_uri(url)
        self.host, self.port, self.secure = uri.host, uri.port, uri.secure
        self._library = ClientProtocol(uri, max_size=max_message_bytes)
        self._library.send_request(self._library.connect())
        self._max_message_bytes = max_message_bytes
        self.accepted = False
        """The handshake is done; what came with it, and after it, are frames."""
        self._in_lane = False
        """Open, at a frame boundary, and not inside a fragmented message."""
        self._tail = b""
        """The last bytes of the handshake response so far: its end may be cut."""
        self._header = b""
        """What the library has of a frame whose length is not known yet."""
        self._missing = 0
        """What the library lacks of a frame whose length is known."""
        self._message = bytearray()
        """A fragmented message so far. One buffer, because fragments may be empty and without number."""
        self._message_is_binary = False
        self._how_it_ended = ""

    # ------------------------------------------------------------------------------------------------------ from the peer

    def receive(self, data: bytes) -> list[bytes]:
        """Take what was read, in any cut, and return the messages that are complete with it."""
        messages: list[bytes] = []
        at = 0 if self.accepted else self._shake_hands(data)
        while at < len(data):
            if self._in_lane:
                at = self._peel(data, at, messages)
                if at == len(data):
                    break
            at = self._hand_over(data, at, messages)
        return messages

    def receive_eof(self, how: str = "") -> None:
        """Take the end of the stream; ``how`` it came, if more than by a FIN."""
        self._how_it_ended = how
        self._library.receive_eof()

    def _peel(self, data: bytes, at: int, messages: list[bytes]) -> int:
        """Take frames of the lane from ``at`` on; return where the first other frame begins, or the chunk ends."""
        size = len(data)
        limit = self._max_message_bytes
        append = messages.append
        while at + 4 <= size and data[at] == _FINAL_TEXT:
            length = data[at + 1]
            start = at + 2
            if length >= _LENGTH_16:
                if length > _LENGTH_16:
                    break
                length = data[at + 2] << 8 | data[at + 3]
                start = at + 4
            end = start + length
            if end > size or length > limit:
                break
            append(data[start:end])
            at = end
        return at

    def _hand_over(self, data: bytes, at: int, messages: list[bytes]) -> int:
        """Give the library bytes from ``at`` on, but none beyond the end of a frame; return where that is."""
        end = len(data)
        if self._library.state is State.OPEN:
            if not self._missing:
                header = self._header + data[at : at + 10]
                size = frame_size(header)
                if size is None:
                    self._header = header
                else:
                    self._missing = size - len(self._header)
                    self._header = b""
            if self._missing:
                end = min(end, at + self._missing)
                self._missing -= end - at
        self._library.receive_data(data[at:end])
        self._collect(messages)
        self._in_lane = (
            not self._missing
            and not self._header
            and self._library.state is State.OPEN  # closing is the library's business alone
            and self._library.current_size is None
        )
        return end

    def _shake_hands(self, data: bytes) -> int:
        """Give the library the response; return where it ends. What follows are frames, or the body of a refusal."""
        seen = self._tail + data
        found = seen.find(_END_OF_HEADERS)
        end = found + len(_END_OF_HEADERS) - len(self._tail) if found >= 0 else len(data)
        self._tail = seen[-3:]
        self._library.receive_data(data[:end])
        self._library.events_received()
        self._in_lane = self.accepted = self._library.state is State.OPEN
        return end

    def _collect(self, messages: list[bytes]) -> None:
        for event in self._library.events_received():
            if not isinstance(event, Frame) or event.opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE):
                continue  # the library has queued the answer
            if event.opcode is not Opcode.CONT:
                self._message_is_binary = event.opcode is Opcode.BINARY
            self._message += event.data
            if event.fin:
                messages.append(BinaryMessage(self._message) if self._message_is_binary else bytes(self._message))
                self._message.clear()

    # -------------------------------------------------------------------------------------------------------- to the peer

    def data_to_send(self) -> bytes:
        """Take what is to be sent: the request, pongs, our messages, our close frame."""
        return b"".join(self._library.data_to_send())

    def send_text(self, message: bytes) -> None:
        """Queue one text message. Raises ``TransportFault`` unless the connection is open."""
        if not self.is_open:
            raise self.fault or TransportFault(FaultKind.CLOSED, "we are closing")
        self._library.send_text(message)

    def start_close(self, code: int, reason: str) -> None:
        """Queue our close frame, if it is not too late for it."""
        if self.is_open:
            self._library.send_close(code, reason)
            self._in_lane = False

    # ------------------------------------------------------------------------------------------------------- how it stands

    @property
    def is_open(self) -> bool:
        """The handshake was accepted, and nobody has begun to close."""
        return self._library.state is State.OPEN

    @property
    def fault(self) -> TransportFault | None:
        """Why no message will come any more; ``None`` as long as one may."""
        library = self._library
        if library.handshake_exc is not None:
            return _handshake_fault(library.handshake_exc, self._how_it_ended)
        if library.parser_exc is not None:
            close_code = None if library.close_sent is None else int(library.close_sent.code)
            return _protocol_fault(library.parser_exc, close_code, self._how_it_ended)
        if library.close_rcvd is not None:
            return TransportFault(
                FaultKind.CLOSED, close_code=int(library.close_rcvd.code), close_reason=library.close_rcvd.reason
            )
        return None


def frame_size(header: bytes) -> int | None:
    """The size of a server's frame, header and payload, from its first bytes (ten suffice); ``None`` if they are too few."""
    if len(header) < 2:
        return None
    length = header[1] & 0x7F  # a mask is an error that the library finds in this very byte
    if length < _LENGTH_16:
        return 2 + length
    end = 4 if length == _LENGTH_16 else 10
    return end + int.from_bytes(header[2:end], "big") if len(header) >= end else None


def _handshake_fault(error: Exception, how: str) -> TransportFault:
    if isinstance(error, InvalidStatus):
        response = error.response
        waits = response.headers.get_all("Retry-After")
        return TransportFault(
            FaultKind.REFUSED,
            response.reason_phrase,
            status=response.status_code,
            retry_after=retry_after_seconds(next(iter(waits), "")),
        )
    parts = (str(error), str(error.__cause__ or ""), how)
    return TransportFault(FaultKind.HANDSHAKE, ": ".join(part for part in parts if part))


def _protocol_fault(error: Exception, close_code: int | None, how: str) -> TransportFault:
    if isinstance(error, EOFError):
        return TransportFault(FaultKind.CLOSED, how or str(error), close_code=_ABNORMAL_CLOSURE)
    kind = FaultKind.TOO_BIG if isinstance(error, PayloadTooBig) else FaultKind.PROTOCOL
    return TransportFault(kind, str(error), close_code=close_code)
