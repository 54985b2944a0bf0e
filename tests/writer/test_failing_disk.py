"""Every single call that the writer makes to the disk fails, one after the other: once, for a while, for ever.

For n = 1, 2, 3 … the n-th call fails, until a run makes fewer calls than n and so is clean. No run may end in an exception, no step
may leave the books unbalanced, and what was offered is stored once or counted as lost.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trio

from quantlab_collector.contracts.events import Burst, StreamType
from quantlab_collector.contracts.units import Seconds
from quantlab_collector.storage import files, recording
from quantlab_collector.storage.encoder import encode_segment
from quantlab_collector.storage.journal import SegmentWriter
from quantlab_collector.storage.journal_reading import read_segment
from quantlab_collector.storage.objects import LocalObjects, StoreFault
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer import disk, encoding, segments
from storage.disk import CHANGING, LOOKING, FailingOs
from storage.samples import bbo, trade
from writer.workbench import Bench, Log, options_with, until

pytestmark = pytest.mark.long

THOROUGH = "QUANTLAB_TEST_DISK_MATRIX" in os.environ
"""Every error in every manner, instead of those that are most unlike each other."""
ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT) if THOROUGH else (errno.EIO,)
MANNERS = {
    "once": {},
    "six syncs": {"lasting": 6, "only": frozenset(("fsync", "fdatasync"))},
    "four writes": {"lasting": 4, "only": frozenset(("write",))},
    "two names": {"lasting": 2, "only": frozenset(("rename", "link", "unlink", "mkdir", "rmdir"))},
}
FOR_EVER = {
    "everything": {},
    "syncs": {"only": frozenset(("fsync", "fdatasync"))},
    "writes": {"only": frozenset(("write",))},
}
if THOROUGH:
    MANNERS |= {"once, and yet done": {"applied": True}, "three times": {"lasting": 3}}
    FOR_EVER |= {"all but looking": {"only": CHANGING}}
QUICK = options_with(interval=0.001, flush_bytes=3_500, retry_first=Seconds(0.001), retry_cap=Seconds(0.002))


def bursts():
    yield [Burst("x", StreamType.BBO, [bbo(n) for n in range(10)])]
    yield [
        Burst("x", StreamType.BBO, [bbo(n) for n in range(10, 20)]),
        Burst("x", StreamType.TRADE, [trade(n) for n in range(5)]),
    ]
    yield [Burst("x", StreamType.BBO, [bbo(n) for n in range(20, 30)])]
    yield [Burst("x", StreamType.BBO, [bbo(n) for n in range(30, 40)])]


OFFERED = {(str(burst.stream), event.ts_recv) for some in bursts() for burst in some for event in burst.events}


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    monkeypatch.setattr(segments, "PATIENCE", 0.001)
    monkeypatch.setattr(disk, "RETRY_FIRST", 0.001)
    monkeypatch.setattr(disk, "RETRY_CAP", 0.002)

    # A thread that is left alone at a hard stop ends with its process. Here it would meddle with the next writer.
    async def run_sync(work, *, limiter, abandon_on_cancel=False, real=trio.to_thread.run_sync):
        return await real(work, limiter=limiter)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


@pytest.fixture
def place(tmp_path):
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def kept(monkeypatch):
    """Rows of which the journal has said that they are on the disk."""
    rows = Counter()
    append = SegmentWriter.append

    def append_and_note(writer, batches, account):
        merged = append(writer, batches, account)
        rows.update(key for batch in batches for key in keys_of(pa.table(batch)))
        return merged

    monkeypatch.setattr(SegmentWriter, "append", append_and_note)
    return rows


class BalancedLog(Log):
    """Looks at the books whenever something is told."""

    def __init__(self, state):
        super().__init__()
        self.state = state

    def log(self, level, event, **fields):
        super().log(level, event, **fields)
        assert self.state.books.counters().holds, event


def bench_in(folder, **more):
    bench = Bench(folder, options=QUICK, **more)
    bench.log = bench.notices._log = BalancedLog(bench.state)
    return bench


async def offer_all(bench, outlet):
    for some in bursts():
        outlet.offer(some)
        with trio.fail_after(10):
            while bench.state.books.queued or any(account.buffered for account in bench.state.books.accounts.values()):
                await trio.sleep(0.001)


def keys_of(table):
    stream = "trade" if "trade_id" in table.column_names else "bbo"
    return [(stream, at) for at in table["ts_recv"].to_pylist()]


def stored(folder):
    """Rows by what tells them apart. All that the manifests say is verified first."""
    objects = LocalObjects(folder / "data")
    committed, problems = recording.manifests(objects)
    # What no manifest names does not exist for a reader; a failing disk may leave it.
    problems += [text for text in recording.verify(objects, committed) if "named by no manifest" not in text]
    assert problems == []
    return Counter(
        key
        for entry in committed
        for part in entry.manifest.parts
        for key in keys_of(pq.read_table(folder / "data" / part.key, partitioning=None))
    )


def until_clean(run_once, step=1):
    """Run with the n-th call failing, for n = 1, 2, 3 …, until a run does not come so far; how many runs that were."""

    async def all_runs():
        for runs, n in enumerate(itertools.count(1, step)):
            failing = await run_once(n)
            if not failing.failed.total():
                return runs
        raise AssertionError("never: it counts for ever")

    return trio.run(all_runs)


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("manner", MANNERS.values(), ids=MANNERS)
def test_a_disk_that_fails_for_a_while_costs_nothing(manner, error, place, monkeypatch):
    async def run_once(n):
        folder, failing = place / str(n), FailingOs(n, error, **manner)
        bench = bench_in(folder)
        with monkeypatch.context() as patch:
            async with bench.writing() as outlet:
                patch.setattr(files, "os", failing)
                await offer_all(bench, outlet)
        assert (bench.identity.written, bench.identity.pending, bench.identity.dropped) == (len(OFFERED), 0, 0), n
        assert bench.state.writer.obstacle is None
        assert stored(folder) == dict.fromkeys(OFFERED, 1), n
        assert not bench.log.told("spool_quarantine"), n
        shutil.rmtree(folder)
        return failing

    runs = until_clean(run_once)
    assert runs > 10
    print(f"{runs} calls failed, each in a run of its own")


@pytest.mark.parametrize("error", ERRORS if THOROUGH else (errno.ENOSPC,), ids=errno.errorcode.get)
@pytest.mark.parametrize("manner", FOR_EVER.values(), ids=FOR_EVER)
def test_a_disk_that_fails_for_ever_loses_nothing_that_was_kept(manner, error, place, monkeypatch, kept):
    async def run_once(n):
        kept.clear()
        folder, failing = place / str(n), FailingOs(n, error, lasting=math.inf, **manner)
        first = bench_in(folder)
        with monkeypatch.context() as patch, trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop_hard_when_stuck, failing, scope)
                async with first.writing() as outlet:
                    patch.setattr(files, "os", failing)
                    await offer_all(first, outlet)
                nursery.cancel_scope.cancel()
        assert not first.state.books.queued
        second = bench_in(folder)
        async with second.writing():
            pass
        rows = stored(folder)
        assert set(rows.values()) <= {1}, n
        assert kept.keys() <= rows.keys() <= OFFERED, n
        # What could not be written counts as lost; some of it may have come to the disk all the same.
        assert first.identity.received - len(rows) <= first.identity.dropped, n
        assert list((folder / "spool" / "journal").iterdir()) == list((folder / "spool" / "packs").iterdir()) == [], n
        shutil.rmtree(folder)
        return failing

    runs = until_clean(run_once)
    assert runs > 5
    print(f"{runs} calls failed with all after them, each in a run of its own")


async def stop_hard_when_stuck(failing, scope):
    await until(lambda: failing.failed.total() > 0)
    await trio.sleep(0.01)
    scope.cancel()


class Shut(LocalObjects):
    """Takes nothing."""

    def put(self, key, data):
        raise StoreFault("shut")

    put_new = put


def leave_something(folder):
    """What a killed process may leave: parts that the store did not take, segments sealed and not, and one that an error ended."""
    encoded = []

    def encode_one(spool, journal, upto):
        if encoded:
            raise OSError(errno.ENOSPC, "no room for a second one")
        encoded.append(encode_segment(spool, journal, upto))
        return encoded[0]

    async def record():
        bench = bench_in(folder, objects=Shut(folder / "data"))
        with pytest.MonkeyPatch.context() as patch, trio.CancelScope() as scope:
            patch.setattr(encoding, "encode_segment", encode_one)
            async with bench.writing() as outlet:
                patch.setattr(files, "os", FailingOs(3, errno.EIO, only=frozenset(("fdatasync",))))
                await offer_all(bench, outlet)
                await until(lambda: bench.log.told("encode_failed"))
                scope.cancel()
        assert bench.log.told("recording_hindered")

    trio.run(record)
    assert len(list((folder / "spool" / "packs").iterdir())) == 1
    assert len(list((folder / "spool" / "journal").iterdir())) >= 2


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize(
    "manner",
    [{}, {"lasting": math.inf}, {"lasting": math.inf, "only": LOOKING}],
    ids=["once", "for ever", "reads, for ever"],
)
def test_a_disk_that_fails_at_the_start(manner, error, place, monkeypatch, kept):
    leave_something(place / "left")
    assert kept.keys() == OFFERED
    more = [Burst("x", StreamType.BBO, [bbo(n) for n in range(100, 110)])]

    async def run_once(n):
        folder, failing = place / str(n), FailingOs(n, error, **manner)
        shutil.copytree(place / "left", folder)
        second = bench_in(folder)
        with monkeypatch.context() as patch, trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                if manner.get("lasting") == math.inf:
                    nursery.start_soon(stop_hard_when_stuck, failing, scope)
                async with second.writing() as outlet:
                    patch.setattr(files, "os", failing)
                    outlet.offer(more)
                nursery.cancel_scope.cancel()
        assert second.identity.received == len(more[0].events)
        if manner.get("lasting") == math.inf:
            async with bench_in(folder).writing():
                pass
        rows = stored(folder)
        assert set(rows.values()) == {1}, n
        # A segment that the disk does not give back in several attempts is put aside, for whoever repairs the disk.
        assert manner or not put_aside(folder), n
        found = rows.keys() | put_aside(folder)
        assert found >= OFFERED, n
        assert len(found - OFFERED) >= len(more[0].events) - second.identity.dropped, n
        shutil.rmtree(folder)
        return failing

    runs = until_clean(run_once, step=1 if THOROUGH else 3)
    assert runs > 5
    print(f"{runs} calls failed, each in a start of its own")


def put_aside(folder):
    segments_aside = map(read_segment, (folder / "spool" / "quarantine").glob("*.journal"))
    return {key for segment in segments_aside for some in segment.batches() for key in keys_of(pa.table(some))}


@pytest.mark.parametrize("manner", [{}, {"lasting": math.inf}, {"applied": True}], ids=["once", "for ever", "done"])
def test_a_spool_or_a_store_that_cannot_be_opened_says_so(manner, place, monkeypatch):
    async def run_once(n):
        folder, failing = place / str(n), FailingOs(n, errno.EIO, **manner)
        with monkeypatch.context() as patch:
            patch.setattr(files, "os", failing)
            with suppress(OSError):
                LocalObjects(folder / "data")
                Spool(folder / "spool").close()
        LocalObjects(folder / "data")  # nothing holds on to the lock
        Spool(folder / "spool").close()
        return failing

    assert until_clean(run_once) > 5


def test_a_store_whose_disk_fails_gives_store_faults_only_and_never_half_an_object(place, monkeypatch):
    async def run_once(n):
        objects, failing = LocalObjects(place / str(n)), FailingOs(n, errno.ENOSPC)
        faults = []
        with monkeypatch.context() as patch:
            patch.setattr(files, "os", failing)
            for work, *arguments in (
                (objects.put, "a/b/c", b"1" * 1000),
                (objects.settle,),
                (objects.put_new, "a/d", b"2" * 1000),
                (objects.settle,),
                (objects.delete, "a/d"),
            ):
                try:
                    work(*arguments)
                except StoreFault as fault:
                    faults.append(fault)
        assert len(faults) <= 1
        for key, size in objects.list(""):
            assert (key, size) in {("a/b/c", 1000), ("a/d", 1000)}
        return failing

    assert until_clean(run_once) > 20
