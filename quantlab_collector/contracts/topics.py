"""The name of one thing that is recorded: a stream of a symbol on an exchange."""

from __future__ import annotations

import attrs

from quantlab_collector.contracts.events import StreamType


@attrs.frozen(order=True)
class Topic:
    """One (exchange, stream, symbol); the symbol in the collector's form, ``BTCUSDT``."""

    exchange: str
    stream: StreamType
    symbol: str

    def __str__(self) -> str:
        return f"{self.exchange}/{self.stream.value}/{self.symbol}"
