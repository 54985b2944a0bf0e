"""One WebSocket to a simulated Binance: which streams it gets, and the rules that the exchange keeps.

What a client can rely on is what the exchange documents; what it cannot rely on is as bad as out there: a stream on the wrong
route, an unknown symbol or an upper-case name is acknowledged and silent, a wrong step ends in a close frame.

An event counts as sent when the kernel has taken the whole frame: only then it enters the ledger. After the peer's close frame
the library refuses further messages, so nothing enters that was not sent before our close reply.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qs, unquote

import attrs
import trio
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection, WebSocketRequest

from quantlab_collector.simulators.binance_control import Subscriptions
from quantlab_collector.simulators.binance_simulator import BinanceSimulator, ConnectionInfo
from quantlab_collector.simulators.binance_venue import USDM, Channel, Venue
from quantlab_collector.simulators.feed import Listener, MarketEvent, Series
from quantlab_collector.simulators.ledger import Entry

MAX_URL: Final = 8000
"""Seen by clients: a longer one is answered with 414."""

_CLOSE_TIMEOUT: Final = 2.0


async def answer_request(simulator: BinanceSimulator, request: WebSocketRequest) -> None:
    """Open the door and stay until the client leaves, or refuse."""
    if len(request.path) > MAX_URL:
        await request.reject(414)
        return
    venue = simulator.options.venue
    address = parse_path(request.path, venue)
    if address is None:
        await request.reject(404)
        return
    route, subscriptions = address
    info = ConnectionInfo(
        number=len(simulator.connections) + 1,
        path=request.path,
        streams=tuple(subscriptions.names),
        opened_ns=simulator.options.wall_clock(),
    )
    simulator.connections.append(info)
    try:
        # The place comes before the handshake: a client that knows it is connected gets all that happens from then on.
        with simulator.feed.listen() as place:
            websocket = await request.accept()
            connection = Connection(
                simulator, websocket, place=place, info=info, channels=venue.routes[route], subscriptions=subscriptions
            )
            await connection.serve()
    finally:
        info.closed_ns = simulator.options.wall_clock()


def parse_path(path: str, venue: Venue = USDM) -> tuple[str, Subscriptions] | None:
    """The route of an address and what it subscribes to; ``None`` where nothing is."""
    place, _, query = path.partition("?")
    match = re.fullmatch(r"(/\w+|)/(?:ws((?:/[^/]*)*)|(stream)/?)", unquote(place))
    if match is None or match[1] not in venue.routes:
        return None
    route, names, stream = match.groups()
    if stream:
        names = parse_qs(query).get("streams", [""])[0]
    return route, Subscriptions(filter(None, names.split("/")), combined=bool(stream), any_identity=venue.any_identity)


@attrs.frozen
class _Delivery:
    """One subscribed stream that this connection really gets."""

    head: str
    """What a combined message begins with."""
    channel: Channel


class Connection:
    """An accepted WebSocket: listens to requests, sends what happens, and keeps the exchange's rules."""

    def __init__(
        self,
        simulator: BinanceSimulator,
        websocket: WebSocketConnection,
        *,
        place: Listener,
        info: ConnectionInfo,
        channels: Mapping[str, Channel],
        subscriptions: Subscriptions,
    ) -> None:
        self._simulator = simulator
        self._options = simulator.options
        self._websocket = websocket
        self._place = place
        self._info = info
        self._channels = channels
        self._subscriptions = subscriptions
        self._deliveries = self._find_deliveries()
        self._tasks = trio.CancelScope()
        self._hanging_up: CloseReason | None = None

    async def serve(self) -> None:
        """Run until either side closes."""
        try:
            with self._tasks:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send_events)
                    nursery.start_soon(self._ping)
                    nursery.start_soon(self._expire)
                    await self._listen()
                    if self._hanging_up is None:
                        nursery.cancel_scope.cancel("the peer has closed")
        finally:
            farewell = self._hanging_up or self._simulator.faults.close_reason(self._info.number)
            if reason := farewell or self._websocket.closed:
                self._info.close_code, self._info.close_reason = int(reason.code), reason.reason or ""

    async def _listen(self) -> None:
        limit = self._options.venue.max_messages_per_second
        recent: deque[float] = deque(maxlen=limit)
        try:
            while True:
                message = await self._websocket.get_message()
                now = trio.current_time()
                if len(recent) == limit and now - recent[0] < 1.0:
                    await self._hang_up(1008, "Too many requests")
                    return
                recent.append(now)
                await self._reply(message)
        except ConnectionClosed:
            return

    async def _reply(self, message: str | bytes) -> None:
        reply = self._subscriptions.answer(message)
        deliveries = self._find_deliveries()
        # What was dropped is silent before the reply, what is new speaks after it.
        self._deliveries = {series: found for series, found in deliveries.items() if series in self._deliveries}
        await self._websocket.send_message(reply)
        self._deliveries = deliveries
        self._info.streams = tuple(self._subscriptions.names)

    def _find_deliveries(self) -> dict[Series, list[_Delivery]]:
        found: dict[Series, list[_Delivery]] = {}
        for name in self._subscriptions.names:
            symbol, _, wanted = name.partition("@")
            channel = self._channels.get(wanted)
            if channel is None or symbol != symbol.lower():
                continue
            series = self._simulator.feed.series.get((channel.kind, symbol.upper()))
            if series is not None:
                self._simulator.feed.open(series)
                found.setdefault(series, []).append(_Delivery(f'{{"stream":"{name}","data":', channel))
        return found

    async def _send_events(self) -> None:
        simulator, info = self._simulator, self._info
        record, clock = simulator.ledger.record, self._options.wall_clock
        try:
            while True:
                for event in await self._place.receive():
                    series, number = event.series, event.number
                    for delivery in self._deliveries.get(series, ()):
                        if number % delivery.channel.every:
                            continue
                        for text in self._texts(event, delivery.channel):
                            await self._websocket.send_message(
                                f"{delivery.head}{text}}}" if self._subscriptions.combined else text
                            )
                        # No checkpoint between the kernel's yes and this line: what it took is always entered.
                        record(Entry(info.number, series.kind, series.symbol, number, event.exchange_ms, clock()))
                        info.sent += 1
                info.missed = self._place.missed
        except ConnectionClosed:
            simulator.feed.forget(self._place)
            return  # and not further: the reader may be in the middle of its close reply

    def _texts(self, event: MarketEvent, channel: Channel) -> Iterable[str]:
        series, tell = event.series, self._simulator.messages
        if channel.raw:
            return tell.fills(series.symbol, event.number, event.exchange_ms)
        if event.text is None:
            event.text = tell.text(series.kind, series.symbol, event.number, event.exchange_ms)
        return (event.text,)

    async def _ping(self) -> None:
        async with trio.open_nursery() as waiting:
            for number in itertools.count(1):
                await trio.sleep(self._options.ping_interval / self._options.time_scale)
                waiting.start_soon(self._expect_pong, b"%d" % number)

    async def _expect_pong(self, payload: bytes) -> None:
        with trio.move_on_after(self._options.pong_timeout / self._options.time_scale) as waiting:
            try:
                await self._websocket.ping(payload)
            except ConnectionClosed:
                return
        if waiting.cancelled_caught:
            await self._hang_up(1008, "Pong timeout")

    async def _expire(self) -> None:
        options = self._options
        end = trio.current_time() + options.max_lifetime / options.time_scale
        if options.shutdown_notice is not None:
            await trio.sleep_until(end - options.shutdown_notice / options.time_scale)
            await self._announce_the_end()
        await trio.sleep_until(end)
        await self._hang_up(1001, "")  # which code the exchange uses at 24 h is not known

    async def _announce_the_end(self) -> None:
        # https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md; on futures it is not confirmed
        payload = {"e": "serverShutdown", "E": self._options.wall_clock() // 1_000_000}
        message = {"stream": "!serverShutdown", "data": payload} if self._subscriptions.combined else payload
        with suppress(ConnectionClosed):
            await self._websocket.send_message(json.dumps(message, separators=(",", ":")))

    async def _hang_up(self, code: int, reason: str) -> None:
        """Close, behind the frame that is being sent; a peer that takes nothing any more is cut off."""
        if self._hanging_up is not None:
            return
        self._hanging_up = CloseReason(code, reason)
        with trio.move_on_after(_CLOSE_TIMEOUT):
            await self._websocket.aclose(code, reason)
        self._tasks.cancel("hung up")
