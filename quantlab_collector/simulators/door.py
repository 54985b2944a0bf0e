"""What the next client who knocks gets: a welcome, a refusal, or nothing at all.

A simulator has two doors, one for WebSocket handshakes and one for REST. No I/O in here: a door decides, its server acts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import trio

from quantlab_collector.simulators.injection import Injection


@attrs.define(eq=False)
class _Rule:
    """Something that happens to the next ``left`` clients, or to all of them for a time."""

    injection: Injection
    left: float = math.inf
    until: float = math.inf
    """In Trio's time."""
    status: int = 503
    retry_after: float | None = None
    counts_down: bool = False
    """Whether ``Retry-After`` tells what is left of the time."""

    @property
    def alive(self) -> bool:
        return self.left > 0 and trio.current_time() < self.until

    def strike(self) -> None:
        self.left -= 1
        self.injection.hit()


@attrs.frozen
class Refusal:
    """An HTTP answer that means no."""

    status: int
    headers: Mapping[str, str]


class Door:
    """One entrance, and the rules that are laid on it. The oldest rule that still holds is the one that counts."""

    def __init__(self) -> None:
        self._refusals: list[_Rule] = []
        self._hangs: list[_Rule] = []
        self._half_open: list[_Rule] = []

    def refuse(
        self,
        injection: Injection,
        status: int,
        *,
        retry_after: float | None = None,
        for_seconds: float | None = None,
        count: int | None = None,
        counts_down: bool = False,
    ) -> None:
        """Answer with ``status``, so many times or so long; without either, until the door is opened."""
        self._refusals.append(
            _Rule(
                injection,
                left=math.inf if count is None else count,
                until=math.inf if for_seconds is None else trio.current_time() + for_seconds,
                status=status,
                retry_after=retry_after,
                counts_down=counts_down,
            )
        )

    def hang(self, injection: Injection, count: int) -> None:
        """Take the next ``count`` connections, and then neither read nor answer."""
        self._hangs.append(_Rule(injection, left=count))

    def half_open(self, injection: Injection, count: int) -> None:
        """Welcome the next ``count`` clients, and then neither read nor answer."""
        self._half_open.append(_Rule(injection, left=count))

    def open(self) -> None:
        """Forget all rules."""
        self._refusals.clear()
        self._hangs.clear()
        self._half_open.clear()

    def leaves_hanging(self) -> bool:
        """Whether the client at the door is not even answered."""
        return _strike(self._hangs) is not None

    def refusal(self) -> Refusal | None:
        """How the client at the door is refused, if at all."""
        rule = _strike(self._refusals)
        if rule is None:
            return None
        wait = rule.until - trio.current_time() if rule.counts_down else rule.retry_after
        return Refusal(rule.status, {} if wait is None else {"Retry-After": str(math.ceil(wait))})

    def forgets(self) -> bool:
        """Whether the client who has just been welcomed is forgotten at once."""
        return _strike(self._half_open) is not None


def _strike(rules: list[_Rule]) -> _Rule | None:
    rules[:] = [rule for rule in rules if rule.alive]
    if not rules:
        return None
    rules[0].strike()
    return rules[0]
