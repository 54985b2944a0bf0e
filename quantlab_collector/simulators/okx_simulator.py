"""A simulated OKX: what it is told besides what all exchanges are, and whose words it speaks."""

from __future__ import annotations

import math

import attrs
import trio

from quantlab_collector.simulators.mix import FullMix, Mix
from quantlab_collector.simulators.okx_messages import OkxMessages
from quantlab_collector.simulators.simulator import Simulator, SimulatorOptions


@attrs.frozen
class OkxOptions(SimulatorOptions):
    """What to simulate, and how it behaves."""

    mix: Mix = FullMix()
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


class OkxSimulator(Simulator[OkxOptions]):
    """A running OKX."""

    def __init__(self, options: OkxOptions) -> None:
        super().__init__(options)
        self.messages = OkxMessages(self.market)
        """Tells every event again: as JSON and as the RAW event that is expected of it."""
        self.upgrade = trio.Event()

    def announce_upgrade(self) -> None:
        """Tell all connections that they will be closed; those that come later are not concerned."""
        self.upgrade.set()
        self.upgrade = trio.Event()
