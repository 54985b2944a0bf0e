"""The market behind the simulators: what each numbered event says.

The events of one kind and one symbol are numbered 0, 1, 2 and so on. What an event says is a pure function of the seed, the
symbol, the kind and that number, so it can be told again at any time. And every event carries its number in a value that a
recorder keeps, so that a recording can be held against what was sent, row by row:

=========== ==========================================================================
quote       the bid quantity: one thousandth for event 0, two for event 1
trade       the trade id: consecutive from the symbol's first
mark price  the difference of index and mark price, in units of 1e-8 (``_zigzag``)
funding     the rate, in units of 1e-8 (``_zigzag``)
=========== ==========================================================================

All values are made of integers and become decimal text only at the end: what a reader parses is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

import attrs
import msgspec

from quantlab_collector.contracts.events import BUY, SELL, StreamType

MAX_DELAY_MS: Final = 3
"""How long after a match its message is pushed, at most."""

_E8: Final = 10**8
_FILLS: Final = 3
"""Raw trade ids that a trade uses up. Those that it has no fill for carry nothing."""
_USUAL_FUNDING_E8: Final = 10_000

PACE: Final = {StreamType.BBO: 7, StreamType.TRADE: 2, StreamType.MARK_PRICE: 1}
"""Events per step of the price's walk: with this mix of kinds, all kinds of a symbol show the same walk."""


@attrs.frozen
class Instrument:
    """How prices of a symbol are written, and about how high they are; both in units of the last decimal."""

    decimals: int
    tick: int
    level: int

    @property
    def tick_size(self) -> str:
        """The smallest step of a price, as lists of instruments have it."""
        return f"{self.tick / 10**self.decimals:.{self.decimals}f}"


_KNOWN: Final = {
    "BTCUSDT": Instrument(2, 10, 84_000_00),
    "ETHUSDT": Instrument(2, 1, 2_670_00),
    "BNBUSDT": Instrument(3, 10, 912_000),
    "SOLUSDT": Instrument(4, 100, 141_0000),
    "XRPUSDT": Instrument(4, 1, 2_1400),
    "LINKUSDT": Instrument(3, 1, 13_400),
    "ADAUSDT": Instrument(5, 10, 48_000),
    "AVAXUSDT": Instrument(4, 10, 15_2000),
    "LTCUSDT": Instrument(2, 1, 93_00),
    "POLUSDT": Instrument(5, 1, 16_000),
}
DEFAULT_SYMBOLS: Final = tuple(_KNOWN)


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Event n of the best bid and offer."""

    bid_price: str
    bid_qty: str
    ask_price: str
    ask_qty: str
    update_id: int
    delay_ms: int


class Print(msgspec.Struct, frozen=True, gc=False):
    """Event n of the trades: some fills of one price and one taker side."""

    price: str
    qty: str
    ordinary_qty: str
    """The quantity without the fills against retail-only orders."""
    side: int
    trade_id: int
    first_fill: int
    last_fill: int
    delay_ms: int


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One raw trade id, and what was filled under it."""

    fill_id: int
    qty: str | None
    """``None`` for an id that was used up without a trade."""


class Mark(msgspec.Struct, frozen=True, gc=False):
    """Event n of the mark price and what is told along with it."""

    mark_price: str
    average_price: str
    index_price: str
    settle_price: str
    funding_rate: str


class SymbolMarket:
    """The market of one symbol."""

    def __init__(self, seed: int, symbol: str) -> None:
        self.symbol = symbol
        salt = _salt(seed, symbol, "")
        self.instrument = _KNOWN.get(symbol) or Instrument(4, 1, 1_0000 + salt % 99_0000)
        self._salts = {kind: _salt(seed, symbol, kind.value) for kind in PACE}
        self._phases = tuple((salt >> shift) % 6283 / 1000 for shift in (0, 16, 32))
        self._price_unit: int = 10**self.instrument.decimals
        self._tick_e8 = self.instrument.tick * _E8 // self._price_unit
        self.basis_e8 = 2 * self.instrument.level * _E8 // self._price_unit // 10_000
        """What index and mark price differ by before the number is added: two hundredths of a percent."""
        self.first_update = 11_700_000_000_000 + salt % 10_000_000_000
        self.first_trade = 3_000_000_000 + salt % 200_000_000
        self.first_fill = 7_000_000_000 + salt % 900_000_000

    def quote(self, number: int) -> Quote:
        """What event ``number`` of the best bid and offer says."""
        chance = self._chance(StreamType.BBO, number)
        bid = self._ticks(StreamType.BBO, number) + chance % 3 - 1
        ask = bid + 1 + (chance >> 8) % 64 // 60  # one tick apart, now and then two
        return Quote(
            bid_price=self._price(bid),
            bid_qty=_thousandths(number + 1),
            ask_price=self._price(ask),
            ask_qty=_thousandths(1 + (chance >> 16) % 40_000),
            update_id=self.first_update + 3 * number + (chance >> 32) % 3,  # grows, and is not consecutive
            delay_ms=(chance >> 40) % (MAX_DELAY_MS + 1),
        )

    def trade(self, number: int) -> Print:
        """What trade ``number`` says."""
        chance = self._chance(StreamType.TRADE, number)
        side = BUY if chance & 1 else SELL
        qty = _trade_qty(chance)
        retail = qty // 4 if (chance >> 24) % 16 == 0 else 0
        first_fill = self.first_fill + _FILLS * number
        return Print(
            price=self._price(self._ticks(StreamType.TRADE, number) + (side == BUY)),
            qty=_thousandths(qty),
            ordinary_qty=_thousandths(qty - retail),
            side=side,
            trade_id=self.first_trade + number,
            first_fill=first_fill,
            last_fill=first_fill + _more_fills(chance),
            delay_ms=(chance >> 40) % (MAX_DELAY_MS + 1),
        )

    def fills(self, number: int) -> list[Fill]:
        """The ids that trade ``number`` uses up, with the quantities that make up its own; all trades together leave no hole."""
        chance = self._chance(StreamType.TRADE, number)
        qty, more = _trade_qty(chance), _more_fills(chance)
        share = qty // (more + 1)
        parts = [qty - more * share, *[share] * more] + [0] * (_FILLS - 1 - more)
        first = self.first_fill + _FILLS * number
        return [Fill(first + place, _thousandths(part) if part else None) for place, part in enumerate(parts)]

    def mark(self, number: int) -> Mark:
        """What mark price ``number`` says."""
        chance = self._chance(StreamType.MARK_PRICE, number)
        mark = self._ticks(StreamType.MARK_PRICE, number) * self._tick_e8 + chance % self._tick_e8
        return Mark(
            mark_price=_e8(mark),
            average_price=_e8(mark + (chance >> 24) % self._tick_e8),
            index_price=_e8(mark + self.basis_e8 + _zigzag(number)),
            settle_price=_e8(mark + 3 * self.basis_e8 + (chance >> 32) % self._tick_e8),
            funding_rate=_e8(_USUAL_FUNDING_E8 + _zigzag(number)),
        )

    def open_interest(self, number: int) -> str:
        """The open interest at the time of mark price ``number``."""
        return _thousandths(80_000_000 + self._chance(StreamType.MARK_PRICE, number) % 1_000_000)

    def number_of_quote(self, bid_qty: float) -> int:
        """The number of the quote with this bid quantity."""
        return round(bid_qty * 1000) - 1

    def number_of_trade(self, trade_id: int) -> int:
        """The number of the trade with this id."""
        return trade_id - self.first_trade

    def number_of_mark(self, mark_price: float, index_price: float) -> int:
        """The number of the mark price with these prices."""
        return _unzigzag(round(index_price * _E8) - round(mark_price * _E8) - self.basis_e8)

    def number_of_funding(self, funding_rate: float) -> int:
        """The number of the mark price that told this rate."""
        return _unzigzag(round(funding_rate * _E8) - _USUAL_FUNDING_E8)

    def _chance(self, kind: StreamType, number: int) -> int:
        """64 well-mixed bits (the finisher of splitmix64): the dice of event ``number``."""
        bits = (self._salts[kind] + number * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        return bits ^ (bits >> 31)

    def _ticks(self, kind: StreamType, number: int) -> int:
        """The price's walk in ticks: waves of about an hour, six minutes and forty seconds at one step a second."""
        step = number / PACE[kind]
        slow, middle, fast = self._phases
        swing = 0.008 * math.sin(step / 573 + slow) + 0.003 * math.sin(step / 61 + middle) + 0.0006 * math.sin(step / 7 + fast)
        return int(self.instrument.level * (1 + swing)) // self.instrument.tick

    def _price(self, ticks: int) -> str:
        whole, rest = divmod(ticks * self.instrument.tick, self._price_unit)
        return f"{whole}.{rest:0{self.instrument.decimals}d}"


class Market:
    """The markets of all symbols under one seed."""

    def __init__(self, seed: int, symbols: Iterable[str]) -> None:
        self.seed = seed
        self.symbols = tuple(symbols)
        self._of = {symbol: SymbolMarket(seed, symbol) for symbol in self.symbols}

    def __getitem__(self, symbol: str) -> SymbolMarket:
        return self._of[symbol]

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._of


def _salt(seed: int, symbol: str, what: str) -> int:
    # Not hash(): that one differs from process to process.
    return int.from_bytes(blake2b(f"{seed}/{symbol}/{what}".encode(), digest_size=8).digest())


def _trade_qty(chance: int) -> int:
    return 1 + (chance >> 8) % 2_000


def _more_fills(chance: int) -> int:
    return (chance >> 32) % _FILLS


def _zigzag(number: int) -> int:
    """0, -1, 1, -2, 2, …: a number as a small value around zero that can be read back for ever."""
    return -(number + 1) // 2 if number & 1 else number // 2


def _unzigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _thousandths(value: int) -> str:
    whole, rest = divmod(value, 1000)
    return f"{whole}.{rest:03d}"


def _e8(value: int) -> str:
    whole, rest = divmod(abs(value), _E8)
    return f"{'-' if value < 0 else ''}{whole}.{rest:08d}"
