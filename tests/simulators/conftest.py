from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from quantlab_collector.simulators.binance import BinanceOptions, BinanceSimulator, serve_binance

Play = Callable[..., Awaitable[BinanceSimulator]]


@pytest.fixture
def play(nursery: trio.Nursery) -> Play:
    """Start a simulator that lives as long as the test."""

    async def start(**options: object) -> BinanceSimulator:
        options = {"symbols": ("BTCUSDT", "ETHUSDT", "XRPUSDT"), "rate": 20_000.0} | options
        return await nursery.start(serve_binance, BinanceOptions(**options))

    return start
