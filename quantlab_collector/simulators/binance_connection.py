"""One WebSocket to a simulated Binance: which streams it gets, and the rules that the exchange keeps.

What a client can rely on is what the exchange documents; what it cannot rely on is as bad as out there: a stream on the wrong
route, an unknown symbol or an upper-case name is acknowledged and silent, a wrong step ends in a close frame.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qs, unquote

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from quantlab_collector.simulators.binance_control import Subscriptions
from quantlab_collector.simulators.binance_simulator import BinanceSimulator
from quantlab_collector.simulators.binance_venue import USDM, Channel, Venue
from quantlab_collector.simulators.connection import Connection
from quantlab_collector.simulators.feed import Listener, MarketEvent, Series
from quantlab_collector.simulators.quota import Quota
from quantlab_collector.simulators.simulator import ConnectionInfo

MAX_URL: Final = 8000
"""Seen by clients: a longer one is answered with 414."""


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
    with simulator.welcome(request.path, tuple(subscriptions.names)) as (info, place):
        websocket = await request.accept()
        connection = BinanceConnection(
            simulator, websocket, place, info, channels=venue.routes[route], subscriptions=subscriptions
        )
        await connection.serve()


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


class BinanceConnection(Connection[BinanceSimulator]):
    """An accepted WebSocket, by Binance's rules."""

    def __init__(
        self,
        simulator: BinanceSimulator,
        websocket: WebSocketConnection,
        place: Listener,
        info: ConnectionInfo,
        *,
        channels: Mapping[str, Channel],
        subscriptions: Subscriptions,
    ) -> None:
        super().__init__(simulator, websocket, place, info)
        self._options = simulator.options
        self._channels = channels
        self._subscriptions = subscriptions
        self._deliveries = self._find_deliveries()

    def _duties(self) -> Iterable[Callable[[], Awaitable[None]]]:
        return self._ping, self._expire

    async def _listen(self) -> None:
        quota = Quota(self._options.venue.max_messages_per_second, 1.0)
        try:
            while True:
                message = await self._websocket.get_message()
                if not quota.admits(trio.current_time()):
                    await self._hang_up(1008, "Too many requests")
                    return
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

    async def _deliver(self, events: Sequence[MarketEvent]) -> None:
        for event in events:
            for delivery in self._deliveries.get(event.series, ()):
                if event.number % delivery.channel.every:
                    continue
                for text in self._texts(event, delivery.channel):
                    await self._websocket.send_message(f"{delivery.head}{text}}}" if self._subscriptions.combined else text)
                self._enter(event.series, event.number, event.exchange_ms, self._options.wall_clock())

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
                await trio.sleep(self._options.real(self._options.ping_interval))
                waiting.start_soon(self._expect_pong, b"%d" % number)

    async def _expect_pong(self, payload: bytes) -> None:
        with trio.move_on_after(self._options.real(self._options.pong_timeout)) as waiting:
            try:
                await self._websocket.ping(payload)
            except ConnectionClosed:
                return
        if waiting.cancelled_caught:
            await self._hang_up(1008, "Pong timeout")

    async def _expire(self) -> None:
        options = self._options
        end = trio.current_time() + options.real(options.max_lifetime)
        if options.shutdown_notice is not None:
            await trio.sleep_until(end - options.real(options.shutdown_notice))
            await self._announce_the_end()
        await trio.sleep_until(end)
        await self._hang_up(1001, "")  # which code the exchange uses at 24 h is not known

    async def _announce_the_end(self) -> None:
        # https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md; on futures it is not confirmed
        payload = {"e": "serverShutdown", "E": self._options.now_ms()}
        message = {"stream": "!serverShutdown", "data": payload} if self._subscriptions.combined else payload
        with suppress(ConnectionClosed):
            await self._websocket.send_message(json.dumps(message, separators=(",", ":")))
