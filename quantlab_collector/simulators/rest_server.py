"""The REST side of a simulator as HTTP: every GET is handed to one function, which knows nothing of the web."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import hypercorn.trio
import trio
from hypercorn.config import Config
from quart import Request, Response, request
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection

from quantlab_collector.simulators.door import Door

_GRACE: Final = 0.2

Arguments = Mapping[str, str]


@attrs.frozen
class Answer:
    """An answer before it becomes HTTP."""

    status: int
    body: Any
    headers: Mapping[str, str] = attrs.field(factory=dict)


Tell = Callable[[str, Arguments], Answer | None]
"""A path and its arguments in, an answer out; ``None`` becomes 404."""


async def serve_rest(
    tell: Tell, host: str, port: int, door: Door | None = None, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; the started value is the address. Who is let in is the door's business."""
    config = Config()
    config.bind = [f"{host}:{port}"]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = _GRACE
    async with trio.open_nursery() as nursery:
        addresses: list[str] = await nursery.start(hypercorn.trio.serve, create_app(tell, door or Door()), config)
        task_status.started(addresses[0])


def create_app(tell: Tell, door: Door) -> QuartTrio:
    """The function as a web application."""
    app = QuartTrio(__name__)
    app.asgi_http_class = _FinishedConnection

    @app.get("/<path:path>")
    async def answer_with_json(path: str) -> Response:
        if door.leaves_hanging():
            await trio.sleep_forever()
        if refusal := door.refusal():
            return Response("{}", refusal.status, headers=dict(refusal.headers), mimetype="application/json")
        answer = tell(f"/{path}", request.args)
        if answer is None:
            return Response("", 404)
        text = json.dumps(answer.body, separators=(",", ":"))
        return Response(text, answer.status, headers=dict(answer.headers), mimetype="application/json")

    return app


class _FinishedConnection(TrioASGIHTTPConnection):
    """Let the last send finish: the disconnect that it provokes would cancel it, and leave the connection open for seconds."""

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, send: Callable[..., Any]
    ) -> None:
        response = await self.app.handle_request(request)
        with trio.move_on_after(5, shield=True):
            await self._send_response(send, response)
        nursery.cancel_scope.cancel()
