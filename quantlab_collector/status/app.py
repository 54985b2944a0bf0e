"""The HTTP interface: what may be asked, by whom, and with which headers it is answered. It can look, and nothing else.

It gets callables that give frozen copies, and no object of the running service: a request cannot change what it cannot reach.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart import Response, request
from quart.typing import ResponseTypes
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.exceptions import HTTPException, NotFound

from quantlab_collector.runtime.health import Standing
from quantlab_collector.runtime.state import Snapshot
from quantlab_collector.status import collectors, debug, prometheus, trouble_views, views
from quantlab_collector.status.accept import Form, wanted_form
from quantlab_collector.status.answers import json_answer as _json
from quantlab_collector.status.assets import add_page
from quantlab_collector.status.budget import REQUEST_COST, Budget
from quantlab_collector.status.collectors import NewestTrades, add_collectors
from quantlab_collector.status.debug import Inventory, add_debug
from quantlab_collector.status.hosts import HostList
from quantlab_collector.status.options import StatusOptions

METHODS: Final = ("GET", "HEAD")
VERSIONS: Final = ("1.0", "1.1")

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer; the page at ``/`` alone has a policy of its own. There are no CORS headers: no page of another origin has any
business here."""

ENDPOINTS: Final = ("/health", "/ready", "/streams", "/gaps", "/metrics", "/status", *collectors.ENDPOINTS)

_log = logging.getLogger(__name__)


def create_app(
    snapshot: Callable[[], Snapshot],
    health: Callable[[], Standing],
    options: StatusOptions,
    *,
    trades: NewestTrades | None = None,
    spool: Inventory | None = None,
) -> StatusApp:
    """The application. ``trades`` gives the newest ones where they are kept, ``spool`` looks at the disk for ``/debug``."""
    app = StatusApp(__name__, static_folder=None)
    app.budget = Budget()
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.config["MAX_CONTENT_LENGTH"] = 1024  # nobody reads a body; this bounds what is kept of one
    app.url_map.merge_slashes = False  # a path is right to the letter, or it is not there
    _guard(app, HostList((options.host, *options.allowed_hosts)))
    _add_pages(app, snapshot, health)
    add_collectors(app, snapshot, trades)
    add_page(app, snapshot, health, (*ENDPOINTS, *debug.ENDPOINTS) if options.debug else ENDPOINTS)
    if options.debug:
        add_debug(app, snapshot, spool)
    return app


def _guard(app: QuartTrio, hosts: HostList) -> None:
    """What holds for every request and every answer."""

    @app.before_request
    def refuse() -> Response | None:
        return _refusal(hosts)

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Response:
        return _json({"error": error.name.lower()}, error.code or 500)

    @app.after_request
    def protect(response: ResponseTypes) -> ResponseTypes:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response


def _refusal(hosts: HostList) -> Response | None:
    """What is answered to a request that is not let in; ``None`` to any other."""
    names = request.headers.getlist("Host")
    server = request.scope.get("server")
    if len(names) != 1 or not hosts.allows(names[0], server[0] if server else None):
        return _json({"error": "this service does not go by that name"}, 421)
    if request.scope["http_version"] not in VERSIONS:
        return _json({"error": "HTTP/1.1 only"}, 505)
    if request.method not in METHODS:
        return _json({"error": "this interface only reads"}, 405, {"Allow": ", ".join(METHODS)})
    if "Upgrade" in request.headers:
        return _json({"error": "no other protocol is spoken here"}, 400)
    path = request.scope["path"]
    if not path.startswith("/"):
        return _json({"error": "a path is asked for, not an address"}, 400)
    if path.startswith("//"):
        raise NotFound  # the router would pass over slashes at the front
    return None


def _add_pages(app: QuartTrio, snapshot: Callable[[], Snapshot], health: Callable[[], Standing]) -> None:
    """What may be asked about the service as a whole."""

    @app.get("/health")
    def get_health() -> Response:
        return _json(views.health(snapshot()))

    @app.get("/ready")
    def get_ready() -> Response:
        answer = views.ready(snapshot())
        return _json(answer, 200 if answer["ready"] else 503)

    @app.get("/streams")
    def get_streams() -> Response:
        return _json(views.streams(snapshot()))

    @app.get("/gaps")
    def get_gaps() -> Response:
        limit = trouble_views.read_limit(request.args.get("limit"))
        return _json({"error": "bad request"}, 400) if limit is None else _json(trouble_views.gaps(snapshot(), limit))

    @app.get("/metrics")
    def get_metrics() -> Response:
        return _metrics(wanted_form(request.headers.get("Accept", "")), snapshot(), health())

    @app.get("/status")
    def get_status() -> Response:
        return _json(views.status(snapshot(), health()))


def _metrics(form: Form, snapshot: Snapshot, standing: Standing) -> Response:
    match form:
        case Form.TEXT:
            answer = Response(prometheus.as_text(snapshot, standing), content_type=prometheus.TEXT_TYPE)
        case Form.OPENMETRICS:
            answer = Response(prometheus.as_openmetrics(snapshot, standing), content_type=prometheus.OPENMETRICS_TYPE)
        case Form.JSON:
            answer = _json(views.metrics(snapshot))
    answer.headers["Vary"] = "Accept"
    return answer


class _Request(TrioASGIHTTPConnection):
    """A request that is answered in the task that asks: nobody waits for its body, or for its client to go."""

    async def __call__(self, _: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """From the scope to the answer."""
        await self._send_response(send, await self.app.handle_request(self._create_request_from_scope(send)))


class StatusApp(QuartTrio):
    """Quart, where what is asked waits for its turn, and is answered in this thread."""

    asgi_http_class = _Request
    budget: Budget

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """A request of whatever kind waits for its turn."""
        await self.budget.wait_turn(REQUEST_COST)
        await super().__call__(scope, receive, send)

    def sync_to_async(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Quart would call plain functions in threads. These are short and look at the state: they belong where the state is."""

        async def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            answer = func(*args, **kwargs)
            self.budget.spend(time.perf_counter() - began)
            return answer

        return call

    def log_exception(self, exception_info: Any) -> None:
        """Into the log, and nothing of it into the answer."""
        _log.error("a status request failed", exc_info=exception_info)
