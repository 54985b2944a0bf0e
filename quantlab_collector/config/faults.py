"""What is wrong with a config, in words. A fault knows where it stands; what it says never shows a secret."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable

import attrs

from quantlab_collector.config.tree import KeyPath
from quantlab_collector.contracts.masking import mask_text

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
_SHOWN_CHARACTERS = 60
_LISTED_NAMES = 20


class ConfigError(Exception):
    """The config cannot be used: everything that is wrong with it, a line each."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(self.errors)


class Wrong(ValueError):
    """A value that does not do; its text says what would."""


@attrs.frozen
class Fault:
    """A place in the config, and what is wrong there."""

    path: KeyPath
    text: str


def written(path: KeyPath) -> str:
    """A path as it is written in TOML, ``exchanges.binance.streams[2]``."""
    return steps(path).removeprefix(".")


def steps(path: KeyPath) -> str:
    """The rest of a path, as it is written behind its beginning."""
    return "".join(
        f"[{step}]" if isinstance(step, int) else f".{step if _BARE_KEY.fullmatch(step) else shown(step)}" for step in path
    )


def quoted(text: str) -> str:
    """A text between quotes, cut to a bearable length, without anything that could disturb a terminal or a log."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    in_quotes = json.dumps(cut, ensure_ascii=False)
    return in_quotes if in_quotes.isprintable() else json.dumps(cut)


def shown(value: object) -> str:
    """A value from a config in a message."""
    if isinstance(value, str):
        return quoted(mask_text(value))
    if isinstance(value, int | float):
        # Python refuses to print a number of thousands of digits, and nobody would read it.
        endless = isinstance(value, int) and value.bit_length() > 64
        return "a number beyond 64 bits" if endless else repr(value).lower()
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a table"
    return "a date or time"


def unknown(what: str, name: str, known: Iterable[str], *, alike: float = 0.6) -> str:
    """That a name is not known, and which one was meant perhaps."""
    choice = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name[:_SHOWN_CHARACTERS].lower(), choice, n=1, cutoff=alike)
    if close:
        return f"unknown {what}; did you mean {choice[close[0]]}?"
    return f"unknown {what}; known: {', '.join(choice.values())}" if len(choice) <= _LISTED_NAMES else f"unknown {what}"
