"""Small things that have to be done on the disk of the spool, however often it refuses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from quantlab_collector.runtime.notices import Notices, SpoolRefused
from quantlab_collector.writer.threads import Call

RETRY_FIRST: Final = 1.0
RETRY_CAP: Final = 30.0

_R = TypeVar("_R")


async def until_disk_does(
    attempt: Callable[[int], Awaitable[_R]],
    refused: Callable[[int, OSError, float], None],
) -> _R:
    """Attempt something, by its number from 1, until no ``OSError`` comes of it.

    ``refused`` tells of each, with the seconds until the next attempt; what it raises ends the matter.
    """
    delay = RETRY_FIRST
    for number in itertools.count(1):
        try:
            return await attempt(number)
        except OSError as fault:
            refused(number, fault, delay)
        await trio.sleep(delay)
        delay = min(2 * delay, RETRY_CAP)
    raise AssertionError("never: it counts for ever")


class Disk:
    """The disk, as seen by what must not be left half done and can be done again."""

    def __init__(self, call: Call, notices: Notices) -> None:
        self._call = call
        self._notices = notices

    async def until_done(self, work: Callable[[], _R], attempts: float = math.inf) -> _R:
        """Have it done. Everything behind it waits, and what is recorded meanwhile stays in the journal.

        After so many attempts the disk's last word is raised.
        """

        async def attempt(_: int) -> _R:
            result: _R = await self._call(work)
            return result

        def refused(number: int, fault: OSError, delay: float) -> None:
            if number >= attempts:
                raise fault
            self._notices.tell(SpoolRefused(str(fault), delay))

        return await until_disk_does(attempt, refused)
