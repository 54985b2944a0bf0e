"""The writer, from the channel to the store, with real threads and a real folder."""

from __future__ import annotations

import errno
import math
import threading
from pathlib import Path

import pytest
import trio

from quantlab_collector.contracts.events import Burst, StreamType
from quantlab_collector.contracts.units import Seconds
from quantlab_collector.intake.outlet import open_queue
from quantlab_collector.storage import files, recording
from quantlab_collector.storage.objects import LocalObjects, StoreFault
from quantlab_collector.writer import segments
from storage.samples import bbo, trade
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


async def test_beyond_the_limit_of_the_spool_events_are_dropped_until_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "PATIENCE", 0.05)

    class Shut(LocalObjects):
        open = False

        def put(self, key, data):
            if not self.open:
                raise StoreFault("shut")
            super().put(key, data)

    objects = Shut(tmp_path / "data")
    bench = Bench(
        tmp_path,
        objects=objects,
        options=options_with(flush=0.1, spool_bytes=30_000, retry_first=Seconds(0.1), retry_cap=Seconds(0.1)),
    )
    n = 0
    async with bench.writing() as outlet:
        while not bench.identity.dropped:
            outlet.offer([bbo_burst(range(n, n + 100))])
            n += 100
            await trio.sleep(0.02)
        objects.open = True
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


class Faulty(LocalObjects):
    """Refuses the first attempts of every key; half of them after having done it."""

    def __init__(self, root, failures):
        super().__init__(root)
        self.failures = failures
        self.attempts = {}
        self.lock = threading.Lock()

    def put(self, key, data):
        with self.lock:
            attempt = self.attempts[key] = self.attempts.get(key, 0) + 1
        if attempt <= self.failures:
            if attempt % 2:
                super().put(key, data)
            raise StoreFault("503")
        super().put(key, data)


async def test_a_store_that_fails_is_tried_again_until_it_does_not(tmp_path):
    objects = Faulty(tmp_path / "data", failures=3)
    options = options_with(retry_first=Seconds(0.01), retry_cap=Seconds(0.02))
    bench = Bench(tmp_path, objects=objects, options=options)
    async with bench.writing() as outlet:
        outlet.offer([bbo_burst(range(100)), trade_burst(range(100))])
    assert bench.stored().rows == 200
    assert set(objects.attempts.values()) == {4}
    assert bench.state.writer.upload_failures == 3 * 3  # two parts and a manifest
    assert bench.state.writer.storage_fault is None
    assert bench.log.told("upload_failed")


async def test_the_manifest_comes_last(tmp_path):
    order = []

    class Watched(LocalObjects):
        def put(self, key, data):
            super().put(key, data)
            order.append(key)

    bench = Bench(tmp_path, objects=Watched(tmp_path / "data"))
    async with bench.writing() as outlet:
        outlet.offer([bbo_burst(range(100)), trade_burst(range(100))])
    assert [key.startswith("_manifests/") for key in order] == [False, False, True]


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


async def test_a_part_that_changed_in_the_spool_is_not_shipped(tmp_path):
    class Slow(LocalObjects):
        def put(self, key, data):
            raise StoreFault("not yet")

    bench = Bench(tmp_path, objects=Slow(tmp_path / "data"), options=options_with(flush=0.1))
    with trio.CancelScope() as scope:
        async with bench.writing() as outlet:
            outlet.offer([bbo_burst(range(100))])
            await until(lambda: bench.log.told("upload_failed"))
            scope.cancel()
    (pack,) = (tmp_path / "spool" / "packs").glob("*.pack")
    pack.write_bytes(b"x" + pack.read_bytes()[1:])
    with pytest.RaisesGroup(pytest.RaisesExc(Exception, match="is not what it was"), flatten_subgroups=True):
        async with Bench(tmp_path).writing():
            await trio.sleep_forever()


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
