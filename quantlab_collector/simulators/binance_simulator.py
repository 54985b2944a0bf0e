"""A simulated Binance: what it is told besides what all exchanges are, and whose words it speaks."""

from __future__ import annotations

import attrs

from quantlab_collector.simulators.binance_venue import USDM, Venue
from quantlab_collector.simulators.mix import Mix
from quantlab_collector.simulators.simulator import Simulator, SimulatorOptions


@attrs.frozen
class BinanceOptions(SimulatorOptions):
    """What to simulate, and how it behaves."""

    venue: Venue = attrs.field(default=USDM, kw_only=True)
    mix: Mix = attrs.field(default=attrs.Factory(lambda options: options.venue.mix, takes_self=True))
    dead_symbols: tuple[str, ...] = ("MATICUSDT",)
    """Listed by REST as no longer traded, and silent."""
    ping_interval: float = attrs.field(default=attrs.Factory(lambda options: options.venue.ping_interval, takes_self=True))
    pong_timeout: float = attrs.field(default=attrs.Factory(lambda options: options.venue.pong_timeout, takes_self=True))
    max_lifetime: float = 24 * 3600.0
    shutdown_notice: float | None = None
    """So long before the end of its lifetime a connection is told ``serverShutdown``; never, unless given."""


class BinanceSimulator(Simulator[BinanceOptions]):
    """A running Binance."""

    def __init__(self, options: BinanceOptions) -> None:
        super().__init__(options)
        self.messages = options.venue.messages(self.market)
        """Tells every event again: as JSON and as the RAW events that are expected of it."""
