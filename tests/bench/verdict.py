"""The figures that are to be reached, next to those that were measured. All are of one run on one machine."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from receivers import BARE, CRYPTOFEED, PICOWS, SERVICE, TRIO
from results import PLAIN, TLS, Result, find

PEERS = (
    (PLAIN, BARE, 1.0),
    (PLAIN, CRYPTOFEED, 0.33),
    (PLAIN, TRIO, 0.17),
    (PLAIN, PICOWS, 3.2),
    (TLS, PICOWS, 2.8),
    (TLS, CRYPTOFEED, 0.4),
)
"""CPU per message of the whole service, to that of others: over which line, of whom, at most."""
OTHER_EXCHANGES = 1.4
"""CPU per event of Bybit and OKX, to that of Binance, at most."""


@attrs.frozen
class Figure:
    """One figure. It is kept when it is not above its target; what was not measured says why."""

    text: str
    value: float | None
    target: float
    unit: str = "×"
    why_not: str = "not measured"

    @property
    def kept(self) -> bool | None:
        return None if self.value is None else self.value <= self.target

    @property
    def line(self) -> str:
        if self.value is None:
            return f"{self.text}: {self.why_not} (target ≤ {self.target:g} {self.unit})"
        return f"{self.text}: {self.value:.3g} {self.unit}, target ≤ {self.target:g} {self.unit}: {'kept' if self.kept else 'MISSED'}"


def comparison(results: list[Result], missing: dict[str, str]) -> Iterator[Figure]:
    """What one table says. ``missing`` tells of rows that could not be measured why."""
    for transport, row, target in PEERS:
        service = find(results, SERVICE, "binance", transport)
        other = service and service.beside(row, results)
        value = service.middle.per_message / other.middle.per_message if service and other else None
        yield Figure(f"{transport}, a message, the service to {row}", value, target, why_not=missing.get(row, "not measured"))
    binance = find(results, SERVICE, "binance", PLAIN)
    for exchange in ("bybit", "okx"):
        other = find(results, SERVICE, exchange, PLAIN)
        value = other.middle.per_event / binance.middle.per_event if binance and other else None
        yield Figure(f"plain, an event, {exchange} to binance", value, OTHER_EXCHANGES)
