"""How the parts of a segment go to the store: in runs, of which each is at one part at a time."""

from __future__ import annotations

import math
import pickle
import threading
from collections import deque

import pytest
import trio

from quantlab_collector.contracts.events import Burst, StreamType
from quantlab_collector.storage.encoder import encode_segment
from quantlab_collector.storage.objects import StoreFault
from quantlab_collector.storage.pack import load_pack
from quantlab_collector.storage.shipment import Shipment
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer import disk, parts
from quantlab_collector.writer.parts import Run
from storage.samples import HEADER, bbo, bbo_batch, write_segment
from writer.stores import Store
from writer.workbench import Bench, options_with, until

SYMBOLS = [f"S{n}" for n in range(6)]


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    monkeypatch.setattr(disk, "RETRY_FIRST", 0.001)


@pytest.fixture
def spool(tmp_path):
    opened = Spool(tmp_path / "own")
    yield opened
    opened.close()


def pack_of(spool, symbols):
    journal = write_segment(spool.journal_path(HEADER.segment), [bbo_batch(range(3), symbol) for symbol in symbols], sealed=True)
    return encode_segment(spool, journal)


class Trip:
    """A run and what it goes along."""

    def __init__(self, pack, store):
        self.pack, self.store = pack, store
        self.line = deque(zip(pack.manifest.parts, pack.places, strict=True))
        self.keys = [part.key for part in pack.manifest.parts]
        self.run = Run(pack, store, self.line.popleft(), self.line)

    @property
    def stored(self):
        return self.store.keys("put")


@pytest.fixture
def trip(spool, tmp_path):
    return Trip(pack_of(spool, SYMBOLS), Store(tmp_path / "data"))


def test_a_run_goes_on_while_there_is_time(trip, monkeypatch):
    monkeypatch.setattr(parts, "RUN", math.inf)
    trip.run()
    assert trip.stored == trip.keys
    assert trip.run.bytes == trip.pack.manifest.bytes
    assert not trip.line


def test_a_run_is_one_part_when_that_takes_long(trip, monkeypatch):
    monkeypatch.setattr(parts, "RUN", 0.0)
    trip.run()
    assert trip.stored == trip.keys[:1]
    assert len(trip.line) == 5


def test_a_part_that_fails_names_the_run_and_is_tried_again_alone(trip, monkeypatch):
    monkeypatch.setattr(parts, "RUN", math.inf)
    trip.store.fail("put", among="symbol=S2", times=2)
    for _ in range(2):
        with pytest.raises(StoreFault):
            trip.run()
        assert str(trip.run) == trip.keys[2]
        assert len(trip.line) == 3  # the others are anybody's
    trip.run()
    assert trip.stored == [*trip.keys[:3], trip.keys[2], trip.keys[2]]
    assert trip.run.bytes == sum(part.bytes for part in trip.pack.manifest.parts[:3])


def test_what_the_disk_does_not_give_back_is_left_to_others(trip, monkeypatch):
    monkeypatch.setattr(parts, "RUN", math.inf)
    data = bytearray(trip.pack.path.read_bytes())
    data[trip.pack.places[3] + 40] ^= 1
    trip.pack.path.write_bytes(data)
    trip.run()
    assert [part.key for part, _ in trip.run.unread] == [trip.keys[3]]
    assert trip.stored == [key for key in trip.keys if key != trip.keys[3]]


async def test_threads_that_are_left_alone_take_nothing_more(tmp_path):
    store = Store(tmp_path / "data")
    store.holds_up = threading.Event()
    bench = Bench(tmp_path, objects=store, options=options_with(flush=0.05, upload_threads=2))
    with trio.CancelScope() as scope:
        async with bench.writing() as outlet:
            outlet.offer([Burst("x", StreamType.BBO, [bbo(n, symbol) for n, symbol in enumerate(SYMBOLS)])])
            await until(lambda: len(store.keys("put", among="exchange=")) == 2)
            scope.cancel()
    store.holds_up.set()
    await until(lambda: not store._at_once)
    assert len(store.keys("put", among="exchange=")) == 2
    second = Bench(tmp_path, objects=store)
    async with second.writing():
        pass
    assert second.stored().rows == len(SYMBOLS)


# --------------------------------------------------------------------------------------------------------- what waits


def test_what_waits_is_no_larger_for_having_many_parts(spool):
    few = len(pickle.dumps(Shipment.of(pack_of(spool, SYMBOLS[:1]))))
    many = len(pickle.dumps(Shipment.of(pack_of(spool, [f"S{n}" for n in range(300)]))))
    assert many < few + 10


def rot(path):
    data = bytearray(path.read_bytes())
    data[-100] ^= 1  # the manifest
    path.write_bytes(data)


@pytest.mark.parametrize("happens", [rot, lambda path: path.unlink()], ids=["rots", "is removed"])
async def test_a_pack_that_is_lost_while_it_waits_is_counted_and_what_follows_is_shipped(tmp_path, happens):
    store = Store(tmp_path / "data")
    store.fail("put_new")  # nobody is let in, so all waits
    bench = Bench(tmp_path, objects=store, options=options_with(flush=0.05, retry_first=0.01, retry_cap=0.02))
    async with bench.writing() as outlet:
        outlet.offer([Burst("x", StreamType.BBO, [bbo(n) for n in range(10)])])
        await until(lambda: bench.state.writer.backlog_segments == 1)
        (path,) = (bench.spool / "packs").iterdir()
        happens(path)
        outlet.offer([Burst("x", StreamType.BBO, [bbo(n) for n in range(10, 15)])])
        await until(lambda: bench.state.writer.backlog_segments == 2)
        store.mend()
    assert (bench.identity.written, bench.identity.dropped, bench.identity.pending) == (5, 10, 0)
    assert bench.state.books.account("x", "bbo").dropped == {"damaged": 10}
    assert bench.stored().rows == 5
    shown = bench.state.writer
    assert (shown.sealed_segments, shown.backlog_segments, shown.backlog_bytes) == (0, 0, 0)
    assert [told["path"] for told in bench.log.told("spool_quarantine")] == [str(path)]
    assert len(list((bench.spool / "quarantine").iterdir())) == (happens is rot)


async def test_a_pack_that_the_disk_does_not_give_back_now_waits_for_the_next_start(tmp_path, monkeypatch):
    attempts = []

    def fails(path):
        attempts.append(path)
        raise OSError(5, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("quantlab_collector.writer.uploads.load_pack", fails)
        first = Bench(tmp_path)
        async with first.writing() as outlet:
            outlet.offer([Burst("x", StreamType.BBO, [bbo(n) for n in range(10)])])
    assert (first.identity.written, first.identity.pending) == (0, 10)
    (path,) = (first.spool / "packs").iterdir()
    assert attempts == [path] * parts.BAD_READS
    assert [told["path"] for told in first.log.told("spool_quarantine")] == [str(path)]
    assert load_pack(path).manifest.rows == 10
    second = Bench(tmp_path)
    async with second.writing():
        pass
    assert second.stored().rows == second.state.books.recovered == 10
