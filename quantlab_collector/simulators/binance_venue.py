"""The venues of Binance that are simulated, one row each: what differs between them, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.binance_messages import BinanceMessages
from quantlab_collector.simulators.binance_rest import BinanceRest
from quantlab_collector.simulators.binance_spot import SpotMessages, SpotRest
from quantlab_collector.simulators.mix import Mix


@attrs.frozen
class Channel:
    """What follows the ``@`` in the name of a stream."""

    kind: StreamType
    every: int = 1
    """It delivers every first, second or third event."""
    raw: bool = False
    """It tells the single fills of a trade and what else uses up their ids, a message each."""


@attrs.frozen
class Venue:
    """One of Binance's exchanges."""

    exchange: str
    """Its name in recordings."""
    routes: Mapping[str, Mapping[str, Channel]]
    """The streams that a route delivers. On any other route they are acknowledged and silent."""
    messages: type[BinanceMessages]
    rest: type[BinanceRest]
    mix: Mix
    max_messages_per_second: int
    ping_interval: float
    pong_timeout: float
    any_identity: bool = False
    """Whether a request may be named by a string or by null."""


# https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Important-WebSocket-Change-Notice
_PUBLIC: Final = {"bookTicker": Channel(StreamType.BBO), "trade": Channel(StreamType.TRADE, raw=True)}
_MARKET: Final = {
    "aggTrade": Channel(StreamType.TRADE),
    "markPrice@1s": Channel(StreamType.MARK_PRICE),
    "markPrice": Channel(StreamType.MARK_PRICE, every=3),  # every third of the same
}

USDM: Final = Venue(
    exchange="binance",
    # The address without a route is decommissioned: it takes everything and gives the public.
    routes={"/public": _PUBLIC, "/market": _MARKET, "": _PUBLIC},
    messages=BinanceMessages,
    rest=BinanceRest,
    mix=Mix(),
    max_messages_per_second=10,
    ping_interval=180.0,
    pong_timeout=600.0,
)
"""https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams"""

SPOT: Final = Venue(
    exchange="binance-spot",
    routes={"": {"bookTicker": Channel(StreamType.BBO), "trade": Channel(StreamType.TRADE)}},
    messages=SpotMessages,
    rest=SpotRest,
    mix=Mix(bbo=78, trade=22, mark_price=0),
    max_messages_per_second=5,
    ping_interval=20.0,
    pong_timeout=60.0,
    any_identity=True,
)
"""https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md"""
