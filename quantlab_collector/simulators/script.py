"""Faults by the clock: a script says which verb of ``Faults`` comes when.

One step a line, in any order; ``#`` begins a comment. ::

    # a bad minute
    at 5s  close 1001 "going away"
    at 8s  refuse 503 for_seconds=2 retry_after=1
    at 12s mute kind=trade symbol=BTCUSDT
    at 20s on okx cut connection=1

The time counts from the start of the script, in ``ms``, ``s``, ``m`` or ``h``. A verb and its arguments are those of the method
of ``Faults`` with that name, in its order or by name. ``on`` keeps a step for one exchange of several.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.faults import Faults
from quantlab_collector.simulators.injection import Injection

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_VERBS: Final[Mapping[str, Callable[..., Injection | None]]] = {
    verb.__name__: verb
    for verb in (
        *(Faults.refuse, Faults.ban, Faults.hang, Faults.half_open, Faults.relent),
        *(Faults.close, Faults.cut, Faults.reset, Faults.freeze, Faults.slow_loris, Faults.restart, Faults.say),
        *(Faults.mute, Faults.unmute, Faults.duplicate, Faults.old, Faults.skip, Faults.delist),
    )
}


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _code(text: str) -> int | None:
    return None if text == "none" else int(text)


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    **dict.fromkeys(("status", "count", "n", "k", "ms", "connection"), int),
    **dict.fromkeys(("retry_after", "for_seconds", "seconds", "bytes_per_second", "down_for"), float),
    **dict.fromkeys(("reason", "message", "symbol"), str),
    "code": _code,
    "kind": StreamType,
    "rest": _flag,
}
"""How an argument is read, by its name: the same name means the same in all verbs."""


class ScriptError(ValueError):
    """A line that cannot be read; the message says which and why."""


@attrs.frozen
class Step:
    """One order at one time."""

    at: float
    """Seconds from the start of the script."""
    text: str
    """The order as it stands in the script."""
    verb: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    exchange: str | None = None
    """The only one it is meant for."""

    def order(self, faults: Faults) -> None:
        """Do it."""
        _VERBS[self.verb](faults, *self.arguments, **self.options)


def read_script(path: Path) -> tuple[Step, ...]:
    """The steps of a file, the first one first."""
    return parse_script(path.read_text(encoding="utf-8").splitlines())


def parse_script(lines: Iterable[str]) -> tuple[Step, ...]:
    """The steps of a script, the first one first; steps of the same time stay in their order."""
    steps = []
    for number, line in enumerate(lines, start=1):
        try:
            words = shlex.split(line, comments=True)
            if words:
                steps.append(_parse(words, line.strip()))
        except (ValueError, KeyError, TypeError) as error:
            raise ScriptError(f"line {number}: {line.strip()!r}: {error}") from None
    return tuple(sorted(steps, key=lambda step: step.at))


async def play_script(
    steps: Iterable[Step], faults: Faults, exchange: str, report: Callable[[str, str], None] | None = None
) -> None:
    """Give the orders when they are due; ``report`` hears of each, with the exchange's name.

    A step that meets nobody, such as one for a connection that is over, changes nothing: the log of injections shows it.
    """
    start = trio.current_time()
    for step in steps:
        if step.exchange in {None, exchange}:
            await trio.sleep_until(start + step.at)
            try:
                step.order(faults)
                told = step.text
            except (ValueError, KeyError) as error:
                told = f"{step.text}: in vain, {error}"
            if report is not None:
                report(exchange, told)


def _parse(words: list[str], text: str) -> Step:
    exchange: str | None
    match words:
        case ["at", time, "on", exchange, verb, *arguments]:
            pass
        case ["at", time, verb, *arguments]:
            exchange = None
        case _:
            raise ValueError("a step is: at TIME [on EXCHANGE] VERB [ARGUMENT…]")
    if verb not in _VERBS:
        raise ValueError(f"no such verb: {verb}; there is {', '.join(_VERBS)}")
    signature = inspect.signature(_VERBS[verb])
    names = list(signature.parameters)[1:]
    by_place: list[Any] = []
    by_name: dict[str, Any] = {}
    for word in arguments:
        name, equals, value = word.partition("=")
        if equals and name in names:
            by_name[name] = _READERS[name](value)
        elif len(by_place) < len(names):
            by_place.append(_READERS[names[len(by_place)]](word))
        else:
            raise ValueError("too many arguments")
    signature.bind(None, *by_place, **by_name)  # what is missing, or there twice, is told here
    return Step(_seconds(time), text, verb, tuple(by_place), by_name, exchange)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if match is None:
        raise ValueError(f"not a time: {text} (such as 500ms, 5s, 2m or 1h)")
    return float(match[1]) * _SECONDS[match[2]]
