"""A simulated Binance as a whole: what it is told to do, what it plays, and what it has sent to whom."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.binance_venue import USDM, Venue
from quantlab_collector.simulators.faults import Faults
from quantlab_collector.simulators.feed import Feed, Mix
from quantlab_collector.simulators.ledger import Ledger
from quantlab_collector.simulators.market import Market

DEFAULT_SYMBOLS: Final = (
    "BTCUSDT",
    "ETHUSDT",
    "BNBUSDT",
    "SOLUSDT",
    "XRPUSDT",
    "LINKUSDT",
    "ADAUSDT",
    "AVAXUSDT",
    "LTCUSDT",
    "POLUSDT",
)


def _as_listed(symbols: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(symbol.upper() for symbol in symbols))


@attrs.frozen
class BinanceOptions:
    """What to simulate, and how it behaves."""

    venue: Venue = attrs.field(default=USDM, kw_only=True)
    symbols: tuple[str, ...] = attrs.field(default=DEFAULT_SYMBOLS, converter=_as_listed)
    dead_symbols: tuple[str, ...] = ("MATICUSDT",)
    """Listed by REST as no longer traded, and silent."""
    idle_symbols: tuple[str, ...] = attrs.field(default=(), converter=_as_listed)
    """Those of ``symbols`` that nobody trades: no quote changes and no trade happens, and mark prices go on."""
    rate: float = 200.0
    """Events a second, over all topics that were ever subscribed. An event that two connections get is one event."""
    mix: Mix = attrs.field(default=attrs.Factory(lambda options: options.venue.mix, takes_self=True))
    seed: int = 1
    limit: int | None = None
    """So many events, and then silence on open connections."""
    host: str = "127.0.0.1"
    port: int = 0
    rest_port: int = 0
    ssl_context: ssl.SSLContext | None = None
    """Of the WebSocket; REST is plain HTTP."""
    ledger_file: Path | None = None
    ping_interval: float = attrs.field(default=attrs.Factory(lambda options: options.venue.ping_interval, takes_self=True))
    pong_timeout: float = attrs.field(default=attrs.Factory(lambda options: options.venue.pong_timeout, takes_self=True))
    max_lifetime: float = 24 * 3600.0
    shutdown_notice: float | None = None
    """So long before the end of its lifetime a connection is told ``serverShutdown``; never, unless given."""
    time_scale: float = attrs.field(default=1.0, validator=attrs.validators.gt(0))
    """The long intervals above pass so many times faster: with 1440 a day's cut comes after a minute."""
    wall_clock: Callable[[], int] = time.time_ns
    """The time that the exchange tells. Pace and limits follow Trio's clock."""


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


class BinanceSimulator:
    """A running simulator: what it plays, what it has sent and to whom."""

    def __init__(self, options: BinanceOptions) -> None:
        self.options = options
        self.market = Market(options.seed, options.symbols)
        self.messages = options.venue.messages(self.market)
        """Tells every event again: as JSON and as the RAW events that are expected of it."""
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

    def pause(self) -> None:
        """Let nothing more happen on the market. Connections stay open."""
        self.feed.pause()

    def resume(self) -> None:
        """Let the market go on."""
        self.feed.resume()

    async def wait_quiet(self) -> None:
        """Wait until the market stands still (``pause`` or ``limit``) and all that happened is sent: the ledger is complete."""
        await self.feed.wait_quiet()
