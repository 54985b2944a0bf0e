"""One receiver in its own process, from the first byte it is sent to its end: what it cost, and what it has stored."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import plans
import stored
from watching import Nobody, Seen, Watcher

HERE = Path(__file__).parent
SETTLING = 0.1
"""Seconds between the last pong and the SIGTERM: trio-websocket answers a ping while messages still wait in its queue."""


class Wrong(Exception):
    """What was measured would mean nothing."""


@attrs.frozen
class Load:
    """What is played: so many messages, as fast as they are read or at a rate, in a row or in bunches for one connection each."""

    messages: int
    rate: float | None = None
    bunch: int | None = None


@attrs.frozen
class Outcome:
    """What a receiver says it has seen, in whatever it counts; ``lost`` is in events."""

    frames: int | None = None
    messages: int | None = None
    events: int | None = None
    lost: int = 0


@attrs.frozen
class Job:
    """What a receiver is told to do, and where."""

    folder: Path
    exchange: str
    symbols: tuple[str, ...]
    url: str
    ca_file: Path


@attrs.frozen
class Receiver:
    """How a receiver is started, and how its output is read."""

    command: Callable[[Job], list[str]]
    outcome: Callable[[str], Outcome]
    rows_of: str | None = None
    """What a stored row is: an ``event`` or a ``message``; ``None`` if nothing is stored."""
    watch: Callable[[Path], Watcher] | None = None
    """How to look at it while it works."""


@attrs.frozen
class Sample:
    """One run. Seconds and CPU seconds count from the first byte to the end of the process: by then everything is stored."""

    messages: int
    events: int
    cpu: float
    seconds: float
    read_within: float
    """Seconds until everything was read off the sockets."""
    lost: int
    rss_mb: float
    """At its highest. Linux hands our own down to our children, so we stay small."""
    feed_busy: float
    """The share of ``read_within`` in which the feed was at work. Near 1 it would be the feed that is measured."""
    files: stored.Files
    seen: Seen | None
    """What was seen while it worked, of a receiver that can be looked at."""

    def less(self, quiet: Sample) -> Sample:
        """Without what a run takes in which nothing is sent. It cannot have ended before all was read."""
        return attrs.evolve(self, cpu=self.cpu - quiet.cpu, seconds=max(self.seconds - quiet.seconds, self.read_within))

    @property
    def per_message(self) -> float:
        """CPU in µs."""
        return self.cpu / self.messages * 1e6

    @property
    def per_event(self) -> float:
        """CPU in µs."""
        return self.cpu / self.events * 1e6


class Feed:
    """The load generator, for one exchange and its symbols."""

    def __init__(self, process: subprocess.Popen, exchange: str, ca_file: Path) -> None:
        self._process = process
        self.exchange = exchange
        self.ca_file = ca_file
        told = self.hear(process)
        self.symbols = tuple(told["symbols"])
        self._port = told["port"]

    def url(self, transport: str) -> str:
        return f"wss://localhost:{self._port}" if transport == "tls" else f"ws://127.0.0.1:{self._port}"

    def tell(self, order) -> None:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def ready(self, seconds: float) -> bool:
        """Whether there is an answer within so many seconds."""
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def hear(self, watched: subprocess.Popen) -> dict:
        """The next answer; it will not come when somebody has died."""
        while not self.ready(1):
            if watched.poll() is not None:
                raise Wrong("the receiver has ended by itself")
        line = self._process.stdout.readline()
        if not line:
            raise Wrong("the feed has ended by itself")
        return json.loads(line)


@contextmanager
def feed(exchange: str, symbols: int, captures: Path | None = None) -> Iterator[Feed]:
    """Start a load generator, and end it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ca_file = Path(folder, "ca.pem")
        command = [sys.executable, str(HERE / "feed.py"), "--exchange", exchange, "--symbols", str(symbols)]
        command += ["--ca-file", str(ca_file), *(["--captures", str(captures)] if captures else [])]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield Feed(process, exchange, ca_file)
        finally:
            process.kill()
            process.communicate()


def run(receiver: Receiver, source: Feed, transport: str, load: Load, parent: Path | None = None) -> Sample:
    """Play one load to one receiver, which works in a new folder."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as name:
        job = Job(Path(name), source.exchange, source.symbols, source.url(transport), source.ca_file)
        plans.write(job.folder / "plan.json", job.exchange, job.symbols, job.url, job.ca_file)
        command = receiver.command(job)
        out, err = job.folder / "out", job.folder / "err"
        with out.open("w") as stdout, err.open("w") as stderr:
            process = subprocess.Popen(command, cwd=job.folder, stdout=stdout, stderr=stderr)
        try:
            ready, sample = _measure(process, receiver, source, load, job.folder)
            _check("as its exit code", process.returncode, 0)
            outcome = receiver.outcome(out.read_text())
            _check("frames", outcome.frames, ready["messages"] + ready["acks"])
            _check("messages", outcome.messages, ready["messages"])
            _check("events", outcome.events, ready["events"])
            _check_rows(receiver, sample, outcome)
        except Wrong as wrong:
            raise Wrong(f"{wrong}\n{' '.join(command)}\n{out.read_text()[-2000:]}{err.read_text()[-2000:]}") from None
        finally:
            process.kill()
            process.wait()
    return attrs.evolve(sample, lost=outcome.lost)


def _measure(process: subprocess.Popen, receiver: Receiver, source: Feed, load: Load, folder: Path) -> tuple[dict, Sample]:
    source.tell(attrs.asdict(load))
    ready = source.hear(process)
    watcher = receiver.watch(folder) if receiver.watch else Nobody()
    watcher.begin(process.pid)
    cpu, start = cpu_seconds(process.pid), time.monotonic()
    source.tell("go")
    while not source.ready(watcher.pause):
        watcher.look()
        if process.poll() is not None:
            raise Wrong("the receiver has ended by itself")
    played = source.hear(process)
    time.sleep(SETTLING)
    seen = watcher.end()
    process.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return ready, Sample(
        messages=ready["messages"],
        events=ready["events"],
        cpu=usage.ru_utime + usage.ru_stime - cpu,
        seconds=time.monotonic() - start,
        read_within=played["seconds"],
        lost=0,
        rss_mb=usage.ru_maxrss / 1e3,
        feed_busy=played["cpu"] / played["seconds"],
        files=stored.files(folder / "data"),
        seen=seen,
    )


def _check_rows(receiver: Receiver, sample: Sample, outcome: Outcome) -> None:
    """What was stored, told by the files themselves."""
    if receiver.rows_of is not None:
        expected = sample.messages if receiver.rows_of == "message" else sample.events - outcome.lost
        _check("stored rows", sample.files.rows, expected)


def _check(what: str, got: int | None, expected: int) -> None:
    if got not in (None, expected):
        raise Wrong(f"{got} {what} instead of {expected}")


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have used so far. /proc would tell it in hundredths of a second only."""
    return time.clock_gettime(~pid << 3 | 2)  # what clock_getcpuclockid() makes of a pid on Linux
