"""A writer with a queue in front of it, for tests that need no process."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from quantlab_collector.contracts.units import Bytes, Seconds
from quantlab_collector.intake.outlet import Outlet, open_queue
from quantlab_collector.runtime.notices import Notices
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.storage import recording
from quantlab_collector.storage.objects import LocalObjects
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer.context import WriterOptions
from quantlab_collector.writer.options import FlushOptions, JournalOptions, SpoolOptions, StorageOptions
from quantlab_collector.writer.run import run_writer


class Log:
    def __init__(self):
        self.lines = []

    def log(self, level, event, **fields):
        self.lines.append((event, fields))

    def told(self, event):
        return [fields for name, fields in self.lines if name == event]


class Bench:
    """A writer with a queue in front of it."""

    def __init__(self, folder, *, capacity=10_000, options=None, objects=None, instance="a", spool="spool"):
        self.state = ServiceState(instance, "0.1.0", 0, 0.0, capacity)
        self.log = Log()
        self.notices = Notices(self.state, self.log)
        self.objects = objects or LocalObjects(folder / "data")
        self.options = options or options_with()
        self.spool = folder / spool

    @asynccontextmanager
    async def writing(self, moves=None):
        """The outlet; when it is left, the writer drains. With ``moves``, an event, the writer stands still until it is set."""
        spool = Spool(self.spool)
        send, receive = open_queue()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run, receive, spool, moves)
                with Outlet(send, self.notices) as outlet:
                    yield outlet
        finally:
            spool.close()

    async def _run(self, receive, spool, moves):
        if moves is not None:
            await moves.wait()
        await run_writer(
            receive, spool=spool, objects=self.objects, state=self.state, notices=self.notices, options=self.options, units={}
        )

    @property
    def identity(self):
        counters = self.state.books.counters()
        assert counters.holds
        return counters

    def stored(self):
        committed, problems = recording.manifests(self.objects)
        assert problems == recording.verify(self.objects, committed) == []
        return recording.summarise(committed)


def options_with(
    *,
    interval=0.05,
    batch_rows=1000,
    flush=3600.0,
    part_rows=1,
    flush_bytes=2**30,
    min_gap=0.0,
    spool_bytes=2**40,
    min_free=0,
    **storage,
):
    return WriterOptions(
        JournalOptions(Seconds(interval), batch_rows),
        FlushOptions(Seconds(flush), part_rows=part_rows, max_bytes=Bytes(flush_bytes), min_gap=Seconds(min_gap)),
        StorageOptions("", **storage),
        SpoolOptions("", Bytes(spool_bytes), Bytes(min_free)),
    )


async def until(condition, limit=10):
    with trio.fail_after(limit):
        while not condition():
            await trio.sleep(0.01)
