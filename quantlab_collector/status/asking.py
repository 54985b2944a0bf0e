"""Query parameters. What is not understood is refused: a filter that is passed over in silence gives a wrong answer."""

from __future__ import annotations

from typing import Final

import attrs
from werkzeug.datastructures import MultiDict

from quantlab_collector.runtime.notices import plain_text

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1_000


class BadQueryError(ValueError):
    """The query cannot be answered; the text says why."""


@attrs.frozen
class TradesQuery:
    """``/collectors/trades?symbol=&exchange=&limit=``; what is left out does not filter."""

    symbol: str | None = None
    exchange: str | None = None
    limit: int = DEFAULT_LIMIT


def trades_query(arguments: MultiDict[str, str]) -> TradesQuery:
    """Read what is asked for."""
    given = _single(arguments, ("symbol", "exchange", "limit"))
    limit = _number(given, "limit", DEFAULT_LIMIT)
    if not 1 <= limit <= MAX_LIMIT:
        raise BadQueryError(f"limit must be between 1 and {MAX_LIMIT}")
    return TradesQuery(given.get("symbol"), given.get("exchange"), limit)


def after_query(arguments: MultiDict[str, str]) -> int:
    """``/page.json?after=``: the number of the last notice that is known already."""
    return _number(_single(arguments, ("after",)), "after", 0)


def _single(arguments: MultiDict[str, str], allowed: tuple[str, ...]) -> dict[str, str]:
    for name in arguments:
        if name not in allowed:
            raise BadQueryError(f"no parameter {plain_text(name)}; there are {', '.join(allowed)}")
        if len(arguments.getlist(name)) > 1:
            raise BadQueryError(f"{name} is there twice")
        if not arguments[name]:
            raise BadQueryError(f"{name} is empty")
    return arguments.to_dict()


def _number(given: dict[str, str], name: str, default: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    # int() would take " 1_0 " and Arabic digits, and spend its time on a million of them.
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BadQueryError(f"{name} must be a number")
    return int(text)
