"""What a client wants ``/metrics`` in, read off its ``Accept`` header."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Form(Enum):
    """The forms in which the numbers are given; where a client likes two the same, it gets the earlier."""

    JSON = "application/json"
    OPENMETRICS = "application/openmetrics-text"
    TEXT = "text/plain"


_OPENMETRICS_VERSION: Final = "1.0.0"
_NOT_NAMED: Final = (-1, 0.0)


def wanted_form(accept: str) -> Form:
    """The form that is liked best; JSON if none is preferred, which ``*/*`` does not, and if nothing fits."""
    best, liked = Form.JSON, (0.0, 0)
    for form in Form:
        # The part that names a form most exactly speaks for it, whatever others would allow.
        exactness, quality = max((_named(part, form) for part in accept.split(",")), default=_NOT_NAMED)
        if quality > 0 and (quality, exactness) > liked:
            best, liked = form, (quality, exactness)
    return best


def _named(media_range: str, form: Form) -> tuple[int, float]:
    """How exactly a part of the header names a form, and how much it likes it."""
    pattern, *rest = (piece.strip().lower() for piece in media_range.split(";"))
    parameters = dict(piece.split("=", 1) for piece in rest if "=" in piece)
    if form is Form.OPENMETRICS and parameters.get("version", _OPENMETRICS_VERSION) != _OPENMETRICS_VERSION:
        return _NOT_NAMED
    exactness = {form.value: 2, form.value.partition("/")[0] + "/*": 1, "*/*": 0}.get(pattern)
    if exactness is None:
        return _NOT_NAMED
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        return _NOT_NAMED
    return exactness, quality
