"""The load generator, a process of its own: a WebSocket server that does nothing but send, as fast as it is read.

All bytes are made before the first one is sent, so that the reader is the bottleneck and not we: frames come out of a pool, and
even TLS records are made in advance. That is possible because a record depends only on the handshake and on how many came before
it. Each record holds one frame, as exchanges send them.

It is told what to do by lines of JSON on its standard input, and answers on its standard output:

    > {"messages": 1000000, "rate": null}       wait until everything is subscribed, make the bytes
    < {"acks": 2}                               ready
    > "go"                                      send
    < {"seconds": 3.1, "cpu": 0.2}              everything was read: all pings behind the last message were answered
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import itertools
import json
import selectors
import socket
import ssl
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import trustme
from mix import STREAMS_OF_SYMBOL, TEN, pool, symbol_names, text_frame

STEP = 1_000
"""Messages that are sent in one go, spread over the connections. In step, so that the mix is the same all the time."""
STEPS_PER_SECOND = 500
"""When a rate is asked for: small steps."""
PATIENCE = 120
_TEXT, _CLOSE, _PONG = 0x81, 0x88, 0x8A
_PING = b"\x89\x00"


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


class Peer:
    """One client: subscribes, answers the ping, says goodbye."""

    def __init__(self, connected: socket.socket, context: ssl.SSLContext) -> None:
        connected.settimeout(PATIENCE)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        speaks_tls = connected.recv(1, socket.MSG_PEEK) == b"\x16"
        self.layer = Tls(context) if speaks_tls else Plain()
        self.streams: list[str] = []
        self.acks = 0
        self.answered = self.gone = False
        self._upgraded = False
        self._received = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(self.layer.seal([data]))

    def receive(self) -> None:
        """Take what the client sent, and answer it."""
        try:
            data = self.socket.recv(65536)
            self._received += self.layer.open(data)
            self.socket.sendall(self.layer.waiting())
            if not self._upgraded:
                self._upgrade()
            if self._upgraded:
                self._hear()
        except OSError:  # it may be gone before it has our goodbye
            data = b""
        if not data:
            self.answered = self.gone = True

    def _upgrade(self) -> None:
        request, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        headers = (line.partition(b":") for line in request.split(b"\r\n"))
        key = next(value.strip() for name, _, value in headers if name.lower() == b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._upgraded, self._received = True, rest

    def _hear(self) -> None:
        while (parsed := client_frame(self._received)) is not None:
            opcode, payload, self._received = parsed
            if opcode == _TEXT:
                request = json.loads(payload)
                self.streams += request["params"]
                self.send(text_frame(json.dumps({"result": None, "id": request["id"]}).encode()))
                self.acks += 1
            elif opcode == _PONG:
                self.answered = True
            elif opcode == _CLOSE:
                self.answered = True
                self.send(bytes([_CLOSE, len(payload)]) + payload)


def client_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """The first frame of a client, unmasked, and what is behind it."""
    if len(data) < 2:
        return None
    size, start = data[1] & 0x7F, 2
    if size == 126:
        size, start = int.from_bytes(data[2:4], "big"), 4
    end = start + 4 + size
    if len(data) < end:
        return None
    mask = itertools.cycle(data[start : start + 4])
    return data[0], bytes(a ^ b for a, b in zip(data[start + 4 : end], mask, strict=False)), data[end:]


class Session:
    """The connections of one receiver, from its first SUBSCRIBE to its goodbye."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        self.peers: list[Peer] = []
        self._context = context
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)

    def gather(self, streams: int) -> None:
        """Wait until so many streams are subscribed."""
        while sum(len(peer.streams) for peer in self.peers) < streams:
            self._listen()

    def settle(self) -> None:
        """Wait until everything was read."""
        for peer in self.peers:
            peer.send(_PING)
        while not all(peer.answered for peer in self.peers):
            self._listen()

    def farewell(self) -> None:
        """Wait until all have gone."""
        while not all(peer.gone for peer in self.peers):
            self._listen()
        self._selector.close()

    def _listen(self) -> None:
        ready = self._selector.select(PATIENCE)
        if not ready:
            raise TimeoutError("the receiver does nothing")
        for key, _ in ready:
            peer = key.data
            if peer is None:
                connected, _ = self._listener.accept()
                self.peers.append(Peer(connected, self._context))
                self._selector.register(connected, selectors.EVENT_READ, self.peers[-1])
            else:
                peer.receive()
                if peer.gone:
                    self._selector.unregister(peer.socket)
                    peer.socket.close()


Step = list[tuple[Peer, bytes]]


def prepare(peers: list[Peer], messages: list[tuple[str, bytes]], total: int, size: int) -> Iterator[Step]:
    """The bytes of so many messages, in steps: what to send to whom."""
    owner = {stream: peer for peer in peers for stream in peer.streams}

    def step(start: int, end: int) -> Step:
        frames = defaultdict(list)
        for stream, frame in messages[start:end]:
            frames[owner[stream]].append(frame)
        return [(peer, peer.layer.seal(some)) for peer, some in frames.items()]

    bounds = [(end - size, end) for end in range(size, len(messages) + 1, size)]
    if all(peer.layer.reusable for peer in peers):
        loop = itertools.cycle([step(*bound) for bound in bounds])
    else:
        loop = iter([step(*bound) for bound in itertools.islice(itertools.cycle(bounds), total // size)])
    return itertools.islice(loop, total // size)


def play(steps: Iterator[Step], gap: float) -> None:
    """Send as fast as it is read, or one step each ``gap`` seconds."""
    start = time.monotonic()
    for number, step in enumerate(steps):
        if gap and (wait := start + number * gap - time.monotonic()) > 0:
            time.sleep(wait)
        for peer, data in step:
            peer.socket.sendall(data)


def step_size(rate: float | None) -> int:
    """How many messages are sent at a time: always whole tens, so that the mix is exact."""
    return STEP if rate is None else len(TEN) * max(1, round(rate / STEPS_PER_SECOND / len(TEN)))


def say(answer: dict) -> None:
    print(json.dumps(answer), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="play market data to whoever subscribes to all of it")
    parser.add_argument("--symbols", type=int, required=True)
    parser.add_argument("--ca-file", type=Path, required=True, help="where to put the certificate to trust")
    options = parser.parse_args()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority = trustme.CA()
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(options.ca_file))
    messages = pool(symbol_names(options.symbols))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        say({"port": listener.getsockname()[1]})
        for line in sys.stdin:
            order = json.loads(line)
            size = step_size(order["rate"])
            session = Session(listener, context)
            session.gather(STREAMS_OF_SYMBOL * options.symbols)
            steps = prepare(session.peers, messages, order["messages"], size)
            say({"acks": sum(peer.acks for peer in session.peers), "messages": order["messages"] // size * size})
            sys.stdin.readline()
            cpu, start = time.process_time(), time.monotonic()
            play(steps, size / order["rate"] if order["rate"] else 0.0)
            session.settle()
            say({"seconds": time.monotonic() - start, "cpu": time.process_time() - cpu})
            session.farewell()


if __name__ == "__main__":
    main()
