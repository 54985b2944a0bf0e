"""One receiver in its own process, from the first byte it is sent to its end: what it cost."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import attrs

HERE = Path(__file__).parent
SETTLING = 0.1
"""Seconds between the last pong and the SIGTERM: trio-websocket answers a ping while messages still wait in its queue."""


class Wrong(Exception):
    """What was measured would mean nothing."""


@attrs.frozen
class Load:
    """What is played: so many messages, as fast as they are read or at a rate."""

    messages: int
    rate: float | None = None


@attrs.frozen
class Outcome:
    """What a receiver says it did; ``lost`` is in events."""

    frames: int | None = None
    events: int | None = None
    lost: int = 0


@attrs.frozen
class Receiver:
    """How a receiver is started (folder, address, certificate, number of symbols), and how its output is read."""

    command: Callable[[Path, str, Path, int], list[str]]
    outcome: Callable[[str], Outcome]


@attrs.frozen
class Sample:
    """One run. Seconds and CPU seconds count from the first byte to the end of the process: by then everything is stored."""

    messages: int
    cpu: float
    seconds: float
    read_within: float
    """Seconds until everything was read off the sockets."""
    lost: int
    rss_mb: float
    """At its highest. Linux hands our own down to our children, so we stay small."""
    feed_busy: float
    """The share of ``read_within`` in which the feed was at work. Near 1 it would be the feed that is measured."""

    def less(self, quiet: Sample) -> Sample:
        """Without what a run takes in which nothing is sent. It cannot have ended before all was read."""
        return attrs.evolve(self, cpu=self.cpu - quiet.cpu, seconds=max(self.seconds - quiet.seconds, self.read_within))


class Feed:
    """The load generator, for one number of symbols."""

    def __init__(self, process: subprocess.Popen, symbols: int, ca_file: Path) -> None:
        self._process = process
        self.symbols = symbols
        self.ca_file = ca_file
        self._port = self.hear(process)["port"]

    def url(self, transport: str) -> str:
        return f"wss://localhost:{self._port}" if transport == "tls" else f"ws://127.0.0.1:{self._port}"

    def tell(self, order) -> None:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def hear(self, watched: subprocess.Popen) -> dict:
        """The next answer; it will not come when somebody has died."""
        while not select.select([self._process.stdout], [], [], 1)[0]:
            if watched.poll() is not None:
                raise Wrong("the receiver has ended by itself")
        line = self._process.stdout.readline()
        if not line:
            raise Wrong("the feed has ended by itself")
        return json.loads(line)


@contextmanager
def feed(symbols: int):
    """Start a load generator, and end it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ca_file = Path(folder, "ca.pem")
        command = [sys.executable, str(HERE / "feed.py"), "--symbols", str(symbols), "--ca-file", str(ca_file)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield Feed(process, symbols, ca_file)
        finally:
            process.kill()
            process.communicate()


def run(receiver: Receiver, source: Feed, transport: str, load: Load, parent: Path | None = None) -> Sample:
    """Play one load to one receiver, which works in a new folder."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as name:
        folder = Path(name)
        command = receiver.command(folder, source.url(transport), source.ca_file, source.symbols)
        out, err = folder / "out", folder / "err"
        with out.open("w") as stdout, err.open("w") as stderr:
            process = subprocess.Popen(command, cwd=folder, stdout=stdout, stderr=stderr)
        try:
            acks, sample = _measure(process, source, load)
            _check("as its exit code", process.returncode, 0)
            outcome = receiver.outcome(out.read_text())
            _check("frames", outcome.frames, sample.messages + acks)
            _check("events", outcome.events, events_of(sample.messages))
        except Wrong as wrong:
            raise Wrong(f"{wrong}\n{' '.join(command)}\n{out.read_text()[-2000:]}{err.read_text()[-2000:]}") from None
        finally:
            process.kill()
            process.wait()
    return attrs.evolve(sample, lost=outcome.lost)


def _measure(process: subprocess.Popen, source: Feed, load: Load) -> tuple[int, Sample]:
    source.tell(attrs.asdict(load))
    ready = source.hear(process)
    cpu, start = cpu_seconds(process.pid), time.monotonic()
    source.tell("go")
    played = source.hear(process)
    time.sleep(SETTLING)
    process.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return ready["acks"], Sample(
        messages=ready["messages"],
        cpu=usage.ru_utime + usage.ru_stime - cpu,
        seconds=time.monotonic() - start,
        read_within=played["seconds"],
        lost=0,
        rss_mb=usage.ru_maxrss / 1e3,
        feed_busy=played["cpu"] / played["seconds"],
    )


def _check(what: str, got: int | None, expected: int) -> None:
    if got not in (None, expected):
        raise Wrong(f"{got} {what} instead of {expected}")


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have used so far. /proc would tell it in hundredths of a second only."""
    return time.clock_gettime(~pid << 3 | 2)  # what clock_getcpuclockid() makes of a pid on Linux


def events_of(messages: int) -> int:
    """A mark price, one message in ten, is two events."""
    return messages + messages // 10
