"""The gate in front of a store: everybody who wants something of it comes through here, and waits here while it is down.

When the store has refused one, the gate closes for all. When it is time, whoever waits longest goes alone; if that succeeds the
gate is open again, else it closes for longer. So a store that is down, and credentials that are wrong, see one request at a time,
no matter how many files wait.

A store that says that there are too many requests gets fewer: with each such answer half as many may be under way at once, down
to one, and with each success one more again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

import trio

from quantlab_collector.runtime.notices import Notices, StoreRecovered, UploadFailed
from quantlab_collector.storage.objects import FaultKind, StoreFault
from quantlab_collector.writer.patience import Patience
from quantlab_collector.writer.threads import Call

MAX_IN_FLIGHT: Final = 16

_R = TypeVar("_R")


class Gate:
    """Shared by all that talk to one store."""

    def __init__(
        self,
        call: Call,
        renew: Callable[[], None],
        patience: Patience,
        notices: Notices,
        luck: Callable[[], float] = random.random,
    ) -> None:
        self._call = call
        self._renew = renew
        self._patience = patience
        self._notices = notices
        self._luck = luck
        self._shown = notices.state.writer
        self._slots = trio.CapacityLimiter(MAX_IN_FLIGHT)
        self._turn = trio.Lock()
        self._failures = 0
        """In a row; above zero the gate is closed."""
        self._reopens = 0.0
        self._closings = 0
        self._renewal_due = False
        self._allow(MAX_IN_FLIGHT)

    def is_open(self) -> bool:
        """Whether the store did the last thing that it was asked for, as far as is known."""
        return not self._failures

    async def until_done(self, what: object, work: Callable[[], _R]) -> _R:
        """Have it done by the store, however often it takes. The text of ``what`` names it, at each moment."""
        while True:  # noqa: ASYNC913 - every way through it waits for the store, in a thread
            try:
                async with self._slots:
                    if not self.is_open():
                        async with self._turn:
                            # The one before may have opened it meanwhile; then the turn passes on at once.
                            if not self.is_open():
                                await trio.sleep_until(self._reopens)
                                return await self._try(what, work, self._call)
                    return await self._try(what, work, self._call)
            except StoreFault:
                # Told where it happened. Whoever failed goes to the end of the line: one bad file must not hold up the others.
                continue

    async def at_once(self, what: object, work: Callable[[], _R], call: Call) -> _R:
        """Past the line, and only once: for the rare thing that must not wait behind large files. What it meets, all learn."""
        return await self._try(what, work, call)

    async def _try(self, what: object, work: Callable[[], _R], call: Call) -> _R:
        closings = self._closings
        self._shown.in_flight_uploads += 1
        self._shown.uploading[what] = time.time_ns()
        try:
            if self._renewal_due:
                await call(self._renew)
                self._renewal_due = False
            result: _R = await call(work)
        except StoreFault as fault:
            self._failed(str(what), fault, is_news=closings == self._closings)
            raise
        finally:
            self._shown.in_flight_uploads -= 1
            self._shown.uploading.pop(what, None)
        # Something that was under way when the gate closed says nothing about the store as it is now.
        if closings == self._closings:
            self._passed()
        return result

    def _failed(self, what: str, fault: StoreFault, *, is_news: bool) -> None:
        """``is_news``: the gate did not close since this was begun; else it belongs to a failure that has been dealt with."""
        if is_news:
            self._failures += 1
            self._closings += 1
            self._reopens = trio.current_time() + self._patience.wait(fault, self._failures, self._luck())
            self._renewal_due |= fault.kind is FaultKind.AUTH
            if fault.kind is FaultKind.THROTTLED:
                self._allow(int(self._slots.total_tokens) // 2)
        self._notices.tell(UploadFailed(what, fault.kind, str(fault), round(max(0.0, self._reopens - trio.current_time()), 3)))

    def _passed(self) -> None:
        if self._failures:
            self._notices.tell(StoreRecovered(self._failures))
        self._failures = 0
        self._allow(int(self._slots.total_tokens) + 1)

    def _allow(self, slots: int) -> None:
        self._slots.total_tokens = self._shown.upload_slots = min(max(slots, 1), MAX_IN_FLIGHT)
