"""The state of the service in one word, with the reasons. Worst first: ERROR › OFFLINE › DEGRADED › READY."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import attrs

from quantlab_collector.contracts.manifest import Mute
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.silence_options import SilenceOptions
from quantlab_collector.runtime.state import Snapshot, any_up

QUEUE_WARNING_PCT = 80.0
QUEUE_RELIEF_PCT = 60.0
"""A queue that was too full is still too full above this."""
STALLED_AFTER = 60.0
"""Seconds: a connection that is down for longer is more than a reconnect."""
MAX_NAMED = 3
"""Of more mutes the reason says only how many they are."""
DEFAULTS = SilenceOptions()
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

    def __init__(self, started_ns: int, options: SilenceOptions = DEFAULTS) -> None:
        self.standing = Standing(Assessment(ServiceHealth.OFFLINE, (UNCONNECTED,)), started_ns)
        self._options = options
        self._queue_limit = QUEUE_WARNING_PCT
        self._trouble: tuple[tuple[str, ...], float] = ((), 0.0)
        """Why it was degraded last, and when."""

    def look(self, snapshot: Snapshot, now: float, now_ns: int) -> ServiceHealth | None:
        """Judge a snapshot, slow to believe that a trouble is over; gives the word before, if that was another."""
        assessment = assess(snapshot, self._options, self._queue_limit)
        self._queue_limit = QUEUE_RELIEF_PCT if queue_pct(snapshot) > self._queue_limit else QUEUE_WARNING_PCT
        if assessment.state is ServiceHealth.DEGRADED:
            self._trouble = (assessment.reasons, now)
        reasons, since = self._trouble
        calming = self.standing.assessment.state is ServiceHealth.DEGRADED and now - since < self._options.calm
        if assessment.state is ServiceHealth.READY and calming:
            assessment = Assessment(ServiceHealth.DEGRADED, tuple(f"until a moment ago: {reason}" for reason in reasons))
        return self.judge(assessment, now_ns)

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


def assess(snapshot: Snapshot, options: SilenceOptions = DEFAULTS, queue_limit: float = QUEUE_WARNING_PCT) -> Assessment:
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
    if queue_pct(snapshot) > queue_limit:
        reasons.append(f"the queue is {queue_pct(snapshot):.0f} % full")
    if snapshot.drops_15m:
        reasons.append(f"{snapshot.drops_15m} events dropped in the last 15 minutes")
    reasons += [f"{c.exchange}/{c.name} is in ERROR: {c.reason}" for c in snapshot.connections if c.state is State.ERROR]
    reasons += _missing(snapshot, options)
    if snapshot.writer.storage_fault is not None:
        reasons.append(f"the store does not take data: {snapshot.writer.storage_fault}")
    if snapshot.writer.encode_fault is not None:
        reasons.append(f"no parts can be made: {snapshot.writer.encode_fault}")
    if not snapshot.counters.holds:
        reasons.append("the books do not balance")
    return Assessment(ServiceHealth.DEGRADED if reasons else ServiceHealth.READY, tuple(reasons))


def _missing(snapshot: Snapshot, options: SilenceOptions) -> Iterator[str]:
    """What should come and does not, or did not."""
    signals, now_ns = snapshot.signals, snapshot.started_ns + int(snapshot.uptime * 1e9)
    if signals.mutes.open:
        names = ", ".join(map(_name, signals.mutes.open[:MAX_NAMED])) + (", …" if len(signals.mutes.open) > MAX_NAMED else "")
        yield f"{len(signals.mutes.open)} mute: {names}"
    if signals.silences.last_15m > options.max_silences:
        yield f"{signals.silences.last_15m} silences in the last 15 minutes"
    if signals.gaps.last_15m > options.max_gaps:
        yield f"{signals.gaps.last_15m} gaps in the last 15 minutes"
    for gap in signals.gaps.open:
        seconds = (now_ns - gap.since) / 1e9
        if seconds >= STALLED_AFTER:
            yield f"{gap.exchange}/{gap.connection} has brought nothing for {seconds:.0f} s: {gap.reason}"


def _name(mute: Mute) -> str:
    return "/".join((mute.exchange, *((mute.connection,) if mute.symbol is None else (mute.stream or "", mute.symbol))))


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
