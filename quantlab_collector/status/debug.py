"""``/debug``: the inside of the process, for looking for a fault. There only when ``status.debug`` is set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import trio
from quart import Response, request
from quart_trio import QuartTrio

from quantlab_collector.runtime.state import Snapshot
from quantlab_collector.status.accept import Form, wanted_form
from quantlab_collector.status.answers import json_answer, refusal
from quantlab_collector.status.collectors import storage_stats
from quantlab_collector.status.tasks import as_text, task_tree
from quantlab_collector.status.times import millis
from quantlab_collector.status.views import Json
from quantlab_collector.storage.inventory import FolderInventory

ENDPOINTS: Final = ("/debug/tasks", "/debug/storage")

DISK_LIMIT: Final = 5.0
"""Seconds. A disk may hang, and that is when somebody asks."""

Inventory = Callable[[], Mapping[str, FolderInventory]]


def add_debug(app: QuartTrio, snapshot: Callable[[], Snapshot], spool: Inventory | None) -> None:
    """The pages."""
    # One thread of its own: if the disk keeps it, nobody else waits for it.
    limiter = trio.CapacityLimiter(1)

    @app.get("/debug/tasks")
    def get_tasks() -> Response:
        tree = task_tree()
        if wanted_form(request.headers.get("Accept", "")) is Form.TEXT:
            answer = Response(as_text(tree), content_type="text/plain; charset=utf-8")
        else:
            answer = json_answer(tree)
        answer.headers["Vary"] = "Accept"
        return answer

    @app.get("/debug/storage")
    async def get_storage() -> Response:
        found: Mapping[str, FolderInventory] = {}
        if spool is not None:
            with trio.move_on_after(DISK_LIMIT) as limit:
                found = await trio.to_thread.run_sync(spool, limiter=limiter, abandon_on_cancel=True)
            if limit.cancelled_caught:
                return refusal(f"the disk of the spool did not answer within {DISK_LIMIT:.0f} s", 503)
        now = snapshot()
        return json_answer(
            {
                "stats": storage_stats(now),
                "uploading": {str(what): millis(since_ns) for what, since_ns in now.writer.uploading.items()},
                "spool": {name: _folder(folder) for name, folder in found.items()},
            }
        )


def _folder(folder: FolderInventory) -> Json:
    return {
        "files": folder.files,
        "bytes": folder.bytes,
        "oldest": [{"name": e.name, "bytes": e.bytes, "modified_ts": millis(e.modified_ns)} for e in folder.oldest],
    }
