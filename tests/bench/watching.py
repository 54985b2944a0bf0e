"""Looking at the service while it works, with the means that every user has: its log and its HTTP interface, and /proc."""

from __future__ import annotations

import http.client
import json
import os
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import attrs
from exposition import between, distribution

from quantlab_collector.runtime.histograms import Distribution

TO_SYNC, LOOP_LAG = "quantlab_event_sync_seconds", "quantlab_loop_lag_seconds"
PAGES = ("/metrics", "/status")
"""What is asked for while it works."""
COMMITTED = b'"event": "segment_committed"'
"""How the log tells of a segment in the store."""
NEVER = 1e9
"""Seconds between two looks, where only the beginning and the end matter."""
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


@attrs.frozen
class Look:
    """One look at a process."""

    at: float
    cpu: float
    rss_mb: float
    open_files: int
    spool_bytes: int
    commits: int
    """Segments that were committed by then."""
    asked: str | None = None
    """A page, if one was asked for."""
    answered: float = 0.0
    """Seconds until its answer was read."""


@attrs.frozen
class Seen:
    """What was seen from the first byte to the last."""

    to_sync: Distribution
    loop_lag: Distribution
    looks: list[Look]

    def answer_times(self, page: str) -> list[float]:
        return sorted(look.answered for look in self.looks if look.asked == page)


class Watcher(Protocol):
    """Is told of the beginning and the end, and asked to look in between."""

    pause: float

    def begin(self, pid: int) -> None: ...
    def look(self) -> None: ...
    def end(self) -> Seen | None: ...


class Nobody:
    """For what cannot be looked at."""

    pause = 1.0

    def begin(self, pid: int) -> None:
        """Look away."""

    def look(self) -> None:
        """Look away."""

    def end(self) -> None:
        return None


class Onlooker:
    """Reads the histograms before and after; and in between looks every so many seconds, and asks for a page each time, in turn."""

    def __init__(self, folder: Path, every: float = NEVER, pages: tuple[str, ...] = ()) -> None:
        self.pause = min(every, 1.0)
        self._folder = folder
        self._every = every
        self._pages = pages
        self._looks: list[Look] = []

    def begin(self, pid: int) -> None:
        self._pid = pid
        lines = (self._folder / "out").read_text().splitlines()
        address = next(told["status"] for line in lines if (told := json.loads(line))["event"] == "collector_start")
        self._address = urlsplit(address).netloc
        self._before = self._exposition()
        self._due = time.monotonic() + self._every

    def look(self) -> None:
        if time.monotonic() < self._due:
            return
        self._due += self._every
        page, seconds = None, 0.0
        if self._pages:
            page = self._pages[len(self._looks) % len(self._pages)]
            start = time.perf_counter()
            self._get(page)
            seconds = time.perf_counter() - start
        self._looks.append(
            Look(
                at=time.monotonic(),
                cpu=time.clock_gettime(~self._pid << 3 | 2),
                rss_mb=int(Path(f"/proc/{self._pid}/statm").read_text().split()[1]) * _PAGE_SIZE / 1e6,
                open_files=sum(1 for _ in Path(f"/proc/{self._pid}/fd").iterdir()),
                spool_bytes=_bytes_in(self._folder / "spool"),
                commits=(self._folder / "out").read_bytes().count(COMMITTED),
                asked=page,
                answered=seconds,
            )
        )

    def end(self) -> Seen:
        after = self._exposition()
        to_sync, loop_lag = (between(distribution(self._before, name), distribution(after, name)) for name in (TO_SYNC, LOOP_LAG))
        return Seen(to_sync, loop_lag, self._looks)

    def _exposition(self) -> str:
        return self._get("/metrics", {"Accept": "text/plain"}).decode()

    def _get(self, path: str, headers: dict[str, str] | None = None) -> bytes:
        with closing(http.client.HTTPConnection(self._address, timeout=30)) as connection:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            body = answer.read()
        if answer.status != http.client.OK:
            raise ValueError(f"{path} answers {answer.status}")
        return body


def _bytes_in(folder: Path) -> int:
    """All files together; one that vanishes meanwhile is not there."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total
