"""A store that fails in every way, with the whole writer in front of it. Nothing is lost, nothing is there twice."""

from __future__ import annotations

import threading

import pytest
import trio

from quantlab_collector.contracts.events import Burst, StreamType
from quantlab_collector.contracts.layout import manifest_key
from quantlab_collector.contracts.units import Seconds
from quantlab_collector.storage import recording
from quantlab_collector.storage.objects import FaultKind
from quantlab_collector.storage.pack import load_pack
from storage.samples import bbo, trade
from writer.stores import Store
from writer.workbench import Bench, options_with, until

QUICK = {"retry_first": Seconds(0.01), "retry_cap": Seconds(0.02)}


def bursts(count):
    yield Burst("x", StreamType.BBO, [bbo(n) for n in range(count)])
    yield Burst("x", StreamType.TRADE, [trade(n) for n in range(count)])


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "data")


@pytest.fixture
def bench(tmp_path, store):
    return Bench(tmp_path, objects=store, options=options_with(flush=0.05, **QUICK))


def assert_all_is_there(bench, rows):
    bench.objects.mend()
    assert bench.stored().rows == bench.identity.written == rows
    shown = bench.state.writer
    assert (shown.storage_fault, shown.shipping_blocked) == (None, None)
    assert (shown.backlog_segments, shown.backlog_bytes, shown.oldest_seal_ns) == (0, 0, None)
    assert not list((bench.spool / "packs").iterdir())


# What obstore can make of a fault: the answer is a fault, before or after it was done; or a conflict where there is none.
WAYS = {
    "S1-5xx-once": {"times": 1},
    "S1-5xx-five-times": {"times": 5},
    "S2-503-SlowDown": {"times": 2, "kind": FaultKind.THROTTLED, "retry_after": 0.01},
    "S4-timeout": {"times": 2},
    "S5-reset-after-apply": {"times": 1, "applied": True},
    "S6-applied-but-500": {"times": 3, "applied": True},
}


@pytest.mark.parametrize("among", ["exchange=", "_manifests/", "_owners/"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_each_request_fails_and_then_does_not(bench, store, way, among):
    failing = store.fail("put", "put_new", among=among, **way)
    async with bench.writing() as outlet:
        outlet.offer(list(bursts(100)))
    assert failing.seen
    assert all(count > 1 for count in failing.seen.values())
    assert_all_is_there(bench, 200)
    assert bench.log.told("upload_failed")[0]["kind"] == way.get("kind", FaultKind.TRANSIENT)
    assert bench.log.told("store_recovered")


@pytest.mark.parametrize("operation", ["get", "head"], ids="S1-{}".format)
async def test_looking_fails_and_then_does_not(bench, store, operation):
    store.fail(operation, times=3)
    async with bench.writing() as outlet:
        outlet.offer(list(bursts(100)))
    assert_all_is_there(bench, 200)


@pytest.mark.parametrize("kind", [FaultKind.AUTH, FaultKind.CLOCK, FaultKind.CONFIG], ids=["S7", "S8", "S9"])
async def test_what_a_person_has_to_mend_is_told_and_waited_for(mock_clock, bench, store, kind):
    mock_clock.rate = 1000
    store.fail("put", "put_new", kind=kind, among="!_owners/")
    async with bench.writing() as outlet:
        outlet.offer(list(bursts(100)))
        await until(lambda: bench.state.writer.upload_failures >= 4, limit=10_000)
        assert bench.state.writer.storage_fault == f"{kind}: told to fail: {kind}"
        assert {told["kind"] for told in bench.log.told("upload_failed")} == {kind}
        assert 30 <= bench.log.told("upload_failed")[0]["retry_in"] <= 45
        assert (store.renewals > 0) == (kind is FaultKind.AUTH)
        store.mend()
    assert_all_is_there(bench, 200)


@pytest.mark.parametrize("times", [1, 4])
async def test_s10_a_conflict_where_nothing_is_there_is_no_success(bench, store, times):
    failing = store.fail("put_new", taken=True, times=times)
    async with bench.writing() as outlet:
        outlet.offer(list(bursts(100)))
    assert sorted(failing.seen.values()) == [times + 1, times + 1]  # the claim and the manifest
    assert_all_is_there(bench, 200)


async def test_s10_a_conflict_with_our_own_manifest_is_a_success(bench, store):
    store.fail("put_new", among="_manifests/", taken=True, applied=True, times=1)
    async with bench.writing() as outlet:
        outlet.offer(list(bursts(100)))
    assert len(store.keys("put_new", among="_manifests/")) == 1
    assert_all_is_there(bench, 200)


async def test_s14_the_manifest_fails_until_the_process_is_gone(tmp_path, bench, store):
    """The data is there and invisible. The next start writes the manifest."""
    store.fail("put_new", among="_manifests/")
    with trio.CancelScope() as scope:
        async with bench.writing() as outlet:
            outlet.offer(list(bursts(100)))
            await until(lambda: bench.log.told("upload_failed"))
            scope.cancel()
    assert store.keys("put", among="exchange=")
    assert not list((store.root / "_manifests").rglob("*.json"))
    assert bench.identity.pending == 200
    store.mend()
    second = Bench(tmp_path, objects=store)
    async with second.writing():
        pass
    assert second.stored().rows == second.state.books.recovered == 200


async def test_s14_nothing_is_uploaded_again_where_the_manifest_is_there(tmp_path, store):
    store.fail("put_new", among="_manifests/", applied=True)
    bench = Bench(tmp_path, objects=store, options=options_with(flush=0.05, retry_first=Seconds(3600), retry_cap=Seconds(3600)))
    with trio.CancelScope() as scope:
        async with bench.writing() as outlet:
            outlet.offer(list(bursts(100)))
            await until(lambda: bench.log.told("upload_failed"))
            scope.cancel()
    store.mend()
    store.requests.clear()
    second = Bench(tmp_path, objects=store)
    async with second.writing():
        pass
    assert store.keys("put", among="exchange=") == []
    assert second.stored().rows == 200
    assert not list((second.spool / "packs").iterdir())


async def test_s14_the_crash_comes_after_everything_but_the_forgetting(tmp_path, bench, store):
    """The chain already ends with the segment that is found in the spool: it must not follow itself."""
    store.fail("put", among="exchange=")
    async with bench.writing() as outlet:
        outlet.offer(list(bursts(100)))
        await until(lambda: bench.state.writer.backlog_segments)
        (pack,) = (bench.spool / "packs").iterdir()
        copy = pack.read_bytes()
        store.mend()
    pack.write_bytes(copy)
    second = Bench(tmp_path, objects=store)
    async with second.writing() as outlet:
        outlet.offer(list(bursts(10)))
    assert not second.log.told("foreign_manifest")
    assert second.stored().rows == 220
    first, last = recording.manifests(store)[0]
    assert first.manifest.previous is None
    assert last.manifest.previous.key == first.key


# ------------------------------------------------------------------------------------------------- a foreign manifest


def our_manifest(bench):
    """The key of the manifest of the first segment that waits in the spool."""
    pack = load_pack(min((bench.spool / "packs").iterdir()))
    return manifest_key(pack.manifest.instance, pack.segment, pack.manifest.opened)


async def test_s11_a_foreign_manifest_is_never_overwritten(tmp_path, bench, store):
    store.fail("put", among="exchange=")
    with trio.CancelScope() as scope:
        async with bench.writing() as outlet:
            outlet.offer(list(bursts(100)))
            await until(lambda: bench.log.told("upload_failed"))
            scope.cancel()
    store.mend()
    key = our_manifest(bench)
    store.put_new(key, b"somebody else's")
    store.requests.clear()
    second = Bench(tmp_path, objects=store, options=options_with(flush=0.05))
    async with second.writing() as outlet:
        await until(lambda: second.log.told("foreign_manifest"))
        # It goes on recording, and ships nothing.
        outlet.offer(list(bursts(50)))
        await until(lambda: second.state.writer.backlog_segments == 2)
    assert store.get(key) == b"somebody else's"
    assert store.keys("put", among="exchange=") == []
    assert second.identity.pending == 100
    assert len(list((second.spool / "packs").iterdir())) == 2
    assert key in second.state.writer.shipping_blocked
    (told,) = second.log.told("foreign_manifest")
    assert told["key"] == key


async def test_s11_a_foreign_manifest_that_comes_at_the_last_moment(bench, store):
    def between(key):
        if key.startswith("_manifests/"):
            Store.put(store, key, b"somebody else's")

    original = store.put_new

    def put_new(key, data):
        between(key)
        original(key, data)

    store.put_new = put_new
    async with bench.writing() as outlet:
        outlet.offer(list(bursts(100)))
    assert bench.log.told("foreign_manifest")
    assert bench.identity.pending == 200
    (key,) = store.keys("put", among="_manifests/")
    assert store.get(key) == b"somebody else's"


# ------------------------------------------------------------------------------------------------------ a stuck store


async def test_s4_a_store_that_hangs_stalls_neither_journal_nor_stop(tmp_path, store):
    """Its threads are left alone; what they were shipping is in the spool."""
    store.holds_up = threading.Event()
    bench = Bench(tmp_path, objects=store, options=options_with(flush=0.05, upload_threads=2))
    try:
        with trio.CancelScope() as scope:
            async with bench.writing() as outlet:
                for n in range(1, 6):
                    outlet.offer(list(bursts(10)))
                    # The journal goes on, and so does the encoder.
                    await until(lambda n=n: bench.state.writer.backlog_segments >= n)
                assert bench.state.writer.in_flight_uploads == 2
                assert store.most_at_once <= 2
                scope.cancel()
        assert scope.cancelled_caught
        assert bench.identity.pending == bench.identity.received == 100
        assert len(list((bench.spool / "packs").iterdir())) == 5
    finally:
        store.holds_up.set()
    second = Bench(tmp_path, objects=store)
    async with second.writing():
        pass
    assert second.stored().rows == second.state.books.recovered == 100


# -------------------------------------------------------------------------------------------------------- the backlog


async def test_s15_after_an_outage_everything_is_drained_in_order(tmp_path, store):
    store.fail("put", among="exchange=")
    bench = Bench(tmp_path, objects=store, options=options_with(flush=0.02, interval=0.02, **QUICK))
    async with bench.writing() as outlet:
        for n in range(1, 21):
            outlet.offer(list(bursts(10)))
            await until(lambda n=n: bench.state.writer.backlog_segments >= n)
        shown = bench.state.writer
        assert shown.backlog_bytes > 0
        assert shown.shipped_bytes == 0
        assert shown.oldest_seal_ns is not None
        assert bench.state.snapshot(0.0).upload_lag == 0.0  # the clock of this snapshot stands at the start
        waiting = shown.backlog_bytes
        store.mend()
        await until(lambda: not shown.backlog_segments)
        assert shown.shipped_bytes == waiting
    assert_all_is_there(bench, 400)
    manifests = store.keys("put_new", among="_manifests/")
    assert manifests == sorted(manifests)
    assert len(manifests) == 20


async def test_progress_is_told_while_the_backlog_is_long(mock_clock, tmp_path, store):
    mock_clock.rate = 100
    store.fail("put", among="exchange=")
    bench = Bench(tmp_path, objects=store, options=options_with(flush=0.02, interval=0.02))
    async with bench.writing() as outlet:
        for n in range(1, 4):
            assert not bench.log.told("drain_progress")
            outlet.offer(list(bursts(10)))
            await until(lambda n=n: bench.state.writer.backlog_segments >= n, limit=10_000)
        await until(lambda: bench.log.told("drain_progress"), limit=10_000)
        store.mend()
        told = bench.log.told("drain_progress")[0]
        assert told == {"segments": 3, "bytes": told["bytes"], "bytes_per_sec": 0}
        assert told["bytes"] > 0
    assert_all_is_there(bench, 60)


async def test_a_stop_tells_what_it_waits_for(mock_clock, tmp_path, store):
    mock_clock.rate = 100
    store.fail("put", among="exchange=")
    bench = Bench(tmp_path, objects=store, options=options_with(flush=0.05))
    async with bench.writing() as outlet:
        outlet.offer(list(bursts(10)))
        bench.state.stopping = True
        await until(lambda: bench.log.told("drain_progress"), limit=10_000)
        store.mend()
    assert bench.log.told("drain_progress")[0]["segments"] == 1
    assert_all_is_there(bench, 20)
