"""What a receiver is to do: the connections that the collector would make, for receivers that know nothing of it."""

from __future__ import annotations

import json
from pathlib import Path

from quantlab_collector.exchanges.protocol import ConnectionPlan, Endpoints, Wanted
from quantlab_collector.exchanges.registry import EXCHANGES


def connections(exchange: str, symbols: tuple[str, ...], url: str) -> tuple[ConnectionPlan, ...]:
    """As the collector plans them."""
    of = EXCHANGES[exchange]
    return of.plan(Wanted(symbols, of.streams, Endpoints(url, "")))


def write(path: Path, exchange: str, symbols: tuple[str, ...], url: str, ca_file: Path) -> None:
    """The plan as JSON."""
    plan = {
        "exchange": exchange,
        "symbols": symbols,
        "url": url,
        "ca_file": str(ca_file),
        "connections": [
            {"url": each.url, "requests": [request.decode() for request in each.requests]}
            for each in connections(exchange, symbols, url)
        ],
    }
    path.write_text(json.dumps(plan))
