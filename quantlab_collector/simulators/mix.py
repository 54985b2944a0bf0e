"""How many of a market's events are of each kind."""

from __future__ import annotations

import math

import attrs

from quantlab_collector.contracts.events import StreamType


@attrs.frozen
class Mix:
    """How many of the events are of each kind, in any common unit. Mark prices follow the rate too, not a clock of their own."""

    bbo: int = 70
    trade: int = 20
    mark_price: int = 10

    def weights(self) -> dict[StreamType, int]:
        """The same in the smallest whole numbers."""
        return _smallest({StreamType.BBO: self.bbo, StreamType.TRADE: self.trade, StreamType.MARK_PRICE: self.mark_price})


@attrs.frozen
class FullMix(Mix):
    """Of an exchange that tells funding and open interest by themselves."""

    mark_price: int = 8
    funding: int = 1
    open_interest: int = 1

    def weights(self) -> dict[StreamType, int]:
        """Of all five kinds, in the smallest whole numbers."""
        return _smallest(
            {
                StreamType.BBO: self.bbo,
                StreamType.TRADE: self.trade,
                StreamType.MARK_PRICE: self.mark_price,
                StreamType.FUNDING: self.funding,
                StreamType.OPEN_INTEREST: self.open_interest,
            }
        )


@attrs.frozen
class SpotMix(Mix):
    """Books and trades are all that a recorder asks of spot."""

    def weights(self) -> dict[StreamType, int]:
        """Of both kinds."""
        return _smallest({StreamType.BBO: self.bbo, StreamType.TRADE: self.trade})


def _smallest(given: dict[StreamType, int]) -> dict[StreamType, int]:
    unit = math.gcd(*given.values()) or 1
    return {kind: weight // unit for kind, weight in given.items()}
