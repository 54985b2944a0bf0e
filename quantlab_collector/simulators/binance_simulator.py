"""A simulated Binance USD-M as a whole: what it is told to do, what it plays, and what it has sent to whom."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import attrs

from quantlab_collector.simulators.binance_messages import BinanceMessages
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

    symbols: tuple[str, ...] = attrs.field(default=DEFAULT_SYMBOLS, converter=_as_listed)
    dead_symbols: tuple[str, ...] = ("MATICUSDT",)
    """Listed by REST as SETTLING, and silent."""
    rate: float = 200.0
    """Events a second, over all topics that were ever subscribed. An event that two connections get is one event."""
    mix: Mix = Mix()
    seed: int = 1
    limit: int | None = None
    """So many events, and then silence on open connections."""
    host: str = "127.0.0.1"
    port: int = 0
    rest_port: int = 0
    ssl_context: ssl.SSLContext | None = None
    """Of the WebSocket; REST is plain HTTP."""
    ledger_file: Path | None = None
    ping_interval: float = 180.0
    pong_timeout: float = 600.0
    max_lifetime: float = 24 * 3600.0
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
        self.messages = BinanceMessages(self.market)
        """Tells every event again: as JSON and as the RAW events that are expected of it."""
        self.feed = Feed(
            options.symbols,
            rate=options.rate,
            seed=options.seed,
            mix=options.mix,
            limit=options.limit,
            wall_clock=options.wall_clock,
        )
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
