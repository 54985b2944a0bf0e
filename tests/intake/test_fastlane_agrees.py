"""The lane and the library alone say the same about every stream of bytes, legal or not, after every chunk of it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from intake.support import BINARY, CLOSE, CONT, PING, PONG, TEXT, UPGRADE, accepting, close_frame, frame
from quantlab_collector.exchanges.protocol import BinaryMessage
from quantlab_collector.intake.fastlane import Lane, frame_size
from quantlab_collector.intake.transport import FaultKind

URL = "ws://example.org/ws"

thorough = settings(max_examples=300, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True, scope="module")
def no_randomness():
    """Masks of zeros, so that what both send can be compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secrets.token_bytes", bytes)
        yield


class Reference:
    """The library alone."""

    def __init__(self, limit: int) -> None:
        self.library = ClientProtocol(parse_uri(URL), max_size=limit)
        self.library.send_request(self.library.connect())
        self.messages: list[bytes] = []
        self._parts: list[Frame] = []

    def receive(self, data: bytes) -> None:
        self.library.receive_data(data)
        for event in self.library.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._parts.append(event)
                if event.fin:
                    kind = BinaryMessage if self._parts[0].opcode is Opcode.BINARY else bytes
                    self.messages.append(kind(b"".join(part.data for part in self._parts)))
                    self._parts = []


def told(messages: list[bytes]) -> list[tuple[type, bytes]]:
    return [(type(message), bytes(message)) for message in messages]


def standing(library: ClientProtocol) -> dict[str, object]:
    """All that can be seen of a connection."""
    return {
        "state": library.state,
        "inside a message": library.current_size,
        "received": library.close_rcvd,
        "sent": library.close_sent,
        "who began": library.close_rcvd_then_sent,
        "code": library.close_code,
        "reason": library.close_reason,
        "error": (type(library.parser_exc), str(library.parser_exc)),
        "handshake": (
            type(library.handshake_exc),
            str(library.handshake_exc),
            str(library.handshake_exc and library.handshake_exc.__cause__),
        ),
        "waiting for more of": len(library.reader.buffer),
    }


class Pair:
    def __init__(self, limit: int) -> None:
        self.lane, self.alone = Lane(URL, limit), Reference(limit)
        self.messages: list[bytes] = []
        self.agree()
        assert self.lane.fault is None
        assert not self.lane.accepted

    def receive(self, data: bytes) -> None:
        self.messages += self.lane.receive(data)
        self.alone.receive(data)
        self.agree()

    def receive_eof(self) -> None:
        self.lane.receive_eof()
        self.alone.library.receive_eof()
        self.agree()
        assert self.lane.fault is not None

    def start_close(self) -> None:
        self.lane.start_close(1000, "enough")
        if self.alone.library.state is State.OPEN:
            self.alone.library.send_close(1000, "enough")
        self.agree()

    def agree(self) -> None:
        library = self.alone.library
        assert told(self.messages) == told(self.alone.messages)
        self.last_sent = self.lane.data_to_send()
        assert self.last_sent == b"".join(library.data_to_send())
        assert standing(self.lane._library) == standing(library)
        assert self.lane.is_open == (library.state is State.OPEN)
        error = library.handshake_exc or library.parser_exc
        fault = self.lane.fault
        assert (fault is None) == (error is None and library.close_rcvd is None)
        if fault is not None and error is None:
            assert (fault.kind, fault.close_code, fault.close_reason) == (
                FaultKind.CLOSED,
                library.close_rcvd.code,
                library.close_rcvd.reason,
            )
        elif isinstance(error, EOFError):
            assert (fault.kind, fault.close_code) == (FaultKind.CLOSED, 1006)
        elif error is library.parser_exc and error is not None:
            assert fault.close_code == library.close_sent.code
            assert fault.detail == str(error)


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut data into pieces of these sizes, again and again; of greater ones if there were thousands of pieces."""
    pieces, at = [], 0
    scale = 1 + len(data) // 3000
    while at < len(data):
        for size in cuts:
            pieces.append(data[at : at + size * scale])
            at += size * scale
    return [piece for piece in pieces if piece]


LIMITS = (100, 300, 70_000)
"""Below the short lengths' end, between the encodings, and above the 16-bit one."""

SIZES = (0, 1, 2, 99, 100, 101, 124, 125, 126, 127, 129, 299, 300, 301)

frames_within = st.builds(
    lambda n, tail: frame(b"a") * n + tail, st.integers(1, 40), st.sampled_from([b"", b"\x81", b"\x81\x7e"])
)
"""Whoever loses the boundary finds messages in here."""

LIKE_A_FRAME = b"\x01a" * 64 + b"a"
"""129 bytes: together with the end of the header, 0x81, it looks like a message."""

payloads = st.one_of(
    frames_within, st.just(LIKE_A_FRAME), st.binary(max_size=40), st.sampled_from(SIZES).map(lambda size: b"\x81" * size)
)
long_payloads = st.sampled_from([0x8101, 0xFFFF, 0x10000, 70_000, 70_001]).map(lambda size: b"\x81" * size)
short = st.one_of(frames_within, st.binary(max_size=130))
forms = st.sampled_from([0, 0, 0, 126, 127])
control = st.builds(frame, st.one_of(st.just(b"\x81\x01a"), st.binary(max_size=125)), st.sampled_from([PING, PONG]))
texts = st.builds(frame, payloads, form=forms)
binaries = st.builds(frame, short, st.just(BINARY), form=forms)


@st.composite
def fragmented(draw) -> bytes:
    """A message in fragments, some empty, with pings among them."""
    parts = draw(st.lists(short, min_size=1, max_size=6))
    opcodes = [draw(st.sampled_from([TEXT, BINARY]))] + [CONT] * (len(parts) - 1)
    pieces = []
    for i, (part, opcode) in enumerate(zip(parts, opcodes, strict=True)):
        pieces += draw(st.lists(control, max_size=1))
        pieces.append(frame(part, opcode, fin=i == len(parts) - 1, form=draw(forms)))
    return b"".join(pieces)


closes = st.one_of(
    st.builds(
        close_frame,
        st.sampled_from([None, 1000, 1001, 1008, 1012, 3000, 4000, 4999, 999, 1004, 1005, 1006, 2000, 5000]),
        st.text(max_size=20),
    ),
    st.builds(lambda payload: frame(payload, CLOSE), st.binary(max_size=6)),
)
anything = st.builds(frame, short, st.integers(0, 15), fin=st.booleans(), rsv=st.integers(0, 7), masked=st.booleans(), form=forms)
nearly_texts = st.one_of(
    st.builds(frame, short, rsv=st.sampled_from([1, 2, 4]), form=forms),
    st.builds(frame, short, masked=st.just(True), form=forms),
    st.builds(frame, short, st.sampled_from([CONT, 3, 5, 9, 11]), form=forms),
    st.builds(frame, short, fin=st.just(False), form=forms),
)
endless = st.builds(
    lambda first, size: bytes([first, 127]) + struct.pack(">Q", size),
    st.sampled_from([0x81, 0x82, 0x01, 0x89]),
    st.sampled_from([2**62, 2**63, 2**64 - 1]),
)

legal = st.one_of(texts, texts, binaries, fragmented(), control)
illegal = st.one_of(nearly_texts, nearly_texts, anything, closes, endless)
streams = st.builds(
    lambda good, bad, more: b"".join(good + bad + more),
    st.lists(legal, min_size=1, max_size=12),
    st.lists(illegal, min_size=1, max_size=2),
    st.lists(legal, min_size=1, max_size=4),
)
long_streams = st.builds(
    b"".join,
    st.lists(st.one_of(legal, st.builds(frame, long_payloads), st.builds(frame, long_payloads, st.just(BINARY))), max_size=5),
)
cuts = st.one_of(
    st.just([1]), st.just([10**9]), st.lists(st.one_of(st.integers(1, 5), st.integers(1, 200)), min_size=2, max_size=9)
)


@thorough
@given(streams, cuts, st.sampled_from(LIMITS), st.integers(0, 12), st.integers(0, 40), st.booleans())
@example(frame(b"a") + frame(b"", fin=False) + frame(b"b", CONT) + frame(b"c"), [1], 300, 0, 99, True)
@example(frame(b"x" * 101), [10**9], 100, 0, 99, True)
@example(frame(b"x" * 301), [3], 300, 0, 99, True)
@example(frame(b"x" * 3, BINARY) * 3, [10**9], 300, 0, 99, True)
@example(frame(b"\xff\xfe"), [10**9], 300, 0, 99, True)
@example(frame(LIKE_A_FRAME) * 2, [3, 50], 300, 0, 99, True)
@example(frame(LIKE_A_FRAME, BINARY) * 2, [3, 50], 300, 0, 99, True)
@example(frame(b"a", fin=False) + frame(b"b") + frame(b"c", CONT), [10**9], 300, 0, 99, True)
def test_agree_on_frames(stream: bytes, cut: list[int], limit: int, missing: int, close_at: int, ends: bool) -> None:
    pair = Pair(limit)
    pair.receive(accepting(pair.last_sent))
    assert pair.lane.accepted
    for i, chunk in enumerate(chunks(stream[: len(stream) - missing], cut)):
        if i == close_at:
            pair.start_close()
        pair.receive(chunk)
    if ends:
        pair.receive_eof()


@settings(thorough, max_examples=50)
@given(long_streams, cuts, st.sampled_from(LIMITS), st.booleans())
def test_agree_on_long_frames(stream: bytes, cut: list[int], limit: int, ends: bool) -> None:
    pair = Pair(limit)
    pair.receive(accepting(pair.last_sent))
    for chunk in chunks(stream, cut):
        pair.receive(chunk)
    if ends:
        pair.receive_eof()


def test_agree_when_frames_come_right_behind_the_handshake() -> None:
    response = accepting(Pair(300).last_sent)
    frames = frame(frame(b"within") * 10), frame(b"a", PING), frame(b"b", fin=False), frame(b"c", CONT), close_frame(1001)
    stream = response + b"".join(frames)
    for first in range(len(stream) + 1):
        for second in (first, first + 1, first + 2, len(stream)):
            pair = Pair(300)
            for chunk in (stream[:first], stream[first:second], stream[second:]):
                pair.receive(chunk)
            assert pair.lane.accepted
            assert pair.messages == [frame(b"within") * 10, b"bc"]


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 8\r\n\r\nbody\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\n\r\nuntil the end\r\n\r\nof it",
        b"HTTP/1.1 503 Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + frame(b"no"),
        UPGRADE + b"Sec-WebSocket-Accept: wrong\r\n\r\n" + frame(b"no"),
        b"\r\n\r\n" + frame(b"no"),
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 429 Too\n\nMany",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"",
    ],
)
@pytest.mark.parametrize("cut", [[1], [2, 5], [10**9]])
def test_agree_on_every_other_answer(response: bytes, cut: list[int]) -> None:
    pair = Pair(300)
    for chunk in chunks(response, cut):
        pair.receive(chunk)
    pair.receive_eof()
    assert not pair.lane.accepted
    assert pair.messages == []
    assert pair.lane.fault.kind in (FaultKind.REFUSED, FaultKind.HANDSHAKE)


def test_the_lane_is_used() -> None:
    """Agreement would be cheap if everything went to the library."""
    pair = Pair(0xFFFF)
    pair.receive(accepting(pair.last_sent))
    pair.lane._library.receive_data = None  # whoever calls it fails
    assert pair.lane.receive(frame(b"short") + frame(b"m" * 126) + frame(b"") + frame(b"l" * 0xFFFF) + frame(b"end")) == [
        b"short",
        b"m" * 126,
        b"",
        b"l" * 0xFFFF,
        b"end",
    ]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 0xFFFF, 0x10000])
@pytest.mark.parametrize("form", [0, 126, 127])
def test_frame_size(size: int, form: int) -> None:
    whole = frame(b"x" * size, form=form)
    header = len(whole) - size
    assert [frame_size(whole[:n]) for n in range(header)] == [None] * header
    assert frame_size(whole[:header]) == frame_size(whole[:10]) == len(whole)
