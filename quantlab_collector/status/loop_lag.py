"""How late the event loop is: a task that sleeps for a moment, and looks how much longer it has taken."""

from __future__ import annotations

from typing import Final, NoReturn

import trio

from quantlab_collector.runtime.latencies import Latencies

SLEEP: Final = 0.1
"""Seconds. A stall shows if it lasts longer than what is left of the present sleep, and is measured short by that."""


async def run_loop_lag(latencies: Latencies) -> NoReturn:
    """Measure until cancelled."""
    while True:
        due = trio.current_time() + SLEEP
        await trio.sleep_until(due)
        latencies.woke_late(round((trio.current_time() - due) * 1e9))
