"""Durations and sizes as people write them, both directions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from quantlab_collector.contracts.units import Bytes, Seconds

_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]{1,3})")

# Largest first: a value is shown in the first unit that gives a whole number.
_SECONDS: Final[Mapping[str, Decimal]] = {"h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_BINARY: Final[Mapping[str, int]] = {"TiB": 1024**4, "GiB": 1024**3, "MiB": 1024**2, "KiB": 1024}
_BYTES: Final[Mapping[str, int]] = {**_BINARY, "TB": 1000**4, "GB": 1000**3, "MB": 1000**2, "kB": 1000, "KB": 1000, "B": 1}

LONGEST: Final = Seconds(365 * 24 * 3600.0)
LARGEST: Final = Bytes(2**63 - 1)
DURATION_FORM: Final = 'a duration such as "500ms", "60s", "5m" or "24h"'
SIZE_FORM: Final = 'a size such as "128MiB", "20GiB" or "2MB"'


def _measure(text: str, units: Mapping[str, int] | Mapping[str, Decimal]) -> Decimal | None:
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None or match[2] not in units:
        return None
    # Decimal, so that "300ms" is the float 0.3 and not its neighbour.
    return Decimal(match[1]) * units[match[2]]


def parse_duration(text: str) -> Seconds | None:
    """``"60s"`` as seconds; ``None`` for what is no duration. Its range is judged elsewhere."""
    amount = _measure(text, _SECONDS)
    return None if amount is None else Seconds(float(amount))


def parse_size(text: str) -> Bytes | None:
    """``"128MiB"`` as bytes; ``None`` for what is no whole number of bytes."""
    amount = _measure(text, _BYTES)
    return None if amount is None or amount != amount.to_integral_value() else Bytes(int(amount))


def format_duration(seconds: Seconds) -> str:
    """A duration as it would be written."""
    amount = Decimal(repr(seconds))
    unit = next((unit for unit, factor in _SECONDS.items() if amount % factor == 0), "ms")
    return f"{(amount / _SECONDS[unit]).normalize():f}{unit}"


def format_size(size: Bytes) -> str:
    """A size as it would be written."""
    unit = next(unit for unit, factor in _BYTES.items() if size % factor == 0)
    return f"{size // _BYTES[unit]}{unit}"
