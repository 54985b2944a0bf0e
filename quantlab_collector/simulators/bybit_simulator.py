"""A simulated Bybit: what it is told besides what all exchanges are, and whose words it speaks."""

from __future__ import annotations

import attrs

from quantlab_collector.simulators.bybit_control import Manner
from quantlab_collector.simulators.bybit_messages import BybitMessages
from quantlab_collector.simulators.mix import FullMix, Mix, SpotMix
from quantlab_collector.simulators.simulator import Simulator, SimulatorOptions


@attrs.frozen
class BybitOptions(SimulatorOptions):
    """What to simulate, and how it behaves."""

    market: str = attrs.field(default="linear", validator=attrs.validators.in_(("linear", "spot")), kw_only=True)
    mix: Mix = attrs.field(
        default=attrs.Factory(lambda options: FullMix() if options.market == "linear" else SpotMix(), takes_self=True)
    )
    echo_req_id: bool = True
    """Linear: whether answers carry the id of their request."""
    trades_per_message: int = 1024
    """https://bybit-exchange.github.io/docs/v5/websocket/public/trade: the rest follows with the same sequence number."""
    book_repeat: float = 3.0
    """https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook: a book that does not change is pushed again."""
    # https://bybit-exchange.github.io/docs/v5/ws/connect, and one that never subscribed, as a probe has seen it
    idle_timeout: float = 600.0
    unsubscribed_timeout: float = 61.0

    @property
    def exchange(self) -> str:
        """The name under which a collector records it."""
        return "bybit" if self.market == "linear" else "bybit-spot"


class BybitSimulator(Simulator[BybitOptions]):
    """A running Bybit."""

    def __init__(self, options: BybitOptions) -> None:
        super().__init__(options)
        self.manner = Manner(options.market, options.echo_req_id)
        self.messages = BybitMessages(self.market, options.exchange)
        """Tells every event again: as JSON and as the RAW event that is expected of it."""
