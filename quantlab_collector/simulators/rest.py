"""REST of a simulated exchange, as far as all are alike: the newest state of a running market, and a way to say no."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.feed import Feed
from quantlab_collector.simulators.market import Market

_NS_PER_MS: Final = 1_000_000


class Refusal(Exception):
    """A request that is answered with an error, in the exchange's form."""

    def __init__(self, code: int | str, message: str, status: int = 200) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status


class Rest:
    """What REST tells of a running market. No HTTP in here: a question comes in, an answer goes out.

    It is the market of the WebSocket side: the last events that happened, whether anybody was listening or not.
    """

    def __init__(self, market: Market, feed: Feed, wall_clock: Callable[[], int]) -> None:
        self._market = market
        self._feed = feed
        self._wall_clock = wall_clock

    def _traded(self) -> list[str]:
        return [symbol for symbol in self._market.symbols if symbol not in self._feed.delisted]

    def _newest(self, kind: StreamType, symbol: str) -> tuple[int, int]:
        """The number and the exchange time of the last event; before the first one, the first one as of now."""
        series = self._feed.series[kind, symbol]
        return (series.next_number - 1, series.times[-1]) if series.times else (0, self._now_ms())

    def _newest_trades(self, symbol: str, count: int) -> Iterator[tuple[int, int]]:
        """So many of those that are remembered, by number and exchange time, the newest first."""
        series = self._feed.series[StreamType.TRADE, symbol]
        newest = series.next_number - 1
        return zip(range(newest, newest - count, -1), reversed(series.times), strict=False)

    def _now_ms(self) -> int:
        return self._wall_clock() // _NS_PER_MS
