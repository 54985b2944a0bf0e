"""How long to wait before the next attempt, and how many attempts an exchange allows. Pure: the caller brings time and chance."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from quantlab_collector.intake.options import ReconnectOptions
from quantlab_collector.intake.transport import FaultKind, TransportFault

BANNED_STATUS = 418
BANNED_WAIT = 120.0
"""Without a Retry-After header: the shortest ban there is. https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info"""
RATE_LIMITED_STATUS = 429
POLICY_CLOSE_CODE = 1008
RATE_LIMITED_WAIT = 30.0


class Backoff:
    """1 s doubling to the cap, with jitter, from the first again once data has flowed for a while."""

    def __init__(self, options: ReconnectOptions, chance: Callable[[], float]) -> None:
        self._options = options
        self._chance = chance
        self.attempts = 0
        """Failures in a row."""

    def succeeded(self) -> None:
        """Data has flowed for ``stable_after``: the next failure is the first again."""
        self.attempts = 0

    def failed(self, fault: TransportFault) -> float:
        """Count a failure; the seconds to wait before the next attempt. An end that was announced is no failure."""
        options = self._options
        if fault.kind is FaultKind.ANNOUNCED:
            return self._chance() * options.first
        self.attempts += 1
        longest = min(options.first * 2.0 ** min(self.attempts - 1, 32), options.cap)
        # Half of it is chance, so that connections which were cut together do not come back together.
        wait = longest * (0.5 + 0.5 * self._chance())
        return max(wait, _at_least(fault))

    @property
    def exhausted(self) -> bool:
        """Whether it failed too often in a row."""
        return self.attempts >= self._options.max_attempts


def _at_least(fault: TransportFault) -> float:
    """What the exchange asks for, when it says that we come too often."""
    if fault.retry_after is not None:
        return fault.retry_after
    if fault.status == BANNED_STATUS:
        return BANNED_WAIT
    if fault.status == RATE_LIMITED_STATUS or fault.close_code == POLICY_CLOSE_CODE:
        return RATE_LIMITED_WAIT
    return 0.0


class ConnectBudget:
    """At most so many attempts in so many seconds, and none during a ban; all connections of an exchange together."""

    def __init__(self, limit: int, period: float) -> None:
        self._limit = limit
        self._period = period
        self._taken: deque[float] = deque()
        self._banned_until = 0.0

    def ban(self, until: float) -> None:
        """The exchange has shut its door on us, not on one connection."""
        self._banned_until = max(self._banned_until, until)

    def take(self, now: float) -> float:
        """Book an attempt now and give 0, or give the seconds after which to ask again."""
        taken = self._taken
        # The same sum here and below: rounding must not let an attempt be over for one and not for the other.
        while taken and taken[0] + self._period <= now:
            taken.popleft()
        allowed = max(self._banned_until, taken[0] + self._period if len(taken) >= self._limit else 0.0)
        if now < allowed:
            return max(allowed - now, 0.001)  # so that rounding never makes the caller ask for ever
        taken.append(now)
        return 0.0


def is_ban(fault: TransportFault) -> bool:
    """Whether the exchange refuses our address, whatever the connection."""
    return fault.status in (BANNED_STATUS, RATE_LIMITED_STATUS)
