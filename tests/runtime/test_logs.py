"""The log: lines that a terminal can show, a secret cannot leave by, and nobody waits for."""

from __future__ import annotations

import io
import json
import logging
import os
import threading

import pytest

from quantlab_collector.contracts.masking import mask_addresses
from quantlab_collector.runtime.log_pump import LogPump
from quantlab_collector.runtime.logs import open_log, take_over_logging

ESCAPES = "\x1b[2J\x1b]0;title\x07\r\n\x9b31m\u202e"
LIMIT = 10.0


class Slow(io.StringIO):
    """A stream that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()
        self.waiting = threading.Event()

    def write(self, text: str) -> int:
        self.waiting.set()
        assert self.free.wait(LIMIT)
        return super().write(text)


def written(*, console: bool, colors: bool = False, **fields: object) -> str:
    stream = io.StringIO()
    pump = LogPump(stream)
    log = open_log(pump, console=console, colors=colors, level=logging.INFO, redact=mask_addresses)
    log.log(logging.WARNING, "told", **fields)
    pump.close(LIMIT)
    return stream.getvalue()


def test_a_line_is_an_object() -> None:
    line = json.loads(written(console=False, count=3, reasons=("a", "b")))

    assert line.pop("ts").endswith("Z")
    assert line == {"event": "told", "level": "warning", "count": 3, "reasons": ["a", "b"]}


def test_the_console_shows_the_same() -> None:
    line = written(console=True, count=3, text="two words")

    assert line.startswith("[warning  ] told ")
    assert "count=3" in line
    assert "text='two words'" in line


@pytest.mark.parametrize("console", [False, True])
def test_what_an_error_quotes_is_not_obeyed(console: bool) -> None:
    fault = ValueError("second")
    fault.__cause__ = ConnectionError(ESCAPES)
    text = written(console=console, exc_info=fault)

    assert "ConnectionError" in text
    assert [c for c in text if not c.isprintable() and c != "\n"] == []


@pytest.mark.parametrize("console", [False, True])
def test_an_address_with_a_password_is_covered_wherever_it_stands(console: bool) -> None:
    address = "wss://user:canary-word@example.com/path?token=canary-word"
    fault = ExceptionGroup("group", [ConnectionError(f"cannot reach {address}")])
    text = written(
        console=console, plain=address, nested={"in": [address, (address,)]}, reasons=(address,), fault=fault, exc_info=fault
    )

    assert "canary-word" not in text
    assert text.count("example.com") == 6


def test_a_covered_address_leaves_the_line_whole() -> None:
    line = json.loads(written(console=False, text='said "https://user:canary-word@example.com/?a=\\"'))

    assert line["text"] == 'said "https://***@example.com/?***"'


def test_what_libraries_log_is_a_line_like_any_other() -> None:
    stream, root = io.StringIO(), logging.getLogger()
    before, level = root.handlers[:], root.level
    pump = LogPump(stream)
    try:
        take_over_logging(open_log(pump, console=False, colors=False, level=logging.INFO, redact=mask_addresses))
        logging.getLogger("some.library").warning("went wrong at %s", "https://user:canary-word@example.com")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    pump.close(LIMIT)

    line = json.loads(stream.getvalue())
    assert (line["logger"], line["text"]) == ("some.library", "went wrong at https://***@example.com")


# ------------------------------------------------------------------------------------------------------------- the pump


def test_who_writes_does_not_wait_and_what_was_lost_is_told() -> None:
    stream = Slow()
    pump = LogPump(stream, lines=3)
    open_log(pump, console=False, colors=False, level=logging.INFO, redact=str)
    pump.write("line 0\n")
    assert stream.waiting.wait(LIMIT)  # the thread holds the first one
    for number in range(1, 10):
        pump.write(f"line {number}\n")
    assert pump.dropped == 6
    stream.free.set()
    pump.close(LIMIT)

    lines = stream.getvalue().splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert [line for line in lines if not line.startswith("{")] == [f"line {number}" for number in range(4)]
    assert [(line["event"], line["lines"], line["level"]) for line in told] == [("log_lines_dropped", 6, "warning")]


def test_a_close_does_not_wait_for_ever() -> None:
    stream = Slow()
    full = LogPump(stream, lines=1)
    full.write("taken by the thread\n")
    assert stream.waiting.wait(LIMIT)
    full.write("takes the last place\n")
    full.close(0.01)
    stream.free.set()


@pytest.mark.parametrize("closed", ["stream", "pipe"])
def test_a_log_that_cannot_be_written_is_counted(closed: str) -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    os.close(reader)
    if closed == "stream":
        stream.close()
    pump = LogPump(stream)
    for _ in range(5):
        pump.write("nobody will read this\n")
    pump.close(LIMIT)

    assert pump.dropped == 5
    if closed == "pipe":
        with pytest.raises(BrokenPipeError):
            stream.close()
