"""Name → exchange. The only list."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from quantlab_collector.exchanges import binance, bybit, okx
from quantlab_collector.exchanges.protocol import Exchange

_ALL: tuple[Exchange, ...] = (binance.USDM, bybit.LINEAR, okx.OKX, binance.SPOT, bybit.SPOT)

EXCHANGES: Final[Mapping[str, Exchange]] = MappingProxyType({exchange.name: exchange for exchange in _ALL})

ON_REQUEST: Final = frozenset({binance.SPOT.name, bybit.SPOT.name})
"""Recorded only when the user enables them; the others are recorded unless the user disables them."""
