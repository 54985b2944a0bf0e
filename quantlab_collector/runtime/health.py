"""The state of the service in one word, with the reasons. Worst first: ERROR › OFFLINE › DEGRADED › READY."""

from __future__ import annotations

from enum import StrEnum

import attrs

from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.state import Snapshot, any_up

QUEUE_WARNING_PCT = 80.0
UNCONNECTED = "no WebSocket is connected"


class ServiceHealth(StrEnum):
    """How the service is."""

    READY = "READY"
    DEGRADED = "DEGRADED"
    OFFLINE = "OFFLINE"
    ERROR = "ERROR"


@attrs.frozen
class Assessment:
    """The word, and why it is not a better one."""

    state: ServiceHealth
    reasons: tuple[str, ...] = ()


@attrs.frozen
class Standing:
    """A judgement, and since when its word has been the same."""

    assessment: Assessment
    since_ns: int


class Health:
    """How the service is. The watch alone changes it; everyone else looks at ``standing``."""

    def __init__(self, started_ns: int) -> None:
        self.standing = Standing(Assessment(ServiceHealth.OFFLINE, (UNCONNECTED,)), started_ns)

    def judge(self, assessment: Assessment, now_ns: int) -> ServiceHealth | None:
        """Take a new judgement; gives the word before, if that was another."""
        before = self.standing
        if assessment.state is before.assessment.state:
            self.standing = Standing(assessment, before.since_ns)
            return None
        self.standing = Standing(assessment, now_ns)
        return before.assessment.state


def queue_pct(snapshot: Snapshot) -> float:
    """How full the queue is."""
    return 100.0 * snapshot.queued / snapshot.queue_capacity


def assess(snapshot: Snapshot) -> Assessment:
    """Judge a snapshot."""
    if snapshot.fatal is not None:
        return Assessment(ServiceHealth.ERROR, (snapshot.fatal,))
    if snapshot.writer.shipping_blocked is not None:
        return Assessment(ServiceHealth.ERROR, (snapshot.writer.shipping_blocked,))
    if snapshot.writer.obstacle is not None:
        return Assessment(ServiceHealth.ERROR, (f"{snapshot.writer.obstacle}: {snapshot.writer.obstacle_text}",))
    if not any_up(snapshot):
        return Assessment(ServiceHealth.OFFLINE, (UNCONNECTED,))
    reasons = []
    if queue_pct(snapshot) > QUEUE_WARNING_PCT:
        reasons.append(f"the queue is {queue_pct(snapshot):.0f} % full")
    if snapshot.drops_15m:
        reasons.append(f"{snapshot.drops_15m} events dropped in the last 15 minutes")
    reasons += [f"{c.exchange}/{c.name} is in ERROR: {c.reason}" for c in snapshot.connections if c.state is State.ERROR]
    if snapshot.writer.storage_fault is not None:
        reasons.append(f"the store does not take data: {snapshot.writer.storage_fault}")
    if snapshot.writer.encode_fault is not None:
        reasons.append(f"no parts can be made: {snapshot.writer.encode_fault}")
    if not snapshot.counters.holds:
        reasons.append("the books do not balance")
    return Assessment(ServiceHealth.DEGRADED if reasons else ServiceHealth.READY, tuple(reasons))


def not_recording(snapshot: Snapshot) -> str | None:
    """Why the service is not ready to be counted upon, or ``None``: recording, and data reaching storage."""
    assessment = assess(snapshot)
    if snapshot.stopping:
        return "stopping"
    if assessment.state in (ServiceHealth.ERROR, ServiceHealth.OFFLINE):
        return assessment.reasons[0]
    if not any(connection.state is State.ACTIVE for connection in snapshot.connections):
        return "no connection has delivered data yet"
    if snapshot.writer.storage_fault is not None:
        return "data does not reach the store"
    return None
