"""Name → exchange. The only list."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from quantlab_collector.exchanges import binance
from quantlab_collector.exchanges.protocol import Exchange

_ALL: tuple[Exchange, ...] = (binance.USDM,)

EXCHANGES: Final[Mapping[str, Exchange]] = MappingProxyType({exchange.name: exchange for exchange in _ALL})
