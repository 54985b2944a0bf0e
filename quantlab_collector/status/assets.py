"""The page itself: a few files that come with the package and are read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Final

from quart import Response, request
from quart_trio import QuartTrio

from quantlab_collector.runtime.health import Standing
from quantlab_collector.runtime.state import Snapshot
from quantlab_collector.status.answers import json_answer, refusal
from quantlab_collector.status.asking import BadQueryError, after_query
from quantlab_collector.status.page_data import page

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""What the page may do: load its own files, and ask this service. The browser would not take markup out of data if it tried."""


def add_page(app: QuartTrio, snapshot: Callable[[], Snapshot], health: Callable[[], Standing], endpoints: Iterable[str]) -> None:
    """The page at ``/``, its files, and what it asks for."""
    for path, content, kind in page_files():
        _add_file(app, path, content, kind)

    @app.get("/page.json")
    def get_page() -> Response:
        try:
            after = after_query(request.args)
        except BadQueryError as error:
            return refusal(str(error), 400)
        return json_answer(page(snapshot(), health(), after, endpoints))


def page_files() -> list[tuple[str, bytes, str]]:
    """Path, content and type of each file."""
    folder = files("quantlab_collector.status").joinpath("page")
    found = []
    for file in folder.iterdir():
        kind = TYPES.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            found.append(("/" if file.name == "index.html" else f"/page/{file.name}", file.read_bytes(), kind))
    return found


def _add_file(app: QuartTrio, path: str, content: bytes, kind: str) -> None:
    def get_file() -> Response:
        return Response(content, content_type=kind, headers={"Content-Security-Policy": PAGE_POLICY})

    app.add_url_rule(path, f"file {path}", get_file, methods=["GET"])
