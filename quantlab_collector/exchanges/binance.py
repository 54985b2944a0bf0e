"""Binance: USD-M futures, and spot.

Since April 2026 the stream host of USD-M is split by path: the best bid and offer come from ``/public``, trades and mark prices
from ``/market``. A stream asked for on the wrong route is acknowledged and silent for ever, so the route stands in the rows below
and nowhere else. https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import attrs
import msgspec

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.rhythms import Rhythm
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.binance_rest import BinanceSpotRest, BinanceUsdmRest
from quantlab_collector.exchanges.binance_spot import SpotSession
from quantlab_collector.exchanges.binance_usdm import UsdmSession
from quantlab_collector.exchanges.protocol import ConnectionPlan, Endpoints, ExchangeRest, Heartbeat, Limits, Session, Wanted
from quantlab_collector.exchanges.reading import chunks

STREAMS_PER_CONNECTION: Final = 200
"""The exchange allows 1,024; careful clients stay at its older limit."""
STREAMS_PER_REQUEST: Final = 100
"""Very long lists have been seen to fail silently."""


@attrs.frozen
class Route:
    """A path, and what is asked for on it: the exchange's name of a stream → the streams that it gives."""

    name: str
    path: str
    kinds: tuple[tuple[str, tuple[StreamType, ...]], ...]


@attrs.frozen(eq=False)
class Binance:
    """One market of the exchange, as the collector sees it."""

    name: str
    streams: tuple[StreamType, ...]
    endpoints: Endpoints
    limits: Limits
    routes: tuple[Route, ...]
    conversation: Callable[[ConnectionPlan], Session]
    rest: ExchangeRest | None
    rhythms: Mapping[StreamType, Rhythm]
    units: Mapping[StreamType, str] = MappingProxyType({StreamType.BBO: "base coin", StreamType.TRADE: "base coin"})
    # The exchange pings; a pong that copies the payload is all it wants, and the wire gives it.
    heartbeat: Heartbeat | None = None

    def plan(self, wanted: Wanted) -> tuple[ConnectionPlan, ...]:
        """One connection per route and two hundred streams."""
        plans: list[ConnectionPlan] = []
        for route in self.routes:
            asked = [
                (f"{wanted.symbol_map.get(symbol, symbol).lower()}@{kind}", topics)
                for symbol in wanted.symbols
                for kind, gives in route.kinds
                if (topics := [Topic(self.name, stream, symbol) for stream in gives if stream in wanted.streams])
            ]
            for number, share in enumerate(chunks(asked, STREAMS_PER_CONNECTION)):
                requests = chunks([name for name, _ in share], STREAMS_PER_REQUEST)
                plans.append(
                    ConnectionPlan(
                        exchange=self.name,
                        name=f"{route.name}-{number}",
                        url=f"{wanted.endpoints.ws_url}{route.path}",
                        topics=tuple(topic for _, topics in share for topic in topics),
                        requests=tuple(
                            msgspec.json.encode({"method": "SUBSCRIBE", "params": names, "id": request_id})
                            for request_id, names in enumerate(requests, start=1)
                        ),
                        symbol_map=wanted.symbol_map,
                    )
                )
        return tuple(plans)

    def session(self, plan: ConnectionPlan) -> Session:
        """A new conversation."""
        return self.conversation(plan)


USDM: Final = Binance(
    name="binance",
    streams=(StreamType.BBO, StreamType.TRADE, StreamType.MARK_PRICE, StreamType.FUNDING),
    endpoints=Endpoints("wss://fstream.binance.com", "https://fapi.binance.com"),
    # The connect limit is the one of the spot market; none is documented for futures. Ten messages a second are allowed, our
    # pongs included; the exchange's own client leaves half a second between two requests.
    limits=Limits(connects=300, connects_period=300.0, request_gap=0.5),
    routes=(
        Route("public", "/public/stream", (("bookTicker", (StreamType.BBO,)),)),
        Route(
            "market",
            "/market/stream",
            (("aggTrade", (StreamType.TRADE,)), ("markPrice@1s", (StreamType.MARK_PRICE, StreamType.FUNDING))),
        ),
    ),
    conversation=UsdmSession,
    rest=BinanceUsdmRest(),
    rhythms=MappingProxyType({StreamType.MARK_PRICE: Rhythm(every=1.0), StreamType.FUNDING: Rhythm(every=1.0)}),
)

SPOT: Final = Binance(
    name="binance-spot",
    streams=(StreamType.BBO, StreamType.TRADE),
    endpoints=Endpoints("wss://stream.binance.com:9443", "https://api.binance.com"),
    # Five messages a second, a ping frame every 20 s among them.
    # https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md
    limits=Limits(connects=300, connects_period=300.0, request_gap=0.5),
    routes=(Route("spot", "/stream", (("bookTicker", (StreamType.BBO,)), ("trade", (StreamType.TRADE,)))),),
    conversation=SpotSession,
    rest=BinanceSpotRest(),
    # A subscription does not begin with the present quote, and on the spot market there are pairs that nobody quotes for minutes.
    rhythms=MappingProxyType({StreamType.BBO: Rhythm(first=300.0)}),
)
