"""One WebSocket to the simulated OKX: what it is subscribed to, and the rules that the exchange keeps.

Where the exchange says no and how is not documented (more than three connections a second), or where it is not known what it
counts, the stricter reading is simulated: a pong keeps a subscribed connection alive, and one without any subscription is closed,
however often it pings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Final

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.connection import Connection
from quantlab_collector.simulators.feed import Listener, MarketEvent, Series
from quantlab_collector.simulators.okx_control import Arg, Subscriptions
from quantlab_collector.simulators.okx_messages import CHANNELS, inst_id
from quantlab_collector.simulators.okx_simulator import OkxSimulator
from quantlab_collector.simulators.quota import Quota
from quantlab_collector.simulators.simulator import ConnectionInfo

PATH: Final = "/ws/v5/public"
MAX_REQUEST: Final = 65_536
"""https://www.okx.com/docs-v5/en/#overview-websocket-subscribe"""

_TOO_MANY_REQUESTS: Final = 429
_LOOKS: Final = 20
"""How often in an interval it is looked at."""


class Doorkeeper:
    """Lets in as many as are allowed in a time. All of them come from one address here."""

    def __init__(self, simulator: OkxSimulator) -> None:
        self._simulator = simulator
        options = simulator.options
        self._quota = Quota(options.max_connects, options.real(options.connects_period))

    async def answer_request(self, request: WebSocketRequest) -> None:
        """Open the door and stay until the client leaves, or refuse."""
        if request.path != PATH:
            await request.reject(404)
            return
        if not self._quota.admits(trio.current_time()):
            await request.reject(_TOO_MANY_REQUESTS)
            return
        with self._simulator.welcome(request.path) as (info, place):
            await OkxConnection(self._simulator, await request.accept(), place, info).serve()


@attrs.define(eq=False)
class _Delivery:
    """One subscribed channel, and what this connection was told last."""

    past: int
    """Events up to this number happened before it was subscribed to."""
    number: int = -1
    exchange_ms: int = 0
    told_at: float | None = None
    """In Trio's time."""


class OkxConnection(Connection[OkxSimulator]):
    """An accepted WebSocket, by OKX's rules."""

    def __init__(self, simulator: OkxSimulator, websocket: WebSocketConnection, place: Listener, info: ConnectionInfo) -> None:
        super().__init__(simulator, websocket, place, info)
        self._options = simulator.options
        connection_id = blake2b(f"{simulator.options.seed}/{info.number}".encode(), digest_size=4).hexdigest()
        self._subscriptions = Subscriptions(lambda arg: self._series(arg) is not None, connection_id)
        self._instruments = {inst_id(symbol): symbol for symbol in simulator.options.symbols}
        self._deliveries: dict[Series, _Delivery] = {}
        self._turn = trio.Lock()
        """Of speaking about the market: what one connection is told of an instrument is never out of order."""
        self._requests = Quota(self._options.max_requests, self._options.real(self._options.requests_period))
        self._last_push = trio.current_time()

    def _duties(self) -> Iterable[Callable[[], Awaitable[None]]]:
        options = self._options
        return (
            partial(self._repeat, StreamType.MARK_PRICE, options.real(options.mark_repeat)),
            partial(self._repeat, StreamType.BBO, options.real(options.quote_repeat)),
            self._watch_quiet,
            self._upgrade,
        )

    # ---------------------------------------------------------------------------------------------------- requests

    async def _listen(self) -> None:
        try:
            while self._hanging_up is None:
                message = await self._websocket.get_message()
                if message in {"ping", b"ping"}:
                    await self._websocket.send_message("pong")
                    if self._subscriptions.args:
                        self._last_push = trio.current_time()
                elif len(message) > MAX_REQUEST:
                    await self._hang_up(1009, "Request message exceeds the maximum frame length")
                else:
                    await self._reply(message)
        except ConnectionClosed:
            return

    async def _reply(self, message: str | bytes) -> None:
        if not self._requests.admits(trio.current_time()):
            await self._websocket.send_message(self._subscriptions.refusal("60014", "Requests too frequent").text)
            return
        async with self._turn:
            for reply in self._subscriptions.answer(message):
                # What was dropped is silent before the reply, what is new speaks after it.
                if reply.removed is not None and (series := self._series(reply.removed)) is not None:
                    self._deliveries.pop(series, None)
                await self._websocket.send_message(reply.text)
                if reply.added is not None and (series := self._series(reply.added)) is not None:
                    await self._begin(series)
        self._info.streams = tuple(f"{arg.channel}:{arg.inst_id}" for arg in self._subscriptions.args)

    def _series(self, arg: Arg) -> Series | None:
        symbol = self._instruments.get(arg.inst_id)
        if symbol is None or arg.channel not in CHANNELS or symbol in self._simulator.feed.delisted:
            return None
        return self._simulator.feed.series[CHANNELS[arg.channel], symbol]

    # -------------------------------------------------------------------------------------------------------- data

    async def _begin(self, series: Series) -> None:
        """Whoever subscribes is told the state at once, however old it is, if there is one. Trades are no state."""
        feed = self._simulator.feed
        feed.open(series)
        delivery = self._deliveries[series] = _Delivery(series.next_number - 1)
        if series.kind is not StreamType.TRADE and series.times and not feed.is_mute(series):
            await self._tell(series, delivery, delivery.past, series.times[-1])

    async def _deliver(self, events: Sequence[MarketEvent]) -> None:
        tell = self._simulator.messages.text
        async with self._turn:
            for event in events:
                series = event.series
                delivery = self._deliveries.get(series)
                if delivery is None or event.number <= delivery.past:
                    continue
                text = event.text
                if text is None:
                    text = event.text = tell(series.kind, series.symbol, event.number, event.exchange_ms)
                await self._tell(series, delivery, event.number, event.exchange_ms, text)

    async def _repeat(self, kind: StreamType, interval: float) -> None:
        """Tell again what has not changed for a while. A mark price is then a new one, of the same value."""
        try:
            while True:
                await trio.sleep(interval / _LOOKS)
                async with self._turn:
                    for series, delivery in self._deliveries.items():
                        quiet_since = delivery.told_at
                        if series.kind is not kind or quiet_since is None or trio.current_time() - quiet_since < interval:
                            continue
                        if self._simulator.feed.is_mute(series):
                            continue
                        is_quote = kind is StreamType.BBO
                        ms = delivery.exchange_ms if is_quote else self._options.now_ms()
                        await self._tell(series, delivery, delivery.number, ms)
        except ConnectionClosed:
            return

    async def _tell(self, series: Series, delivery: _Delivery, number: int, exchange_ms: int, text: str | None = None) -> None:
        if text is None:
            text = self._simulator.messages.text(series.kind, series.symbol, number, exchange_ms)
        await self._websocket.send_message(text)
        self._enter(series, number, exchange_ms, self._options.wall_clock())
        self._last_push = delivery.told_at = trio.current_time()
        delivery.number, delivery.exchange_ms = number, exchange_ms

    # --------------------------------------------------------------------------------------------------------- end

    async def _watch_quiet(self) -> None:
        while True:
            left = self._last_push + self._options.real(self._options.quiet_timeout) - trio.current_time()
            if left <= 0:
                break
            await trio.sleep(left)
        await self._hang_up(4004, "No data received in 30s.")

    async def _upgrade(self) -> None:
        with trio.move_on_after(self._options.real(self._options.upgrade_after)):
            await self._simulator.upgrade.wait()
        text = "The connection will soon be closed for a service upgrade. Please reconnect."
        try:
            await self._websocket.send_message(self._subscriptions.notice("64008", text))
        except ConnectionClosed:
            return
        await trio.sleep(self._options.real(self._options.notice_period))
        await self._hang_up(1001, "")  # which code the exchange uses then is not known
