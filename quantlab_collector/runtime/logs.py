"""Log lines: one JSON object a line on stdout, or the same lines rendered for a terminal.

A log that cannot be written must never stop the recording: a closed pipe or a full disk swallows the line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import structlog

Redact = Callable[[str], str]


class _Unbreakable:
    """A stream whose ``write`` never raises."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            return 0
        return len(text)

    def flush(self) -> None:
        """Every line is flushed as it is written."""


class _Forward(logging.Handler):
    """What libraries write to the standard library's logging becomes a line of ours."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One line for one record; a traceback goes along."""
        self._log.log(record.levelno, "library", logger=record.name, text=record.getMessage(), exc_info=record.exc_info)


def take_over_logging(log: structlog.typing.FilteringBoundLogger) -> None:
    """Let no library write to our streams by itself."""
    logging.basicConfig(handlers=[_Forward(log)], level=logging.WARNING, force=True)


def open_log(stream: TextIO, *, console: bool, level: int, redact: Redact) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes to a stream. ``redact`` sees every text before it is written."""

    def redacted(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {key: redact(value) if isinstance(value, str) else value for key, value in event.items()}

    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(_Unbreakable(stream)),  # type: ignore[arg-type]
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            redacted,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    return logger
