"""The watch: looks at the state once a second, judges it, and tells what a reader of the log must know."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import trio

from quantlab_collector.contracts.units import Seconds
from quantlab_collector.runtime.freshness import Freshness
from quantlab_collector.runtime.health import Health, queue_pct
from quantlab_collector.runtime.notices import (
    BooksBroken,
    Notices,
    Pulse,
    SilenceDetected,
    SilenceEnded,
    StateChange,
    StreamMute,
    StreamMuteEnded,
    together,
)
from quantlab_collector.runtime.silence_options import SilenceOptions
from quantlab_collector.runtime.state import ServiceState, Snapshot
from quantlab_collector.status.views import rss_mb

LOOK_EVERY: Final = 1.0
PULSE_EVERY: Final = Seconds(30.0)

_STATM: Final = Path("/proc/self/statm")


def resident_bytes() -> int:
    """The memory of this process, now; where the system does not tell that, the most it ever was."""
    try:
        return int(_STATM.read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def run_watch(
    state: ServiceState,
    notices: Notices,
    health: Health,
    *,
    pulse_every: Seconds = PULSE_EVERY,
    silence: SilenceOptions = SilenceOptions(),  # noqa: B008 (it is frozen)
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], int] = time.time_ns,
    rss: Callable[[], int] = resident_bytes,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Watch until cancelled. Start it before the intake: what happens before its first look is in no window."""
    watch = Watch(state, notices, health, pulse_every=pulse_every, silence=silence, clock=clock, wall=wall, rss=rss)
    watch.look()
    task_status.started()
    while True:
        await trio.sleep(LOOK_EVERY)
        watch.look()


class Watch:
    """What the watch remembers from one look to the next."""

    def __init__(
        self,
        state: ServiceState,
        notices: Notices,
        health: Health,
        *,
        pulse_every: Seconds,
        silence: SilenceOptions = SilenceOptions(),  # noqa: B008 (it is frozen)
        clock: Callable[[], float],
        wall: Callable[[], int],
        rss: Callable[[], int],
    ) -> None:
        self._state, self._notices, self._health = state, notices, health
        self._clock, self._wall, self._rss = clock, wall, rss
        self._pulse_every = pulse_every
        self._next_pulse = clock() + pulse_every
        self._books_held = True
        self._freshness = Freshness(silence)

    def look(self) -> None:
        """Feed the windows, judge, tell. No checkpoint: it all is about one instant."""
        now = self._clock()
        self._listen(now)
        self._state.sample(now, self._rss())
        snapshot = self._state.snapshot(now)
        self._judge(snapshot)
        pulse = now >= self._next_pulse
        if pulse:
            self._next_pulse += self._pulse_every
            if self._next_pulse <= now:  # after a stall there is one pulse, not one for each that was missed
                self._next_pulse = now + self._pulse_every
            self._pulse(snapshot)
        self._check_books(snapshot, again=pulse)

    def _listen(self, now: float) -> None:
        """Which topics have stopped delivering, and which deliver again."""
        state, tell = self._state, self._notices.tell
        changes = self._freshness.look(state.connections, state.alignment.baselines, now, self._wall())
        for mutes in together(changes.muted):
            tell(StreamMute(mutes))
        for silences in together(changes.silent):
            tell(SilenceDetected(silences))
        for mutes in together(changes.unmuted):
            tell(StreamMuteEnded(mutes))
        for silences in together(changes.unsilent):
            tell(SilenceEnded(silences))

    def _judge(self, snapshot: Snapshot) -> None:
        before = self._health.look(snapshot, self._clock(), self._wall())
        if before is not None:
            assessment = self._health.standing.assessment
            self._notices.tell(StateChange(before.value, assessment.state.value, assessment.reasons))

    def _pulse(self, snapshot: Snapshot) -> None:
        counters = snapshot.counters
        self._notices.tell(
            Pulse(
                state=self._health.standing.assessment.state.value,
                queue_pct=round(queue_pct(snapshot), 1),
                events_per_sec=round(sum(snapshot.events_per_sec.values()), 1),
                received=counters.received,
                written=counters.written,
                pending=counters.pending,
                drops=counters.dropped,
                rejects=counters.rejected,
                reconnects_15m=snapshot.reconnects_15m,
                silence_15m=snapshot.signals.silences.last_15m,
                mutes=len(snapshot.signals.mutes.open),
                rss_mb=rss_mb(snapshot),
                upload_lag=round(snapshot.upload_lag, 1),
            )
        )

    def _check_books(self, snapshot: Snapshot, *, again: bool) -> None:
        """A bug that lasts is told when it shows, and with every pulse from then on."""
        counters = snapshot.counters
        if not counters.holds and (self._books_held or again):
            self._notices.tell(
                BooksBroken(counters.received, counters.written, counters.dropped, counters.pending, counters.rejected)
            )
        self._books_held = counters.holds
