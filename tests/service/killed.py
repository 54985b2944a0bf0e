"""A collector that kills itself at a named point: ``KILL_AT=point:when:n`` in the environment, else the usual command line.

``when`` is before, after, or half (of what is written). The product knows nothing of it: its functions are wrapped here, before
the command line begins. What is left of the process is one line on stderr, written just before the end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from functools import wraps
from importlib import import_module
from pathlib import Path

import attrs

HIT = "killed at"


def _always(*_):
    return True


@attrs.frozen
class Point:
    """A call of one of these functions, by module and name, with such arguments."""

    functions: tuple[str, ...]
    applies: object = _always
    whens: tuple[str, ...] = ("before", "after")


def _file(fd):
    return Path(f"/proc/self/fd/{fd}").readlink()


def _is_unfinished(path):
    return Path(path).name.endswith(".pack.tmp")


FILES = "storage.files:"
POINTS = {
    # Memory.
    "event parsed": Point(("exchanges.binance_usdm:UsdmSession.decode",)),
    "event counted": Point(("runtime.books:Books.receive",)),
    "event in the buffers": Point(("writer.batches:Buffers.add",)),
    "batches taken": Point(("writer.batches:Buffers.take",)),
    # The journal.
    "segment created": Point((FILES + "create",), lambda path: Path(path).suffix == ".journal"),
    "segment written": Point(
        (FILES + "write_all",), lambda fd, _: _file(fd).suffix == ".journal", whens=("before", "half", "after")
    ),
    "segment synced": Point((FILES + "sync_data",)),
    "segment begun": Point(("storage.journal:SegmentWriter.__init__",)),
    "segment sealed": Point(("storage.journal:SegmentWriter.seal",)),
    # A pack in the spool.
    "pack created": Point((FILES + "create",), _is_unfinished),
    "pack written": Point((FILES + "write_all",), lambda fd, _: _is_unfinished(_file(fd)), whens=("before", "half", "after")),
    "pack synced": Point((FILES + "sync",), lambda fd: _is_unfinished(_file(fd))),
    "pack named": Point((FILES + "rename",), lambda _, new: Path(new).suffix == ".pack"),
    "packs' folder synced": Point((FILES + "sync_dir",), lambda path: Path(path).name == "packs"),
    "chain noted": Point(("storage.spool:Spool.follow",)),
    "journal removed": Point((FILES + "remove_synced",), lambda path: Path(path).suffix == ".journal"),
    # The store.
    "pack opened": Point(("writer.uploads:load_pack",)),
    "part beside its place": Point((FILES + "write_synced",), lambda path, _: ".parquet#" in str(path), whens=("half", "after")),
    "part stored": Point((FILES + "rename",), lambda _, new: Path(new).suffix == ".parquet"),
    "run of parts": Point(("writer.parts:Run.__call__",)),
    "parts settled": Point(("storage.objects.local:LocalObjects.settle",)),
    "manifest stored": Point(
        ("storage.objects.local:LocalObjects.put", "storage.objects.local:LocalObjects.put_new"),
        lambda _, key, __: key.startswith("_manifests/"),
    ),
    "books moved": Point(("writer.uploads:Shipper._commit",)),
    "pack removed": Point((FILES + "remove",), lambda path: Path(path).suffix == ".pack"),
    "claim put": Point(
        ("storage.objects.local:LocalObjects.put", "storage.objects.local:LocalObjects.put_new"),
        lambda _, key, __: key.startswith("_owners/"),
    ),
    # The start.
    "spool opened": Point(("storage.spool:Spool.__init__",)),
    "spool looked through": Point(("storage.spool:Spool.leftovers",)),
    "pack looked for": Point(("storage.encoder:load_pack", "writer.recovery:load_pack")),
    "abandoned looked for": Point(("writer.recovery:abandoned_by",)),
    "recovered": Point(("writer.run:recover",)),
    "segment read again": Point(("storage.encoder:read_segment",)),
}


def plant(kill_at):
    """Wrap the functions of the point."""
    name, when, number = kill_at.rsplit(":", 2)
    point = POINTS[name]
    assert when in point.whens, kill_at
    calls, lock = 0, threading.Lock()

    def is_due(args):
        nonlocal calls
        if not point.applies(*args):
            return False
        with lock:
            calls += 1
            return calls == int(number)

    def die():
        os.write(2, f"{HIT} {kill_at}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()

    for function in point.functions:
        module_name, _, path = function.partition(":")
        owner = import_module(f"quantlab_collector.{module_name}")
        *around, last = path.split(".")
        for attribute in around:
            owner = getattr(owner, attribute)
        setattr(owner, last, _wrapped(getattr(owner, last), is_due, when, die))


def _wrapped(real, is_due, when, die):
    @wraps(real)
    def deadly(*args, **kwargs):
        if not is_due(args):
            return real(*args, **kwargs)
        if when == "half":
            where, data = args
            fd = where if isinstance(where, int) else os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            os.write(fd, data[: len(data) // 2])
        if when == "after":
            with suppress(Exception):  # after it, however it ended
                real(*args, **kwargs)
        return die()

    return deadly


if __name__ == "__main__":
    from quantlab_collector.cli import main

    if "KILL_AT" in os.environ:
        plant(os.environ["KILL_AT"])
    sys.argv[0] = "quantlab-collector"
    main()
