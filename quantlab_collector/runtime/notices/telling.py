"""One class for each thing worth telling. Telling it writes the log line *and* moves the counter, so the two cannot disagree.

A kind that may come in floods is told at most once per second for the same subject; the line that comes next says how many were
passed over. A kind that says nothing new the second time is told once per subject. Counting is never throttled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import attrs

from quantlab_collector.runtime.state import ServiceState

MAX_TEXT = 300
"""Longer texts of a peer are cut in the log."""

MAX_SUBJECTS = 1000
"""Some subjects are named by a peer, so their number is bounded; those beyond are held back together."""

OTHERS = "other"


class Log(Protocol):
    """As much of structlog as is needed here."""

    def log(self, level: int, event: str, **fields: Any) -> Any:
        """Write one line."""
        ...


DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40


@attrs.frozen
class Notice:
    """Something worth telling."""

    event: ClassVar[str]
    level: ClassVar[int] = INFO
    flood: ClassVar[bool] = False
    """Whether it may come in floods."""
    once: ClassVar[bool] = False
    """Whether only the first of a subject is told."""

    def subject(self) -> object:
        """What it is about: floods are held back, and repetitions passed over, per subject."""
        return None

    def count(self, state: ServiceState) -> None:
        """Move the counters that belong to it."""

    def fields(self) -> dict[str, Any]:
        """What the log line says."""
        return {key: plain(value) for key, value in attrs.asdict(self, recurse=False).items() if value is not None}


def plain(value: object) -> object:
    """What a peer may have written is made fit to be shown, wherever it stands; the rest is left to the renderer."""
    if isinstance(value, bytes):
        # Cut first: a frame may be megabytes, and four bytes are the most that a character takes.
        return plain_text(value[: 4 * MAX_TEXT + 4].decode("utf-8", "replace"))
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return value


def plain_text(text: str) -> str:
    """Cut, and shorn of control characters."""
    return shown(text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…")


def shown(text: str) -> str:
    """Shorn of control characters, which a terminal would obey: they are written out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class Notices:
    """Where notices go."""

    def __init__(
        self,
        state: ServiceState,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.state = state
        self._log = log
        self._clock = clock
        self._wall = wall
        self._told: dict[object, float] = {}
        self._held_back: dict[object, int] = {}

    def tell(self, notice: Notice) -> None:
        """Count it, and write its line unless the same was told already."""
        notice.count(self.state)
        held_back = 0
        if notice.flood or notice.once:
            key = (type(notice), notice.subject())
            if key not in self._told and len(self._told) >= MAX_SUBJECTS:
                key = (type(notice), OTHERS)
            now = self._clock()
            told = self._told.get(key)
            if told is not None and (notice.once or now - told < 1.0):
                self._held_back[key] = self._held_back.get(key, 0) + 1
                return
            self._told[key] = now
            held_back = self._held_back.pop(key, 0)
        fields = notice.fields()
        if held_back:
            fields["held_back"] = held_back
        if notice.level >= WARNING:
            self.state.told.add(self._wall(), notice.level, notice.event, fields)
        self._log.log(notice.level, notice.event, **fields)
