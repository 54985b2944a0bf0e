"""One collector ships as an instance, however many were given its name by mistake.

``storage.claims`` knows how a claim is made. Here is when: before the first upload, and again after another collector has taken
over; a sign of life four times in ``takeover_after``; and one question before each manifest.
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from quantlab_collector.runtime.notices import ShippingClaimed, ShippingRefused, ShippingTakenOver
from quantlab_collector.storage.claims import Claim, Claims
from quantlab_collector.storage.objects import StoreFault
from quantlab_collector.writer.context import WriterContext
from quantlab_collector.writer.disk import Disk
from quantlab_collector.writer.gate import Gate

TELL_EVERY: Final = 60.0
RELEASE_LIMIT: Final = 2.0


class Ownership:
    """Whether we may ship as our instance."""

    def __init__(self, context: WriterContext, gate: Gate) -> None:
        self.instance = context.state.instance
        self._gate = gate
        self._notices = context.notices
        self._threads = context.threads
        takeover_after = context.options.storage.takeover_after
        self._look_every = min(TELL_EVERY, takeover_after / 4)
        self._vouch_every = takeover_after / 4
        self._disk = Disk(context.threads.upload, context.notices)
        # The spool's name is read, or made: a disk that is full, or fails, must not keep us from starting.
        self._open_claims = partial(Claims, context.objects, context.spool, self.instance, takeover_after)
        self._claims: Claims | None = None
        self._at_work = trio.Lock()
        self._held: Claims | None = None
        self._told = -math.inf

    async def acquire(self, give_up: trio.Event) -> bool:
        """Wait until nobody else ships as our instance; ``False`` if somebody still does when there is no more time to wait."""
        while not self._held:
            async with self._at_work:
                if self._claims is None:
                    self._claims = await self._disk.until_done(self._open_claims)
                claims = self._claims
                holder = await self._gate.until_done("claim", claims.acquire)
                if holder is None:
                    self._held, self._told = claims, -math.inf
                    self._notices.tell(ShippingClaimed(self.instance, claims.number, claims.after))
                    return True
            if trio.current_time() - self._told >= TELL_EVERY:
                self._told = trio.current_time()
                self._notices.tell(ShippingRefused(*self._words(holder)))
            if give_up.is_set():
                return False
            with trio.move_on_after(self._look_every):
                await give_up.wait()
        return True

    async def still_ours(self) -> bool:
        """Asked before each manifest."""
        if self._held:
            self._lost_to(await self._gate.until_done("claim", self._held.overtaken))
        return self._held is not None

    async def vouch(self) -> None:
        """Give signs of life until cancelled."""
        while True:
            await trio.sleep(self._vouch_every)
            async with self._at_work:
                if self._held:
                    with suppress(StoreFault):  # told by the gate; there are three more before anybody may think that we are gone
                        self._lost_to(await self._gate.at_once("claim", self._held.vouch, self._threads.vouch))

    async def release(self) -> None:
        """Everything is shipped. That this fails is no reason for anything: whoever comes next waits a little longer."""
        if self._held:
            with trio.move_on_after(RELEASE_LIMIT), suppress(StoreFault):
                await self._gate.at_once("claim", self._held.release, self._threads.vouch)

    def _lost_to(self, other: Claim | None) -> None:
        if other is not None and self._held:
            self._held, self._told = None, trio.current_time()
            self._notices.tell(ShippingTakenOver(*self._words(other)))

    def _words(self, holder: Claim) -> tuple[str, str, str, str]:
        text = (
            f"another collector ships as instance '{self.instance}' (host {holder.host}): give each its own collector.instance_id"
        )
        return self.instance, holder.host, holder.claimed, text
