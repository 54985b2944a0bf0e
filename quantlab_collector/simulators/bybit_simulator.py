"""A simulated Bybit as a whole: what it is told to do, what it plays, and what it has sent to whom."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.binance_simulator import DEFAULT_SYMBOLS, ConnectionInfo
from quantlab_collector.simulators.bybit_control import Manner
from quantlab_collector.simulators.bybit_messages import BybitMessages
from quantlab_collector.simulators.faults import Faults
from quantlab_collector.simulators.feed import Feed, Mix
from quantlab_collector.simulators.ledger import Ledger
from quantlab_collector.simulators.market import Market


def _as_listed(symbols: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(symbol.upper() for symbol in symbols))


@attrs.frozen
class BybitMix(Mix):
    """Funding and open interest are told by themselves."""

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
class SpotMix(Mix):
    """Books and trades are all that a recorder asks of spot."""

    def weights(self) -> dict[StreamType, int]:
        """Of both kinds."""
        unit = math.gcd(self.bbo, self.trade) or 1
        return {StreamType.BBO: self.bbo // unit, StreamType.TRADE: self.trade // unit}


@attrs.frozen
class BybitOptions:
    """What to simulate, and how it behaves."""

    market: str = attrs.field(default="linear", validator=attrs.validators.in_(("linear", "spot")), kw_only=True)
    symbols: tuple[str, ...] = attrs.field(default=DEFAULT_SYMBOLS, converter=_as_listed)
    """All that exist. A request with another one is refused."""
    idle_symbols: tuple[str, ...] = attrs.field(default=(), converter=_as_listed)
    """Those of ``symbols`` that nobody trades: no quote changes and no trade happens, and tickers go on."""
    rate: float = 200.0
    """Events a second, over all topics that were ever subscribed. An event that two connections get is one event."""
    mix: Mix = attrs.field(
        default=attrs.Factory(lambda options: BybitMix() if options.market == "linear" else SpotMix(), takes_self=True)
    )
    seed: int = 1
    limit: int | None = None
    """So many events, and then silence but for repeated books."""
    host: str = "127.0.0.1"
    port: int = 0
    rest_port: int = 0
    ssl_context: ssl.SSLContext | None = None
    """Of the WebSocket; REST is plain HTTP."""
    ledger_file: Path | None = None
    echo_req_id: bool = True
    """Linear: whether answers carry the id of their request."""
    trades_per_message: int = 1024
    """https://bybit-exchange.github.io/docs/v5/websocket/public/trade: the rest follows with the same sequence number."""
    book_repeat: float = 3.0
    """https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook: a book that does not change is pushed again."""
    # https://bybit-exchange.github.io/docs/v5/ws/connect, and one that never subscribed, as a probe has seen it
    idle_timeout: float = 600.0
    unsubscribed_timeout: float = 61.0
    time_scale: float = attrs.field(default=1.0, validator=attrs.validators.gt(0))
    """The intervals above pass so many times faster."""
    wall_clock: Callable[[], int] = time.time_ns
    """The time that the exchange tells. Pace and limits follow Trio's clock."""

    @property
    def exchange(self) -> str:
        """The name under which a collector records it."""
        return "bybit" if self.market == "linear" else "bybit-spot"


class BybitSimulator:
    """A running simulator: what it plays, what it has sent and to whom."""

    def __init__(self, options: BybitOptions) -> None:
        self.options = options
        self.manner = Manner(options.market, options.echo_req_id)
        self.market = Market(options.seed, options.symbols)
        self.messages = BybitMessages(self.market, options.exchange)
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
