"""The proof that a fault was really there: when it was ordered, and each time it struck.

A fault test that cannot show its fault shows nothing. So every verb of ``Faults`` leaves an injection behind, and whoever carries
the verb out reports to it.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.define(eq=False)
class Injection:
    """One order to do harm, and what came of it."""

    verb: str
    detail: str
    """The arguments, as a person would write them."""
    ordered_ns: int
    """Wall time of the order."""
    hits: int = 0
    """How often it struck: connections closed, handshakes refused, events left out."""
    first_ns: int | None = None
    """Wall time of the first hit."""
    last_ns: int | None = None
    _clock: Callable[[], int] = attrs.field(kw_only=True, repr=False)

    def hit(self, times: int = 1) -> None:
        """It has struck."""
        if times == 0:
            return
        self.last_ns = self._clock()
        self.first_ns = self.first_ns or self.last_ns
        self.hits += times
