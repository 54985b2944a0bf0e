"""The archive of raw frames, from the tap to the store, with real threads and a real folder."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from quantlab_collector.contracts.layout import RawCompression
from quantlab_collector.contracts.units import Bytes, Seconds
from quantlab_collector.intake.raw_tap import RawTap, open_raw_queue
from quantlab_collector.runtime.notices import Notices
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.storage.objects import FaultKind, LocalObjects, StoreFault
from quantlab_collector.storage.raw_recording import find_raw, summarise_raw, verify_raw
from quantlab_collector.storage.rawlog import read_archive
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer.raw_archive import run_raw_archive
from quantlab_collector.writer.raw_options import RawArchiveOptions
from quantlab_collector.writer.raw_shipping import TRIES
from storage.samples import T0
from writer.workbench import Log, until

SMALL = RawArchiveOptions(enabled=True, rotate_bytes=Bytes(2_000), rotate_after=Seconds(3600.0))


class FlakyStore(LocalObjects):
    """A folder that refuses what a test wants it to refuse."""

    def __init__(self, root):
        super().__init__(root)
        self.refuses = lambda key: False
        self.kind = FaultKind.TRANSIENT
        self.asked = Counter()
        self.renewed = 0

    def put(self, key, data):
        self.asked[key] += 1
        if self.refuses(key):
            raise StoreFault("503 Slow down", self.kind)
        super().put(key, data)

    def renew(self):
        self.renewed += 1


class Archive:
    def __init__(self, folder, *, options=SMALL, objects=None, state=None):
        self.folder = folder
        self.options = options
        self.state = state or ServiceState("a", "0.1.0", 0, 0.0, 100)
        self.log = Log()
        self.notices = Notices(self.state, self.log)
        self.objects = objects or FlakyStore(folder / "data")
        self.raw = self.state.raw_archive
        self.keep_free = 0

    @asynccontextmanager
    async def running(self, *, capacity=2**30, drain_within=10.0, moves=None):
        """The tap; when it is left, the archive drains. With ``moves``, an event, it stands still until that is set."""
        spool = Spool(self.folder / "spool")
        send, receive = open_raw_queue()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run, receive, spool, drain_within, moves)
                with RawTap(send, self.notices, capacity) as tap:
                    yield tap
        finally:
            spool.close()

    async def _run(self, receive, spool, drain_within, moves):
        if moves is not None:
            await moves.wait()
        await run_raw_archive(
            receive,
            spool=spool,
            objects=self.objects,
            notices=self.notices,
            options=self.options,
            drain_within=drain_within,
            keep_free=self.keep_free,
            first_wait=0.001,
        )

    def stored(self):
        """The frames in the store, by exchange, in order; everything must be what its manifest says."""
        found, problems = find_raw(self.objects)
        assert problems == verify_raw(self.objects, found) == []
        frames = {}
        for file, manifest in sorted(found.manifests, key=lambda entry: entry[0].segment):
            frames.setdefault(file.exchange, []).extend(read_archive(self.objects.get(manifest.key)))
        holdings = summarise_raw(found)
        assert {held.exchange: held.frames for held in holdings} == {name: len(of) for name, of in frames.items()}
        return {name: [frame.data for frame in of] for name, of in frames.items()}

    def waiting(self):
        return sorted(path.name for path in (self.folder / "spool/raw").glob("*.raw*"))


def offer(tap, numbers, exchange="x"):
    numbers = list(numbers)
    tap.offer(exchange, "c#1", T0 + numbers[0], [b"frame %d" % n for n in numbers], [])


def frames(numbers):
    return [b"frame %d" % n for n in numbers]


def account(archive, exchange="x"):
    return attrs.astuple(archive.raw.account(exchange))


@pytest.mark.parametrize("compression", RawCompression)
async def test_everything_that_was_offered_is_stored_when_the_tap_is_closed(tmp_path, compression):
    archive = Archive(tmp_path, options=attrs.evolve(SMALL, compression=compression))
    async with archive.running() as tap:
        for n in range(0, 1000, 10):
            offer(tap, range(n, n + 10))
            offer(tap, [n], "y")
            await trio.lowlevel.checkpoint()
    assert archive.stored() == {"x": frames(range(1000)), "y": frames(range(0, 1000, 10))}
    assert (account(archive), account(archive, "y")) == ((1000, 1000, 0), (100, 100, 0))
    assert archive.raw.files > 10
    assert (archive.raw.kept_files, archive.raw.kept_bytes, archive.raw.queued_bytes, archive.waiting()) == (0, 0, 0, [])


async def test_a_file_is_made_by_age_without_new_frames(tmp_path):
    archive = Archive(tmp_path, options=attrs.evolve(SMALL, rotate_bytes=Bytes(2**20), rotate_after=Seconds(0.05)))
    async with archive.running() as tap:
        offer(tap, range(3))
        await until(lambda: archive.raw.files == 1)
        assert archive.stored() == {"x": frames(range(3))}


async def test_what_does_not_fit_is_dropped_and_counted(tmp_path):
    archive, moves = Archive(tmp_path), trio.Event()
    async with archive.running(capacity=20_000, moves=moves) as tap:
        for n in range(0, 1000, 10):
            offer(tap, range(n, n + 10), "x" if n % 20 else "y")
            assert archive.raw.queued_bytes <= 20_000
        moves.set()
        await until(lambda: archive.raw.queued_bytes == 0)
        offer(tap, range(1000, 1010), "x")
    stored = archive.stored()
    for exchange, offered in (("x", 510), ("y", 500)):
        received, archived, dropped = account(archive, exchange)
        assert received == offered == archived + dropped
        assert archived == len(stored[exchange])
        assert dropped > 0
    assert stored["x"][-10:] == frames(range(1000, 1010))
    found, _ = find_raw(archive.objects)
    assert {h.exchange: h.dropped for h in summarise_raw(found)} == {name: account(archive, name)[2] for name in ("x", "y")}


async def test_a_flood_of_drops_is_told_once_a_second_and_counted_always(tmp_path):
    archive = Archive(tmp_path)
    async with archive.running(capacity=1) as tap:
        for n in range(100):
            offer(tap, [n])
    assert account(archive) == (100, 0, 100)
    assert archive.log.told("raw_frames_dropped")[0] == {"exchange": "x", "reason": "queue_full", "dropped": 1}
    assert len(archive.log.told("raw_frames_dropped")) < 10


async def test_the_bound_is_one_on_the_number_of_frames_too(tmp_path):
    archive, moves = Archive(tmp_path), trio.Event()
    async with archive.running(capacity=100_000, moves=moves) as tap:
        for _ in range(10_000):
            tap.offer("x", "c#1", T0, [b""], [])
        assert account(archive)[2] > 9_000
        moves.set()


async def test_three_tries_then_it_stays_until_another_got_through(tmp_path):
    archive = Archive(tmp_path)
    archive.objects.refuses = lambda key: True
    async with archive.running() as tap:
        offer(tap, range(100))
        await until(lambda: archive.raw.upload_failures == TRIES)
        assert set(archive.objects.asked.values()) == {TRIES}
        assert archive.raw.fault == "503 Slow down"
        assert len(archive.waiting()) == archive.raw.kept_files == 1
        failed = archive.log.told("raw_upload_failed")[0]
        assert failed["fault"] == "503 Slow down"
        archive.objects.refuses = lambda key: False
        offer(tap, range(100, 200))
        await until(lambda: archive.raw.files == 2)
        assert (archive.raw.fault, archive.raw.kept_files, archive.waiting()) == (None, 0, [])
    assert archive.stored() == {"x": frames(range(200))}


async def test_what_is_in_the_spool_at_the_end_is_shipped_at_the_next_start(tmp_path):
    before = Archive(tmp_path)
    before.objects.refuses = lambda key: not key.endswith(".json")
    async with before.running() as tap:
        offer(tap, range(100))
        offer(tap, range(100, 200), "y")
    assert before.stored() == {}
    assert before.log.told("raw_files_kept") == [{"files": 2, "bytes": before.raw.kept_bytes}]
    assert before.raw.kept_bytes == sum(path.stat().st_size for path in (tmp_path / "spool/raw").glob("*.raw"))
    after = Archive(tmp_path)
    async with after.running():
        await until(lambda: after.raw.files == 2)
    assert after.stored() == {"x": frames(range(100)), "y": frames(range(100, 200))}
    assert (after.raw.kept_files, after.raw.kept_bytes, after.waiting()) == (0, 0, [])


async def test_a_manifest_that_fails_leaves_both_to_be_done_again(tmp_path):
    archive = Archive(tmp_path)
    archive.objects.refuses = lambda key: key.endswith(".json") and archive.objects.asked[key] < TRIES
    async with archive.running() as tap:
        offer(tap, range(100))
    assert archive.stored() == {"x": frames(range(100))}
    assert sorted(archive.objects.asked.values()) == [TRIES, TRIES]


async def test_credentials_are_read_again_when_they_are_refused(tmp_path):
    archive = Archive(tmp_path)
    archive.objects.kind = FaultKind.AUTH
    archive.objects.refuses = lambda key: not archive.objects.renewed
    async with archive.running() as tap:
        offer(tap, range(100))
    assert archive.stored() == {"x": frames(range(100))}
    assert archive.objects.renewed == 1


async def test_a_store_that_never_answers_stalls_nothing_and_is_not_waited_for(tmp_path):
    archive, answers = Archive(tmp_path), threading.Event()

    def never(key):
        answers.wait(30)
        return True

    archive.objects.refuses = never
    async with archive.running(drain_within=0.05) as tap:
        for n in range(0, 2000, 100):
            offer(tap, range(n, n + 100))
        await until(lambda: archive.raw.account("x").archived == 2000)
    answers.set()
    assert archive.raw.files == 0
    assert len(archive.waiting()) == archive.raw.kept_files == 20
    after = Archive(tmp_path)
    async with after.running():
        pass
    assert after.stored() == {"x": frames(range(2000))}


async def test_a_full_spool_drops_until_there_is_room(tmp_path):
    archive = Archive(tmp_path, options=attrs.evolve(SMALL, max_bytes=Bytes(2_500)))
    archive.objects.refuses = lambda key: True
    async with archive.running() as tap:
        for n in range(0, 2000, 100):
            offer(tap, range(n, n + 100))
        await until(lambda: account(archive)[1] + account(archive)[2] == 2000)
        kept = account(archive)[1]
        assert 0 < kept < 2000
        assert archive.raw.kept_bytes < 2_500 + 1_500
        assert archive.log.told("raw_frames_dropped")[0] == {"exchange": "x", "reason": "spool_full", "dropped": 100}
    archive.objects.refuses = lambda key: False
    after = Archive(tmp_path, options=archive.options, objects=archive.objects)
    async with after.running() as tap:
        await until(lambda: after.raw.files == archive.raw.kept_files)
        offer(tap, range(2000, 2100))
    assert after.stored() == {"x": frames([*range(kept), *range(2000, 2100)])}


async def test_the_recording_keeps_its_room_on_the_disk(tmp_path):
    archive = Archive(tmp_path)
    archive.keep_free = 2**62
    async with archive.running() as tap:
        offer(tap, range(100))
    assert account(archive) == (100, 0, 100)
    assert archive.log.told("raw_frames_dropped") == [{"exchange": "x", "reason": "disk_full", "dropped": 100}]
    assert "are kept for the recording" in archive.log.told("raw_disk_failed")[0]["fault"]
    assert archive.stored() == {}


async def test_a_disk_that_fails_costs_frames_and_is_tried_again(tmp_path, monkeypatch):
    archive, broken = Archive(tmp_path), threading.Event()
    from quantlab_collector.storage import files

    write = files.write_synced

    def write_or_fail(path, data):
        if broken.is_set() and "/raw/" in str(path):
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(files, "write_synced", write_or_fail)
    broken.set()
    async with archive.running() as tap:  # the start itself fails: no epoch can be noted
        offer(tap, range(100))
        await until(lambda: account(archive) == (100, 0, 100))
        assert archive.log.told("raw_disk_failed")[0] == {"fault": "[Errno 28] No space left on device"}
        broken.clear()
        offer(tap, range(100, 200))
        await until(lambda: archive.raw.files == 1)
        broken.set()
        offer(tap, range(200, 300))
        await until(lambda: account(archive) == (300, 100, 200))
        broken.clear()
        offer(tap, range(300, 400))
    assert archive.stored() == {"x": frames([*range(100, 200), *range(300, 400)])}
    found, _ = find_raw(archive.objects)
    assert [manifest.dropped for _, manifest in found.manifests] == [100, 100]


async def test_what_is_spoiled_or_strange_is_put_aside(tmp_path):
    before = Archive(tmp_path)
    before.objects.refuses = lambda key: True
    async with before.running() as tap:
        offer(tap, range(100))
        offer(tap, range(100, 200))
    torn = tmp_path / "spool/raw" / before.waiting()[0]
    torn.write_bytes(torn.read_bytes()[:-1])
    (tmp_path / "spool/raw/notes.txt").write_text("mine")
    after = Archive(tmp_path)
    async with after.running():
        pass
    assert after.stored() == {"x": frames(range(100, 200))}
    aside = sorted(path.name.partition("-")[2] for path in (tmp_path / "spool/quarantine").iterdir())
    assert aside == sorted([torn.name, "notes.txt"])
    assert sorted(told["reason"] for told in after.log.told("spool_quarantine")) == [
        "it is not what its checksum says",
        "not a file of raw frames",
    ]
    assert (after.raw.kept_files, after.raw.kept_bytes) == (0, 0)


async def test_a_file_that_somebody_took_away_is_told_and_forgotten(tmp_path):
    archive = Archive(tmp_path)

    def take_away(key):
        for path in (tmp_path / "spool/raw").glob("*.raw"):
            path.unlink()
        return True

    archive.objects.refuses = take_away
    async with archive.running() as tap:
        offer(tap, range(100))
        await until(lambda: archive.raw.kept_files == 0)
    assert archive.log.told("raw_disk_failed")[0]["fault"].endswith(".raw is gone")


async def test_when_there_is_no_time_the_frames_are_on_the_disk(tmp_path):
    archive = Archive(tmp_path, options=attrs.evolve(SMALL, rotate_bytes=Bytes(2**20)))
    with trio.CancelScope() as scope:
        async with archive.running() as tap:
            offer(tap, range(50))
            await trio.testing.wait_all_tasks_blocked()
            offer(tap, range(50, 100))
            scope.cancel()
    assert scope.cancelled_caught
    assert account(archive) == (100, 100, 0)
    after = Archive(tmp_path)
    async with after.running():
        pass
    assert after.stored() == {"x": frames(range(100))}
