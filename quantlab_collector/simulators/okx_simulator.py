"""A simulated OKX as a whole: what it is told to do, what it plays, and what it has sent to whom."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs
import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.binance_simulator import DEFAULT_SYMBOLS, ConnectionInfo
from quantlab_collector.simulators.faults import Faults
from quantlab_collector.simulators.feed import Feed, Mix
from quantlab_collector.simulators.ledger import Ledger
from quantlab_collector.simulators.market import Market
from quantlab_collector.simulators.okx_messages import OkxMessages


def _as_listed(symbols: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(symbol.upper() for symbol in symbols))


@attrs.frozen
class OkxMix(Mix):
    """Funding rates and open interest are messages of their own here."""

    mark_price: int = 8
    funding: int = 1
    open_interest: int = 1

    def weights(self) -> dict[StreamType, int]:
        """Of all five kinds, in the smallest whole numbers."""
        given = {
            StreamType.BBO: self.bbo,
            StreamType.TRADE: self.trade,
            StreamType.MARK_PRICE: self.mark_price,
            StreamType.FUNDING: self.funding,
            StreamType.OPEN_INTEREST: self.open_interest,
        }
        unit = math.gcd(*given.values()) or 1
        return {kind: weight // unit for kind, weight in given.items()}


@attrs.frozen
class OkxOptions:
    """What to simulate, and how it behaves."""

    symbols: tuple[str, ...] = attrs.field(default=DEFAULT_SYMBOLS, converter=_as_listed)
    """All that exist. Another one is refused by its name."""
    idle_symbols: tuple[str, ...] = attrs.field(default=(), converter=_as_listed)
    """Those of ``symbols`` that nobody trades: no quote changes and no trade happens, and the rest goes on."""
    rate: float = 200.0
    """Events a second, over all topics that were ever subscribed. An event that two connections get is one event."""
    mix: OkxMix = OkxMix()
    seed: int = 1
    limit: int | None = None
    """So many events, and then silence on open connections."""
    host: str = "127.0.0.1"
    port: int = 0
    rest_port: int = 0
    ssl_context: ssl.SSLContext | None = None
    """Of the WebSocket; REST is plain HTTP."""
    ledger_file: Path | None = None
    # https://www.okx.com/docs-v5/en/#overview-websocket-connect
    quiet_timeout: float = 30.0
    """A connection on which nothing is pushed for so long is closed."""
    max_connects: int = 3
    connects_period: float = 1.0
    max_requests: int = 480
    requests_period: float = 3600.0
    # https://www.okx.com/docs-v5/en/#overview-websocket-notification
    upgrade_after: float = math.inf
    """The age at which a connection is told of a service upgrade."""
    notice_period: float = 60.0
    """And so much later it is closed."""
    # https://www.okx.com/docs-v5/en/#public-data-websocket-mark-price-channel
    mark_repeat: float = 10.0
    quote_repeat: float = 60.0
    """What does not change is told again after so long: the mark price with a new time, the quote as it was."""
    time_scale: float = attrs.field(default=1.0, validator=attrs.validators.gt(0))
    """The intervals above pass so many times faster: with 60, half a second without a word ends a connection."""
    wall_clock: Callable[[], int] = time.time_ns
    """The time that the exchange tells. Pace and limits follow Trio's clock."""


class OkxSimulator:
    """A running simulator: what it plays, what it has sent and to whom."""

    def __init__(self, options: OkxOptions) -> None:
        self.options = options
        self.market = Market(options.seed, options.symbols)
        self.messages = OkxMessages(self.market)
        """Tells every event again: as JSON and as the RAW event that is expected of it."""
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
        self.upgrade = trio.Event()
        self.ws_url = ""
        self.rest_url = ""

    def announce_upgrade(self) -> None:
        """Tell all connections that they will be closed; those that come later are not concerned."""
        self.upgrade.set()
        self.upgrade = trio.Event()

    def pause(self) -> None:
        """Let nothing more happen on the market. Connections stay open."""
        self.feed.pause()

    def resume(self) -> None:
        """Let the market go on."""
        self.feed.resume()

    async def wait_quiet(self) -> None:
        """Wait until the market stands still (``pause`` or ``limit``) and all that happened is sent: the ledger is complete."""
        await self.feed.wait_quiet()
