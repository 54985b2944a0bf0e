"""One WebSocket to the simulated OKX: what it is subscribed to, and the rules that the exchange keeps.

Where the exchange says no and how is not documented (more than three connections a second), or where it is not known what it
counts, the stricter reading is simulated: a pong keeps a subscribed connection alive, and one without any subscription is closed,
however often it pings.

An event counts as sent when the kernel has taken the whole frame: only then it enters the ledger. After the peer's close frame
the library refuses further messages, so nothing enters that was not sent before our close reply.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from typing import Final

import attrs
import trio
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection, WebSocketRequest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.binance_simulator import ConnectionInfo
from quantlab_collector.simulators.feed import Listener, Series
from quantlab_collector.simulators.ledger import Entry
from quantlab_collector.simulators.okx_control import Arg, Subscriptions
from quantlab_collector.simulators.okx_messages import CHANNELS, inst_id
from quantlab_collector.simulators.okx_simulator import OkxSimulator

PATH: Final = "/ws/v5/public"
MAX_REQUEST: Final = 65_536
"""https://www.okx.com/docs-v5/en/#overview-websocket-subscribe"""

_TOO_MANY_REQUESTS: Final = 429
_NS_PER_MS: Final = 1_000_000
_CLOSE_TIMEOUT: Final = 2.0
_LOOKS: Final = 20
"""How often in an interval it is looked at."""


class Doorkeeper:
    """Lets in as many as are allowed in a time. All of them come from one address here."""

    def __init__(self, simulator: OkxSimulator) -> None:
        self._simulator = simulator
        self._period = simulator.options.connects_period / simulator.options.time_scale
        self._recent: deque[float] = deque(maxlen=simulator.options.max_connects)

    async def answer_request(self, request: WebSocketRequest) -> None:
        """Open the door and stay until the client leaves, or refuse."""
        simulator, now = self._simulator, trio.current_time()
        if request.path != PATH:
            await request.reject(404)
            return
        if len(self._recent) == self._recent.maxlen and now - self._recent[0] < self._period:
            await request.reject(_TOO_MANY_REQUESTS)
            return
        self._recent.append(now)
        info = ConnectionInfo(
            number=len(simulator.connections) + 1, path=request.path, streams=(), opened_ns=simulator.options.wall_clock()
        )
        simulator.connections.append(info)
        try:
            # The place comes before the handshake: a client that knows it is connected gets all that happens from then on.
            with simulator.feed.listen() as place:
                await Connection(simulator, await request.accept(), place, info).serve()
        finally:
            info.closed_ns = simulator.options.wall_clock()


@attrs.define(eq=False)
class _Delivery:
    """One subscribed channel, and what this connection was told last."""

    past: int
    """Events up to this number happened before it was subscribed to."""
    number: int = -1
    exchange_ms: int = 0
    told_at: float | None = None
    """In Trio's time."""


class Connection:
    """An accepted WebSocket: listens to requests, sends what happens, and keeps the exchange's rules."""

    def __init__(self, simulator: OkxSimulator, websocket: WebSocketConnection, place: Listener, info: ConnectionInfo) -> None:
        self._simulator = simulator
        self._options = simulator.options
        self._websocket = websocket
        self._place = place
        self._info = info
        connection_id = blake2b(f"{simulator.options.seed}/{info.number}".encode(), digest_size=4).hexdigest()
        self._subscriptions = Subscriptions(lambda arg: self._series(arg) is not None, connection_id)
        self._instruments = {inst_id(symbol): symbol for symbol in simulator.options.symbols}
        self._deliveries: dict[Series, _Delivery] = {}
        self._turn = trio.Lock()
        """Of speaking about the market: what one connection is told of an instrument is never out of order."""
        self._requests: deque[float] = deque(maxlen=simulator.options.max_requests)
        self._last_push = trio.current_time()
        self._tasks = trio.CancelScope()
        self._hanging_up: CloseReason | None = None

    async def serve(self) -> None:
        """Run until either side closes."""
        try:
            with self._tasks:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send_events)
                    nursery.start_soon(self._repeat, StreamType.MARK_PRICE, self._real(self._options.mark_repeat))
                    nursery.start_soon(self._repeat, StreamType.BBO, self._real(self._options.quote_repeat))
                    nursery.start_soon(self._watch_quiet)
                    nursery.start_soon(self._upgrade)
                    await self._listen()
                    if self._hanging_up is None:
                        nursery.cancel_scope.cancel("the peer has closed")
        finally:
            reason = self._hanging_up or self._simulator.faults.close_reason(self._info.number) or self._websocket.closed
            if reason:
                self._info.close_code, self._info.close_reason = int(reason.code), reason.reason or ""

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
        now = trio.current_time()
        if len(self._requests) == self._requests.maxlen and now - self._requests[0] < self._real(self._options.requests_period):
            await self._websocket.send_message(self._subscriptions.refusal("60014", "Requests too frequent").text)
            return
        self._requests.append(now)
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
        self._simulator.feed.open(series)
        delivery = self._deliveries[series] = _Delivery(series.next_number - 1)
        if series.kind is not StreamType.TRADE and series.times and not self._is_muted(series):
            await self._tell(series, delivery, delivery.past, series.times[-1])

    async def _send_events(self) -> None:
        simulator = self._simulator
        tell = simulator.messages.text
        try:
            while True:
                events = await self._place.receive()
                async with self._turn:
                    for event in events:
                        delivery = self._deliveries.get(event.series)
                        if delivery is None or event.number <= delivery.past:
                            continue
                        series = event.series
                        text = event.text
                        if text is None:
                            text = event.text = tell(series.kind, series.symbol, event.number, event.exchange_ms)
                        await self._tell(series, delivery, event.number, event.exchange_ms, text)
                self._info.missed = self._place.missed
        except ConnectionClosed:
            simulator.feed.forget(self._place)
            return  # and not further: the reader may be in the middle of its close reply

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
                        if self._is_muted(series):
                            continue
                        is_quote = kind is StreamType.BBO
                        ms = delivery.exchange_ms if is_quote else self._options.wall_clock() // _NS_PER_MS
                        await self._tell(series, delivery, delivery.number, ms)
        except ConnectionClosed:
            return

    def _is_muted(self, series: Series) -> bool:
        feed = self._simulator.feed
        return series.symbol in feed.delisted or feed.distortions.is_muted(series.kind, series.symbol)

    async def _tell(self, series: Series, delivery: _Delivery, number: int, exchange_ms: int, text: str | None = None) -> None:
        kind, symbol = series.kind, series.symbol
        if text is None:
            text = self._simulator.messages.text(kind, symbol, number, exchange_ms)
        await self._websocket.send_message(text)
        # No checkpoint between the kernel's yes and this line: what it took is always entered.
        self._simulator.ledger.record(Entry(self._info.number, kind, symbol, number, exchange_ms, self._options.wall_clock()))
        self._info.sent += 1
        self._last_push = delivery.told_at = trio.current_time()
        delivery.number, delivery.exchange_ms = number, exchange_ms

    # --------------------------------------------------------------------------------------------------------- end

    async def _watch_quiet(self) -> None:
        while True:
            left = self._last_push + self._real(self._options.quiet_timeout) - trio.current_time()
            if left <= 0:
                break
            await trio.sleep(left)
        await self._hang_up(4004, "No data received in 30s.")

    async def _upgrade(self) -> None:
        with trio.move_on_after(self._real(self._options.upgrade_after)):
            await self._simulator.upgrade.wait()
        text = "The connection will soon be closed for a service upgrade. Please reconnect."
        try:
            await self._websocket.send_message(self._subscriptions.notice("64008", text))
        except ConnectionClosed:
            return
        await trio.sleep(self._real(self._options.notice_period))
        await self._hang_up(1001, "")  # which code the exchange uses then is not known

    def _real(self, seconds: float) -> float:
        """How long an interval of the exchange lasts here."""
        return seconds / self._options.time_scale

    async def _hang_up(self, code: int, reason: str) -> None:
        """Close, behind the frame that is being sent; a peer that takes nothing any more is cut off."""
        if self._hanging_up is not None:
            return
        self._hanging_up = CloseReason(code, reason)
        with trio.move_on_after(_CLOSE_TIMEOUT):
            await self._websocket.aclose(code, reason)
        self._tasks.cancel("hung up")
