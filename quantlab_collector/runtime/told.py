"""The last things that were told, for whoever looks at the service and not at its log."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import attrs

from quantlab_collector.contracts.masking import mask_addresses

KEPT: Final = 200
LONGEST: Final = 600
"""Characters; a list of reasons may be longer."""


@attrs.frozen
class Told:
    """One line of the log, shortened."""

    number: int
    """Counts up from 1 with each line, so that a reader can ask for what is new."""
    at_ns: int
    level: int
    event: str
    text: str


class RecentlyTold:
    """A ring: the newest stay."""

    def __init__(self) -> None:
        self._ring: deque[Told] = deque(maxlen=KEPT)
        self._number = 0

    def add(self, at_ns: int, level: int, event: str, fields: Mapping[str, Any]) -> None:
        """Keep a line. Its texts were cleaned for the log; addresses are covered here, as the log does it."""
        self._number += 1
        text = mask_addresses(" · ".join(f"{key} {_shown(value)}" for key, value in fields.items() if value not in ("", ())))
        self._ring.append(Told(self._number, at_ns, level, event, text if len(text) <= LONGEST else text[:LONGEST] + "…"))

    def all(self) -> tuple[Told, ...]:
        """Oldest first."""
        return tuple(self._ring)


def _shown(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, tuple) else str(value)
