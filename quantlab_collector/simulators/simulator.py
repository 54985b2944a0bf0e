"""A simulated exchange as a whole, as far as all are alike: what it is told to do, what it plays, what it has sent to whom."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Generic, Self, TypeVar

import attrs
import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.faults import Faults
from quantlab_collector.simulators.feed import Feed, Listener
from quantlab_collector.simulators.ledger import Ledger, keep_flushed
from quantlab_collector.simulators.market import DEFAULT_SYMBOLS, Market
from quantlab_collector.simulators.mix import Mix
from quantlab_collector.simulators.rest_server import Tell, serve_rest
from quantlab_collector.simulators.sockets import Talk, serve_sockets

_NS_PER_MS: Final = 1_000_000


def _as_listed(symbols: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(symbol.upper() for symbol in symbols))


@attrs.frozen
class SimulatorOptions:
    """What to simulate, and how it behaves: what every exchange can be told."""

    symbols: tuple[str, ...] = attrs.field(default=DEFAULT_SYMBOLS, converter=_as_listed)
    """All that are traded. What becomes of a request with another one is the exchange's own affair."""
    idle_symbols: tuple[str, ...] = attrs.field(default=(), converter=_as_listed)
    """Those of ``symbols`` that nobody trades: no quote changes and no trade happens, and the rest goes on."""
    rate: float = 200.0
    """Events a second, over all topics that were ever subscribed. An event that two connections get is one event."""
    mix: Mix = Mix()
    seed: int = 1
    limit: int | None = None
    """So many events, and then silence on open connections, but for what the exchange repeats."""
    host: str = "127.0.0.1"
    port: int = 0
    rest_port: int = 0
    ssl_context: ssl.SSLContext | None = None
    """Of the WebSocket; REST is plain HTTP."""
    ledger_file: Path | None = None
    time_scale: float = attrs.field(default=1.0, validator=attrs.validators.gt(0))
    """The exchange's own long intervals pass so many times faster: with 1440 a day's cut comes after a minute."""
    wall_clock: Callable[[], int] = time.time_ns
    """The time that the exchange tells. Pace and limits follow Trio's clock."""

    def real(self, seconds: float) -> float:
        """How long an interval of the exchange lasts here."""
        return seconds / self.time_scale

    def now_ms(self) -> int:
        """The time that the exchange tells, as most messages do."""
        return self.wall_clock() // _NS_PER_MS


OptionsT = TypeVar("OptionsT", bound=SimulatorOptions)


@attrs.define
class ConnectionInfo:
    """One connection, open or over, as tests and status lines see it."""

    number: int
    path: str
    streams: tuple[str, ...]
    opened_ns: int
    sent: int = 0
    missed: int = 0
    """Events that it was too slow for."""
    closed_ns: int | None = None
    close_code: int | None = None
    close_reason: str = ""


class Simulator(Generic[OptionsT]):
    """A running simulator: what it plays, what it has sent and to whom."""

    def __init__(self, options: OptionsT) -> None:
        self.options = options
        self.market = Market(options.seed, options.symbols)
        self.feed = Feed(
            options.symbols,
            rate=options.rate,
            seed=options.seed,
            mix=options.mix,
            limit=options.limit,
            wall_clock=options.wall_clock,
            idle={(kind, symbol) for kind in (StreamType.BBO, StreamType.TRADE) for symbol in options.idle_symbols},
        )
        self.faults = Faults(self.feed, options.wall_clock)
        """The hand that disturbs it."""
        self.ledger = Ledger(options.ledger_file)
        self.connections: list[ConnectionInfo] = []
        """All connections since the start, the oldest first."""
        self.ws_url = ""
        self.rest_url = ""

    async def serve(self, talk: Talk, tell: Tell, *, task_status: trio.TaskStatus[Self]) -> None:
        """Play until cancelled: ``talk`` has the WebSockets, ``tell`` answers by REST."""
        options, faults = self.options, self.faults
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.feed.run)
                self.ws_url = await nursery.start(serve_sockets, talk, options.host, options.port, options.ssl_context, faults)
                self.rest_url = await nursery.start(serve_rest, tell, options.host, options.rest_port, faults.rest_door)
                nursery.start_soon(keep_flushed, self.ledger)
                task_status.started(self)
        finally:
            self.ledger.close()

    @contextmanager
    def welcome(self, path: str, streams: tuple[str, ...] = ()) -> Iterator[tuple[ConnectionInfo, Listener]]:
        """A place in the books and one on the tape, for as long as a client stays.

        It comes before the handshake: a client that knows it is connected gets all that happens from then on.
        """
        info = ConnectionInfo(len(self.connections) + 1, path, streams, self.options.wall_clock())
        self.connections.append(info)
        try:
            with self.feed.listen() as place:
                yield info, place
        finally:
            info.closed_ns = self.options.wall_clock()

    def pause(self) -> None:
        """Let nothing more happen on the market. Connections stay open."""
        self.feed.pause()

    def resume(self) -> None:
        """Let the market go on."""
        self.feed.resume()

    async def wait_quiet(self) -> None:
        """Wait until the market stands still (``pause`` or ``limit``) and all that happened is sent: the ledger is complete."""
        await self.feed.wait_quiet()
