"""The writer, from the channel to the store, with real threads and a real folder."""

from __future__ import annotations

import errno
import io
import math
import re
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import trio
import trio.testing

from quantlab_collector.contracts.events import Burst, StreamType
from quantlab_collector.contracts.units import Seconds
from quantlab_collector.intake.outlet import open_queue
from quantlab_collector.storage import files, recording
from quantlab_collector.storage.objects import LocalObjects, StoreFault
from quantlab_collector.writer import segments
from quantlab_collector.writer.batches import AHEAD, BLOCK
from storage.samples import bbo, trade
from writer.stores import Store
from writer.workbench import Bench, options_with, until


def bbo_burst(numbers):
    return Burst("x", StreamType.BBO, [bbo(n) for n in numbers])


def trade_burst(numbers):
    return Burst("x", StreamType.TRADE, [trade(n) for n in numbers])


async def test_everything_that_was_offered_is_stored_when_the_last_sender_closes(tmp_path):
    bench = Bench(tmp_path)
    async with bench.writing() as outlet:
        for n in range(0, 5000, 10):
            outlet.offer([bbo_burst(range(n, n + 10)), trade_burst([n])])
            if n % 1000 == 0:
                await trio.sleep(0.02)
            assert bench.identity.received == n + 10 + n // 10 + 1
    summary = bench.stored()
    assert {h.partition.stream.value: h.rows for h in summary.holdings} == {"bbo": 5000, "trade": 500}
    assert (bench.identity.written, bench.identity.pending) == (5500, 0)
    assert summary.incomplete == ()


async def test_segments_are_sealed_by_size_and_chained(tmp_path):
    bench = Bench(tmp_path, options=options_with(flush_bytes=20_000))
    async with bench.writing() as outlet:
        for n in range(0, 3000, 100):
            outlet.offer([bbo_burst(range(n, n + 100))])
            await trio.sleep(0.06)
    assert bench.stored().manifests > 3
    assert bench.identity.written == 3000
    assert bench.state.writer.sealed_segments == 0


async def test_segments_are_sealed_by_age_without_new_events(tmp_path):
    bench = Bench(tmp_path, options=options_with(flush=0.2))
    async with bench.writing() as outlet:
        outlet.offer([bbo_burst(range(10))])
        await until(lambda: bench.identity.written == 10)
        assert bench.identity.pending == 0


async def test_a_full_queue_drops_the_newest_and_counts_them(tmp_path):
    bench = Bench(tmp_path, capacity=100)
    async with bench.writing() as outlet:
        # No checkpoint: the writer cannot take anything meanwhile.
        outlet.offer([bbo_burst(range(70)), trade_burst(range(50)), bbo_burst(range(70, 80))])
        assert bench.state.books.queued == 100
        dropped = {key: account.dropped["queue_full"] for key, account in bench.state.books.accounts.items()}
        assert dropped == {("x", "bbo"): 10, ("x", "trade"): 20}
        assert bench.identity.dropped == 30
        await until(lambda: bench.state.books.queued == 0)
        outlet.offer([bbo_burst(range(80, 100))])
    summary = bench.stored()
    assert {h.partition.stream.value: h.rows for h in summary.holdings} == {"bbo": 90, "trade": 30}
    assert [(loss.stream, loss.reason, loss.count) for loss in summary.drops] == [
        ("bbo", "queue_full", 10),
        ("trade", "queue_full", 20),
    ]
    # The oldest were kept.
    (part,) = [
        p for m, _ in [(m, 0) for m in recording.manifests(bench.objects)[0]] for p in m.manifest.parts if "trade" in p.key
    ]
    assert part.trade_id == ("1000", "1029")
    assert len(bench.log.told("queue_full_drop")) == 2


async def test_while_the_disk_is_busy_a_few_rounds_are_collected_and_the_rest_stays_in_the_queue(tmp_path, monkeypatch):
    bench = Bench(tmp_path, capacity=100_000, options=options_with(interval=3600.0, batch_rows=100))
    shown, books, disk_is_back = bench.state.writer, bench.state.books, threading.Event()
    sync_data = files.sync_data

    def slow_sync_data(fd):
        assert disk_is_back.wait(30)
        sync_data(fd)

    monkeypatch.setattr(files, "sync_data", slow_sync_data)
    try:
        async with bench.writing() as outlet:
            outlet.offer([bbo_burst(range(100))])
            await until(lambda: shown.oldest_waiting_ns is not None)
            oldest = shown.oldest_unsynced_ns
            for n in range(100, 1000, 10):
                outlet.offer([bbo_burst(range(n, n + 10))])
            await until(lambda: books.queued == 900 - AHEAD * 100)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert books.queued == 900 - AHEAD * 100
            assert shown.oldest_unsynced_ns == oldest < shown.oldest_buffered_ns
            disk_is_back.set()
    finally:
        disk_is_back.set()
    assert bench.stored().rows == bench.identity.written == 1000
    assert shown.oldest_unsynced_ns is None


@pytest.mark.parametrize("sizes", [[BLOCK - 1, 1], [BLOCK], [BLOCK + 1], [1, BLOCK, 1], [3 * BLOCK, 5], [7, 2 * BLOCK]])
async def test_blocks_keep_every_event_in_its_order(tmp_path, sizes):
    bench = Bench(tmp_path, capacity=100_000, options=options_with(interval=3600.0, batch_rows=100_000))
    n = 0
    async with bench.writing() as outlet:
        for size in sizes:
            outlet.offer([bbo_burst(range(n, n + size))])
            n += size
    (part,) = (part for each in recording.manifests(bench.objects)[0] for part in each.manifest.parts)
    stored = pq.read_table(io.BytesIO(bench.objects.get(part.key)))
    assert stored.column("ts_event").to_pylist() == [event.ts_event for event in bbo_burst(range(n)).events]


async def test_beyond_the_limit_of_the_spool_events_are_dropped_until_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "PATIENCE", 0.05)
    store = Store(tmp_path / "data")
    store.fail("put", among="exchange=")
    bench = Bench(
        tmp_path,
        objects=store,
        options=options_with(flush=0.1, spool_bytes=30_000, retry_first=Seconds(0.1), retry_cap=Seconds(0.1)),
    )
    n = 0
    async with bench.writing() as outlet:
        while not bench.identity.dropped:
            outlet.offer([bbo_burst(range(n, n + 100))])
            n += 100
            await trio.sleep(0.02)
        store.mend()
        await until(lambda: bench.state.writer.sealed_segments == 0 and not bench.state.writer.segment_rows)
        dropped = bench.identity.dropped
        outlet.offer([bbo_burst(range(n, n + 100))])
        await until(lambda: bench.identity.pending == 0 or bench.state.books.counters().written)
        n += 100
    assert bench.identity.received == n
    assert bench.identity.written + bench.identity.dropped == n
    assert bench.identity.dropped >= dropped > 0
    assert bench.stored().rows == bench.identity.written
    assert [loss.reason for loss in bench.stored().drops] == ["spool_full"]
    # Parts are smaller than the journal they were made of, so there is room again now and then while the store is shut.
    hindered, resumed = (
        [told["obstacle"] for told in bench.log.told(event)] for event in ("recording_hindered", "recording_resumed")
    )
    assert set(hindered) == {"spool_full"}
    assert hindered == resumed


async def test_the_manifest_comes_last(tmp_path):
    store = Store(tmp_path / "data")
    bench = Bench(tmp_path, objects=store)
    async with bench.writing() as outlet:
        outlet.offer([bbo_burst(range(100)), trade_burst(range(100))])
    put = [key for key in store.keys("put", "put_new") if not key.startswith("_owners/")]
    assert [key.startswith("_manifests/") for key in put] == [False, False, True]


async def test_what_an_earlier_process_left_is_shipped_first_and_booked_apart(tmp_path):
    first = Bench(tmp_path)
    with trio.CancelScope() as scope:
        async with first.writing() as outlet:
            outlet.offer([bbo_burst(range(100))])
            await until(lambda: first.state.books.counters().pending and first.state.writer.segment_rows == 100)
            outlet.offer([bbo_burst(range(100, 130))])
            scope.cancel()  # the hard stop: what was received goes to the disk, and nothing further
    assert first.identity.pending == 130
    second = Bench(tmp_path)
    async with second.writing() as outlet:
        outlet.offer([trade_burst(range(7))])
    assert (second.identity.received, second.identity.written, second.state.books.recovered) == (7, 7, 130)
    summary = second.stored()
    assert {h.partition.stream.value: h.rows for h in summary.holdings} == {"bbo": 130, "trade": 7}
    assert [holes for _, holes in summary.incomplete] == [("the process ended without sealing it",)]
    (recovered,) = second.log.told("segment_recovered")
    assert recovered["rows"] == 130


async def test_a_part_that_changed_in_the_spool_is_not_shipped_and_the_others_are(tmp_path):
    class Slow(LocalObjects):
        opened = threading.Event()

        def put_new(self, key, data):
            if not self.opened.is_set():
                raise StoreFault("not yet")
            super().put_new(key, data)

    objects = Slow(tmp_path / "data")
    options = options_with(flush=0.1, retry_first=Seconds(0.01), retry_cap=Seconds(0.02))
    bench = Bench(tmp_path, objects=objects, options=options)
    async with bench.writing() as outlet:
        outlet.offer([bbo_burst(range(100)), trade_burst(range(30))])
        await until(lambda: list((tmp_path / "spool" / "packs").glob("*.pack")))
        (pack,) = (tmp_path / "spool" / "packs").glob("*.pack")
        pack.write_bytes(b"x" + pack.read_bytes()[1:])
        objects.opened.set()
        await until(lambda: bench.log.told("segment_committed"))
        outlet.offer([bbo_burst(range(100, 150))])
    assert (bench.identity.written, bench.identity.dropped, bench.identity.pending) == (80, 100, 0)
    assert bench.state.books.account("x", "bbo").dropped == {"damaged": 100}
    summary = bench.stored()
    assert {h.partition.stream.value: h.rows for h in summary.holdings} == {"bbo": 50, "trade": 30}
    ((_, holes),) = summary.incomplete
    assert re.fullmatch(r"exchange=x/stream=bbo/\S+ spoiled in the spool: 100 rows", holes[0])
    assert [(loss.stream, loss.reason, loss.count) for loss in summary.drops] == [("bbo", "damaged", 100)]
    assert len(list((tmp_path / "spool" / "quarantine").iterdir())) == 1
    assert bench.log.told("part_spoiled")


async def test_what_was_committed_is_adopted_when_it_is_found_again(tmp_path):
    """The process went between the manifest and the note that it is there; meanwhile a part spoiled in the spool."""
    first = Bench(tmp_path)
    spared = []
    remove = files.remove

    def spare(path, **options):
        if Path(path).suffix == ".pack":
            spared.append((path, path.read_bytes()))
        remove(path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "remove", spare)
        async with first.writing() as outlet:
            outlet.offer([bbo_burst(range(10))])
    ((path, data),) = spared
    path.write_bytes(b"x" + data[1:])
    second = Bench(tmp_path)
    async with second.writing() as outlet:
        outlet.offer([bbo_burst(range(10, 15))])
    assert second.stored().rows == 15
    assert not second.log.told("part_spoiled")
    assert list((tmp_path / "spool" / "packs").iterdir()) == []


async def test_a_sync_that_failed_is_never_tried_again_on_the_same_file(tmp_path, monkeypatch):
    synced, broken = [], []

    def fdatasync(fd):
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        synced.append(path)
        if len(synced) == 2:
            broken.append(path)
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(segments, "PATIENCE", 0.01)
    monkeypatch.setattr(files.os, "fdatasync", fdatasync)
    bench = Bench(tmp_path)
    async with bench.writing() as outlet:
        outlet.offer([bbo_burst(range(10))])
        await until(lambda: bench.state.writer.segment_rows == 10)
        outlet.offer([bbo_burst(range(10, 20))])
        await until(lambda: bench.log.told("recording_resumed"))
        outlet.offer([bbo_burst(range(20, 30))])
    assert synced.count(broken[0]) == 2
    assert (bench.identity.written, bench.identity.dropped) == (30, 0)
    committed, _ = recording.manifests(bench.objects)
    # What was synced before counts, once; what was in the failed write stands in the next segment, once.
    assert [manifest.manifest.rows for manifest in committed] == [10, 20]
    assert [told["obstacle"] for told in bench.log.told("recording_hindered")] == ["disk_error"]
    assert bench.stored().rows == 30


def test_infinity_is_the_only_bound_of_the_channel():
    send, receive = open_queue()
    assert send.statistics().max_buffer_size == math.inf
    send.close()
    receive.close()
