"""How long to leave a store alone that did not do it. Pure: a fault in, seconds out."""

from __future__ import annotations

from typing import Final

import attrs

from quantlab_collector.storage.objects import FaultKind, StoreFault

OPERATOR_WAIT: Final = 30.0
"""Seconds, at the least, where a person has to change something: asking more often changes nothing and can lock an account."""
THROTTLED_FACTOR: Final = 4.0
"""So many times longer than after any other fault: the store has said that it is we who are too many."""
LONGEST_RETRY_AFTER: Final = 3600.0
"""A store that asks for more is believed so far."""

_MANY: Final = 60
"""Beyond so many doublings every cap is reached."""


@attrs.frozen
class Patience:
    """The waits of one store."""

    first: float
    """Seconds after the first failure."""
    cap: float
    """Doubling ends here."""

    def wait(self, fault: StoreFault, failures: int, luck: float) -> float:
        """Seconds to wait after so many failures in a row; ``luck``, from 0 to 1, keeps those who wait from coming together."""
        grown = float(min(self.first * 2 ** min(failures - 1, _MANY), self.cap))
        spread = 0.5 + luck / 2
        match fault.kind:
            case FaultKind.TRANSIENT:
                seconds = grown * spread
            case FaultKind.THROTTLED:
                seconds = grown * spread * THROTTLED_FACTOR
            case FaultKind.AUTH | FaultKind.CLOCK | FaultKind.CONFIG:
                seconds = max(grown, OPERATOR_WAIT) * (0.5 + spread)
        return max(seconds, min(fault.retry_after or 0.0, LONGEST_RETRY_AFTER))
