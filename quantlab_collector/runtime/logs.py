"""Log lines: one JSON object a line on stdout, or the same lines rendered for a terminal."""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import structlog

from quantlab_collector.runtime.log_pump import LogPump
from quantlab_collector.runtime.notices.telling import shown

Redact = Callable[[str], str]

LINES_DROPPED: Final = "log_lines_dropped"


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


def open_log(pump: LogPump, *, console: bool, colors: bool, level: int, redact: Redact) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes into a pump. ``redact`` sees every text, wherever in a line it stands."""
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=colors) if console else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        _clean_traceback,
        lambda _, __, event: {key: _redacted(value, redact) for key, value in event.items()},
        renderer,
    ]

    def render_loss(count: int) -> str:
        line: Any = {"event": LINES_DROPPED, "lines": count}
        for processor in processors:
            line = processor(None, "warning", line)
        return f"{line}\n"

    pump.render_loss = render_loss
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(pump),  # type: ignore[arg-type]
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    return logger


def _clean_traceback(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An error may quote a peer, and a terminal would obey what it says."""
    if "exception" in event:
        event["exception"] = "\n".join(shown(line) for line in event["exception"].split("\n"))
    return event


def _redacted(value: object, redact: Redact) -> object:
    match value:
        case str():
            return redact(value)
        case dict():
            return {_redacted(key, redact): _redacted(item, redact) for key, item in value.items()}
        case list() | tuple():
            return [_redacted(item, redact) for item in value]
        case None | int() | float():
            return value
        case _:
            return redact(repr(value))
