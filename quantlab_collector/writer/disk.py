"""Small things that have to be done on the disk of the spool, however often it refuses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar

import trio

from quantlab_collector.runtime.notices import Notices, SpoolRefused

RETRY_FIRST: Final = 1.0
RETRY_CAP: Final = 30.0

_R = TypeVar("_R")
Call: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]


class Disk:
    """The disk, as seen by what must not be left half done and can be done again."""

    def __init__(self, call: Call, notices: Notices) -> None:
        self._call = call
        self._notices = notices

    async def until_done(self, work: Callable[[], _R], attempts: float = math.inf) -> _R:
        """Have it done. Everything behind it waits, and what is recorded meanwhile stays in the journal.

        After so many attempts the disk's last word is raised.
        """
        delay = RETRY_FIRST
        for attempt in itertools.count(1):
            try:
                result: _R = await self._call(work)
            except OSError as fault:
                if attempt >= attempts:
                    raise
                self._notices.tell(SpoolRefused(str(fault), delay))
            else:
                return result
            await trio.sleep(delay)
            delay = min(2 * delay, RETRY_CAP)
        raise AssertionError("never: it counts for ever")
