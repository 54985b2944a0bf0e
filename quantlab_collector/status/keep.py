"""Keeps the window open. What breaks in it is no reason to stop recording, nor to look away for ever."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import attrs
import trio

from quantlab_collector.runtime.notices import Notices, StatusFailed
from quantlab_collector.status.app import StatusApp
from quantlab_collector.status.options import StatusOptions
from quantlab_collector.status.serve import serve_status

RETRY: Final = 1.0
"""Seconds between a breakdown and opening again."""


async def keep_serving(
    app: StatusApp,
    options: StatusOptions,
    stop: trio.Event,
    notices: Notices,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until ``stop``, again and again at the same address.

    When it cannot be opened the first time, that is raised: somebody else has the port, and two collectors here are one too many.
    """
    url = None
    while not stop.is_set():
        try:
            async with trio.open_nursery() as nursery:
                address = await nursery.start(serve_status, app, options, stop)
                if url is None:
                    url = address
                    options = attrs.evolve(options, port=urlsplit(url).port)
                    task_status.started(url)
        except* Exception as faults:
            if url is None:
                raise
            notices.tell(StatusFailed(_words(faults), RETRY))
            with trio.move_on_after(RETRY):
                await stop.wait()


def _words(fault: BaseException) -> str:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return f"{type(fault).__name__}: {fault}"
