"""One WebSocket to the simulated Bybit: what it is subscribed to, and the rules that the exchange keeps.

Whoever subscribes is told the state at once: the book, and a ticker with everything; trades are no state. Linear does so before
it acknowledges, spot after. From then on a ticker tells only what has changed on this connection, a book that does not change is
told again after a while, and trades that happened together come together. A client that neither speaks nor is spoken to is cut
off without a word.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.bybit_control import Subscriptions
from quantlab_collector.simulators.bybit_messages import SWEEP, Numbered, funding_ms
from quantlab_collector.simulators.bybit_simulator import BybitSimulator
from quantlab_collector.simulators.connection import Connection
from quantlab_collector.simulators.feed import Listener, MarketEvent, Series
from quantlab_collector.simulators.simulator import ConnectionInfo

TICKER_KINDS: Final = (StreamType.MARK_PRICE, StreamType.FUNDING, StreamType.OPEN_INTEREST)
CHANNELS: Final = {"orderbook.1": (StreamType.BBO,), "publicTrade": (StreamType.TRADE,), "tickers": TICKER_KINDS}
"""What a recorder asks for, and the kinds of event that each tells."""

_QUIET: Final = 5
"""Before every so many prices comes a delta that tells nothing that is recorded."""
_LOOKS: Final = 20
"""How often in an interval it is looked at."""


async def answer_request(simulator: BybitSimulator, request: WebSocketRequest) -> None:
    """Open the door and stay until the client leaves, or refuse."""
    if request.path.partition("?")[0] != f"/v5/public/{simulator.options.market}":
        await request.reject(404)
        return
    with simulator.welcome(request.path) as (info, place):
        await BybitConnection(simulator, await request.accept(), place, info).serve()


@attrs.define(eq=False)
class _Delivery:
    """One kind of event of one symbol, and what this connection was told of it last."""

    past: int
    """Events up to this number happened before it was subscribed to."""
    number: int | None = None
    exchange_ms: int = 0
    told_at: float = 0.0
    """In Trio's time."""


class BybitConnection(Connection[BybitSimulator]):
    """An accepted WebSocket, by Bybit's rules."""

    def __init__(self, simulator: BybitSimulator, websocket: WebSocketConnection, place: Listener, info: ConnectionInfo) -> None:
        super().__init__(simulator, websocket, place, info)
        self._options = simulator.options
        self._messages = simulator.messages
        identity = blake2b(f"{simulator.options.seed}/{info.number}".encode(), digest_size=12).hexdigest()
        self._subscriptions = Subscriptions(
            simulator.manner, f"{identity[:20]}-{identity[20:]}", lambda name: bool(self._series(name))
        )
        self._deliveries: dict[Series, _Delivery] = {}
        self._turn = trio.Lock()
        """Of speaking about the market: what one connection is told of a symbol is never out of order."""
        self._alive_at = trio.current_time()

    def _duties(self) -> Iterable[Callable[[], Awaitable[None]]]:
        return self._repeat_books, self._watch_idleness

    # ---------------------------------------------------------------------------------------------------------- requests

    async def _listen(self) -> None:
        try:
            while True:
                await self._reply(await self._websocket.get_message())
        except ConnectionClosed:
            return

    async def _reply(self, message: str | bytes) -> None:
        async with self._turn:
            reply = self._subscriptions.answer(message)
            if reply.alive:
                self._alive_at = trio.current_time()
            wanted = {series for topic in self._subscriptions.topics for series in self._series(topic)}
            for series in self._deliveries.keys() - wanted:
                del self._deliveries[series]
            if not self._simulator.manner.linear:
                await self._websocket.send_message(reply.text)
            for topic in reply.opened:
                await self._begin(topic)
            if self._simulator.manner.linear:
                await self._websocket.send_message(reply.text)
            self._info.streams = tuple(self._subscriptions.topics)

    def _series(self, topic: str) -> tuple[Series, ...]:
        """What a topic tells; nothing where it does not exist."""
        feed = self._simulator.feed
        channel, _, symbol = topic.rpartition(".")
        if symbol in feed.delisted:
            return ()
        return tuple(feed.series[kind, symbol] for kind in CHANNELS.get(channel, ()) if (kind, symbol) in feed.series)

    # -------------------------------------------------------------------------------------------------------------- data

    async def _begin(self, topic: str) -> None:
        feed = self._simulator.feed
        parts = self._series(topic)
        for series in parts:
            feed.open(series)
            if not series.times and series.kind is not StreamType.TRADE:
                feed.skip(series, 1)  # nobody has listened so far, and still there is a state
            self._deliveries[series] = _Delivery(series.next_number - 1)
        if any(feed.is_mute(series) for series in parts):
            return
        if parts[0].kind is StreamType.BBO:
            await self._tell_book(parts[0], parts[0].next_number - 1, parts[0].times[-1])
        elif parts[0].kind is StreamType.MARK_PRICE:
            now = self._options.now_ms()
            prices, funding, interest = (series.next_number - 1 for series in parts)
            text = self._messages.snapshot(parts[0].symbol, prices, funding, interest, now)
            numbers = (prices, funding, interest)
            await self._tell(text, [(series, Numbered(number, now)) for series, number in zip(parts, numbers, strict=True)])

    async def _deliver(self, events: Sequence[MarketEvent]) -> None:
        async with self._turn:
            for group in self._grouped(events):
                await self._tell_group(group)

    def _grouped(self, events: Iterable[MarketEvent]) -> list[list[MarketEvent]]:
        """What is told in one message: events one by one, trades with those of the same order that are there already."""
        groups: list[list[MarketEvent]] = []
        sweeps: dict[tuple[Series, int], list[MarketEvent]] = {}
        for event in events:
            delivery = self._deliveries.get(event.series)
            if delivery is None or event.number <= delivery.past:
                continue
            key = event.series, event.number // SWEEP
            if event.series.kind is StreamType.TRADE and len(sweeps.get(key, ())) % self._options.trades_per_message:
                sweeps[key].append(event)
                continue
            sweeps[key] = [event]
            groups.append(sweeps[key])
        return groups

    async def _tell_group(self, group: Sequence[MarketEvent]) -> None:
        event = group[0]
        series = event.series
        if series.kind is StreamType.BBO:
            if event.text is None:
                event.text = self._messages.book(series.symbol, event.number, event.exchange_ms)
            await self._tell_book(series, event.number, event.exchange_ms, event.text)
        elif series.kind is StreamType.TRADE:
            fills = [Numbered(each.number, each.exchange_ms) for each in group]
            await self._tell(self._messages.trades(series.symbol, fills), [(series, fill) for fill in fills])
        else:
            await self._tell_delta(series, event.number, event.exchange_ms)

    async def _tell_book(self, series: Series, number: int, exchange_ms: int, text: str | None = None) -> None:
        text = text or self._messages.book(series.symbol, number, exchange_ms)
        await self._tell(text, [(series, Numbered(number, exchange_ms))])

    async def _tell_delta(self, series: Series, number: int, exchange_ms: int) -> None:
        """Only what has changed since this connection was last told: after a hole in the events that is everything."""
        symbol, last, messages = series.symbol, self._deliveries[series], self._messages
        match series.kind:
            case StreamType.MARK_PRICE:
                if number % _QUIET == 0:
                    await self._websocket.send_message(messages.ticker(symbol, messages.quiet(symbol, number), exchange_ms))
                fields = messages.prices(symbol, number, sparse=last.number in {number - 1, number})
            case StreamType.FUNDING:
                known = last.number is not None and funding_ms(last.exchange_ms) == funding_ms(exchange_ms)
                fields = messages.funding(symbol, number, exchange_ms, sparse=known)
            case _:
                fields = messages.open_interest(number)
        await self._tell(messages.ticker(symbol, fields, exchange_ms), [(series, Numbered(number, exchange_ms))])

    async def _tell(self, text: str, told: Iterable[tuple[Series, Numbered]]) -> None:
        await self._websocket.send_message(text)
        now, now_ns = trio.current_time(), self._options.wall_clock()
        self._alive_at = now
        for series, (number, exchange_ms) in told:
            self._enter(series, number, exchange_ms, now_ns)
            delivery = self._deliveries[series]
            delivery.number, delivery.exchange_ms, delivery.told_at = number, exchange_ms, now

    # -------------------------------------------------------------------------------------------------------------- time

    async def _repeat_books(self) -> None:
        """Push a book again that has not changed for a while, as a new message of the same update."""
        interval = self._options.real(self._options.book_repeat)
        try:
            while True:
                await trio.sleep(interval / _LOOKS)
                async with self._turn:
                    for series, last in self._deliveries.items():
                        due = series.kind is StreamType.BBO and trio.current_time() - last.told_at >= interval
                        if due and last.number is not None and not self._simulator.feed.is_mute(series):
                            await self._tell_book(series, last.number, self._options.now_ms())
        except ConnectionClosed:
            return

    async def _watch_idleness(self) -> None:
        options = self._options
        while True:
            limit = options.real(options.idle_timeout if self._subscriptions.topics else options.unsubscribed_timeout)
            quiet = trio.current_time() - self._alive_at
            if quiet >= limit:
                break
            await trio.sleep(min(limit - quiet, limit / _LOOKS))
        # Without a close frame: that is how it was seen. The reader finds the stream closed and ends the rest.
        await trio.aclose_forcefully(self._websocket._stream)  # noqa: SLF001 - the library only knows how to be polite
