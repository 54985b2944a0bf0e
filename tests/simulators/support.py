"""Clients for the simulators. Two of them, from two libraries: what both see is what was on the wire."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trustme
from trio_websocket import WebSocketConnection, open_websocket_url
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.binance import BinanceSimulator

CA = trustme.CA()

KINDS = {"bookTicker": StreamType.BBO, "aggTrade": StreamType.TRADE, "markPriceUpdate": StreamType.MARK_PRICE}

Told = tuple[StreamType, str, int, int]
"""What a message is about: kind, symbol, number, exchange time in ms."""


def server_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("localhost").configure_cert(context)
    return context


def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


def streams(simulator: BinanceSimulator, *channels: str) -> str:
    return "/".join(f"{symbol.lower()}@{channel}" for symbol in simulator.options.symbols for channel in channels)


def about(simulator: BinanceSimulator, payload: dict[str, Any]) -> Told:
    """Tell the number from the values on the wire, without the collector's decoder."""
    kind, symbol = KINDS[payload["e"]], payload["s"]
    values = simulator.market[symbol]
    if kind is StreamType.BBO:
        return kind, symbol, values.number_of_quote(float(payload["B"])), payload["T"]
    if kind is StreamType.TRADE:
        return kind, symbol, values.number_of_trade(payload["a"]), payload["T"]
    return kind, symbol, values.number_of_mark(float(payload["p"]), float(payload["i"])), payload["E"]


def in_ledger(simulator: BinanceSimulator, connection: int | None = None) -> list[Told]:
    return [(e.kind, e.symbol, e.number, e.exchange_ms) for e in simulator.ledger.entries(connection)]


def unwrapped(messages: Iterable[str | bytes]) -> list[dict[str, Any]]:
    """The payloads among the messages, acknowledgements left out."""
    decoded = [json.loads(message) for message in messages]
    return [each.get("data", each) for each in decoded if "data" in each or "e" in each]


@asynccontextmanager
async def connect(simulator: BinanceSimulator, path: str, **options: Any) -> AsyncIterator[WebSocketConnection]:
    tls = client_tls() if simulator.ws_url.startswith("wss:") else None
    defaults: dict[str, Any] = {"message_queue_size": 100_000, "receive_buffer_size": 65_536, "disconnect_timeout": 1}
    async with open_websocket_url(simulator.ws_url + path, tls, **defaults | options) as websocket:
        try:
            yield websocket
        finally:
            if websocket.closed:  # by the server: trio-websocket forgets to close its own end then
                await trio.aclose_forcefully(websocket._stream)


async def status_of(simulator: BinanceSimulator, path: str) -> int:
    """The HTTP status that a handshake is answered with."""
    uri = parse_uri(simulator.ws_url + path)
    async with await trio.open_tcp_stream(uri.host, uri.port) as stream:
        protocol = ClientProtocol(uri)
        protocol.send_request(protocol.connect())
        await stream.send_all(b"".join(protocol.data_to_send()))
        return int((await stream.receive_some()).split()[1])


async def ask(websocket: WebSocketConnection, method: str, params: list[Any] | None = None, identity: int = 1) -> dict[str, Any]:
    """Send a request and wait for its reply; what comes in between is data and of no interest."""
    request: dict[str, Any] = {"method": method, "id": identity}
    if params is not None:
        request["params"] = params
    await websocket.send_message(json.dumps(request))
    return await next_reply(websocket)


async def next_reply(websocket: WebSocketConnection) -> dict[str, Any]:
    with trio.fail_after(2):
        while True:
            message = json.loads(await websocket.get_message())
            if "id" in message:
                return message


async def heard(websocket: WebSocketConnection, seconds: float) -> list[dict[str, Any]]:
    """What comes within a time."""
    messages: list[str | bytes] = []
    with trio.move_on_after(seconds):
        while True:
            messages.append(await websocket.get_message())
    return unwrapped(messages)


async def something_heard(websocket: WebSocketConnection, seconds: float) -> list[dict[str, Any]]:
    """What comes first, however busy the machine is, and what comes within a time after it."""
    with trio.fail_after(3):
        first = await websocket.get_message()
    return [*unwrapped([first]), *await heard(websocket, seconds)]


async def closed(simulator: BinanceSimulator, connection: int) -> tuple[int | None, str]:
    """How a connection ended. The client knows a moment before the simulator has noted it."""
    info = simulator.connections[connection - 1]
    with trio.fail_after(3):
        while info.closed_ns is None:
            await trio.sleep(0.005)
    return info.close_code, info.close_reason


class FrameClient:
    """A client that sees frames: it can go on reading after its own close frame, and keep silent when it is pinged."""

    def __init__(self, stream: trio.abc.Stream, protocol: ClientProtocol, *, answer_pings: bool) -> None:
        self.stream = stream
        self.protocol = protocol
        self.answer_pings = answer_pings
        self.messages: list[bytes] = []
        self.pings: list[bytes] = []
        self.closed_by_server = False

    async def read(self) -> bool:
        """Read once; false when the connection is over."""
        data = await self.stream.receive_some(65_536)
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            if isinstance(event, Frame):
                if event.opcode is Opcode.TEXT:
                    self.messages.append(bytes(event.data))
                elif event.opcode is Opcode.PING:
                    self.pings.append(bytes(event.data))
                elif event.opcode is Opcode.CLOSE:
                    self.closed_by_server = True
        waiting = self.protocol.data_to_send()
        if self.answer_pings or self.closed_by_server:
            await self._write(waiting)
        return bool(data)

    async def read_all(self) -> None:
        with trio.fail_after(10):
            while await self.read():
                pass

    async def read_until(self, count: int) -> None:
        with trio.fail_after(10):
            while len(self.messages) < count:
                assert await self.read()

    async def close(self) -> None:
        """Send a close frame and read what had been sent before the server's own."""
        self.protocol.send_close(1000)
        await self._write(self.protocol.data_to_send())
        await self.read_all()

    async def pong(self, payload: bytes) -> None:
        self.protocol.send_pong(payload)
        await self._write(self.protocol.data_to_send())

    async def _write(self, chunks: list[bytes]) -> None:
        if data := b"".join(chunks):
            await self.stream.send_all(data)


@asynccontextmanager
async def frame_client(simulator: BinanceSimulator, path: str, *, answer_pings: bool = True) -> AsyncIterator[FrameClient]:
    uri = parse_uri(simulator.ws_url + path)
    stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", uri.port)
    if uri.secure:
        stream = trio.SSLStream(stream, client_tls(), server_hostname="localhost", https_compatible=True)
    async with stream:
        protocol = ClientProtocol(uri)
        protocol.send_request(protocol.connect())
        await stream.send_all(b"".join(protocol.data_to_send()))
        client = FrameClient(stream, protocol, answer_pings=answer_pings)
        while not protocol.state:  # CONNECTING
            assert await client.read()
        yield client
