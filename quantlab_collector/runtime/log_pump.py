"""Lines of the log on their way out. Whoever writes one never waits for whoever reads it.

A pipe that nobody reads, a terminal that somebody has stopped, a slow disk: a write to any of these may take for ever. So a
thread of its own writes, and a line for which there is no room any more is dropped and counted. When the log flows again, it is
told how many were.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Final, TextIO

MAX_LINES: Final = 10_000
"""Some megabytes."""


def provide_standard_streams() -> None:
    """Put something in place of standard streams that were closed before we began.

    Else the next file that is opened would get the number of stdout, and whoever prints would print into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


class LogPump:
    """A stream for a logger. Its ``write`` neither blocks nor raises."""

    def __init__(self, stream: TextIO, lines: int = MAX_LINES) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(lines)
        self._lock = threading.Lock()
        self._untold = 0
        self.dropped = 0
        """Lines that nobody will read."""
        self.render_loss: Callable[[int], str] = "{} lines of the log were dropped\n".format
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Pass on whole lines."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self._lose(1)

    def flush(self) -> None:
        """Every line is flushed as it is written."""

    def close(self, seconds: float) -> None:
        """Wait for the lines that are on their way, but not for ever."""
        try:
            self._lines.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    # --------------------------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        while (text := self._lines.get()) is not None:
            if not self._put(text):
                self._lose(1)
            elif self._untold:
                count = self._untold
                if self._put(self.render_loss(count)):
                    with self._lock:
                        self._untold -= count

    def _put(self, text: str) -> bool:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            return False  # closed, or a full disk: the next line may get through
        return True

    def _lose(self, count: int) -> None:
        with self._lock:
            self._untold += count
            self.dropped += count
