"""The other end of a receiver: takes its connections and subscriptions, and knows when it has read everything."""

from __future__ import annotations

import base64
import hashlib
import itertools
import selectors
import socket
import ssl

import dialects
from lines import Plain, Tls
from mix import text_frame

PATIENCE = 120
_TEXT, _CLOSE, _PONG = 0x81, 0x88, 0x8A
_PING = b"\x89\x00"


class Client:
    """One connection: subscribes, answers the ping, says goodbye."""

    def __init__(self, connected: socket.socket, context: ssl.SSLContext) -> None:
        connected.settimeout(PATIENCE)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        speaks_tls = connected.recv(1, socket.MSG_PEEK) == b"\x16"
        self.line = Tls(context) if speaks_tls else Plain()
        self.topics: list[str] = []
        self.acks = 0
        self.answered = self.gone = False
        self._upgraded = False
        self._received = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(self.line.seal([data]))

    def receive(self) -> None:
        """Take what the client sent, and answer it."""
        try:
            data = self.socket.recv(65536)
            self._received += self.line.open(data)
            self.socket.sendall(self.line.waiting())
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
        first, *lines = request.split(b"\r\n")
        headers = (line.partition(b":") for line in lines)
        key = next(value.strip() for name, _, value in headers if name.lower() == b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.topics += dialects.asked_by_address(first.split()[1].decode())
        self._upgraded, self._received = True, rest

    def _hear(self) -> None:
        while (parsed := client_frame(self._received)) is not None:
            opcode, payload, self._received = parsed
            if opcode == _TEXT:
                topics, acks = dialects.answer(payload)
                for ack in acks:
                    self.send(text_frame(ack))
                self.topics += topics
                self.acks += len(acks)
            elif opcode == _PONG:
                self.answered = True
            elif opcode == _CLOSE:
                self.send(bytes([_CLOSE, len(payload)]) + payload)
                self.answered = self.gone = True  # the server is the one who closes first


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
    """The connections of one receiver, from its first request to its goodbye."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        self.clients: list[Client] = []
        self._context = context
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)

    def gather(self, topics: set[str]) -> dict[str, Client]:
        """Wait until all these topics are subscribed; who gets which."""
        while not topics <= (subscribed := {topic: client for client in self.clients for topic in client.topics}).keys():
            self._listen()
        return subscribed

    def settle(self) -> None:
        """Wait until everything was read."""
        for client in self.clients:
            client.send(_PING)
        while not all(client.answered for client in self.clients):
            self._listen()

    def farewell(self) -> None:
        """Wait until all have gone."""
        while not all(client.gone for client in self.clients):
            self._listen()
        self._selector.close()

    def _listen(self) -> None:
        ready = self._selector.select(PATIENCE)
        if not ready:
            raise TimeoutError("the receiver does nothing")
        for key, _ in ready:
            client = key.data
            if client is None:
                connected, _ = self._listener.accept()
                self.clients.append(Client(connected, self._context))
                self._selector.register(connected, selectors.EVENT_READ, self.clients[-1])
            else:
                client.receive()
                if client.gone:
                    self._selector.unregister(client.socket)
                    client.socket.close()
