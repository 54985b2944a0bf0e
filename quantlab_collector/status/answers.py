"""How an answer looks, whatever it says."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from quart import Response


def json_answer(answer: object, code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A body in JSON."""
    return Response(msgspec.json.encode(answer), code, dict(headers or {}), content_type="application/json")


def refusal(text: str, code: int) -> Response:
    """Why there is no answer."""
    return json_answer({"error": text}, code)
