"""The power goes at any moment: whatever the disk has kept, a restart goes on by itself, and every promise has been kept.

A writer records, seals, encodes and ships onto a disk that remembers every operation, and every promise that was made: rows are in
the journal, a segment is sealed, a segment is in the store. Then thousands of states are drawn in which a power cut may have left that disk; each is
laid out, looked at as it is, and restarted. Some lose their power again during the restart.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trio

from quantlab_collector.contracts.events import Burst, StreamType
from quantlab_collector.contracts.layout import manifest_key
from quantlab_collector.contracts.manifest import Previous, decode_manifest, encode_manifest
from quantlab_collector.storage import encoder, files, pack
from quantlab_collector.storage.encoder import encode_segment
from quantlab_collector.storage.journal import JournalError, SegmentWriter, UnbegunJournalError
from quantlab_collector.storage.objects import KeyTakenError, LocalObjects
from quantlab_collector.storage.objects.unsynced import UnsyncedFolders
from quantlab_collector.storage.pack import PackError, load_pack
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer import recovery, segments
from quantlab_collector.writer.recovery import recover
from storage.disk import RecordingOs, after_power_cut, lay_out, promised
from storage.samples import bbo, trade
from writer.workbench import Bench, Log, options_with, until

pytestmark = pytest.mark.long

STATES = int(os.environ.get("QUANTLAB_TEST_POWER_STATES", "3000"))
ENOUGH = 1
"""So many violations show that a mutant is found."""
RECORDINGS = 5
"""In so many recordings it is looked for."""
AGAIN = 0.2
"""So many of the restarts lose their power, too."""
FAILING_SYNCS = (4, 9, 10, 11)
"""Segments that a disk error ends: one alone, and three in a row."""
KEPT, SEALED, COMMITTED = "kept", "sealed", "committed"


# ----------------------------------------------------------------------------------------------------------- recording


class MarkingLog(Log):
    """Notes on the disk's record which segments were said to be in the store."""

    def __init__(self, disk):
        super().__init__()
        self.disk = disk

    def log(self, level, event, **fields):
        super().log(level, event, **fields)
        if event == "segment_committed":
            self.disk.mark((COMMITTED, fields["segment"]))


def offered():
    for n in range(0, 300, 10):
        yield Burst("x", StreamType.BBO, [bbo(k) for k in range(n, n + 10)])
        if n % 3 == 0:
            yield Burst("x", StreamType.TRADE, [trade(n)])


def record(folder, objects=LocalObjects):
    """A writer's whole life; what was done to the disk meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        folder.mkdir()
        disk = RecordingOs(folder, FAILING_SYNCS)
        patch.setattr(files, "os", disk)
        patch.setattr(segments, "PATIENCE", 0.001)
        append, seal = SegmentWriter.append, SegmentWriter.seal

        def append_and_mark(writer, batches, account):
            merged = append(writer, batches, account)
            disk.mark((KEPT, Counter(key for batch in batches for key in keys_of(pa.table(batch)))))
            return merged

        def seal_and_mark(writer, account, sealed_ns):
            seal(writer, account, sealed_ns)
            disk.mark((SEALED, str(writer.header.segment)))

        patch.setattr(SegmentWriter, "append", append_and_mark)
        patch.setattr(SegmentWriter, "seal", seal_and_mark)
        trio.run(_record, folder, disk, objects)
    return disk


async def _record(folder, disk, objects):
    bench = Bench(folder, options=options_with(interval=0.001, flush_bytes=14_000), objects=objects(folder / "data"))
    bench.log = bench.notices._log = MarkingLog(disk)
    async with bench.writing() as outlet:
        for burst in offered():
            outlet.offer([burst])
            await until(lambda: bench.identity.pending == 0 or bench.state.books.account("x", "bbo").buffered == 0)
            await until(lambda: bench.state.books.queued == 0)
    assert bench.identity.written == sum(len(burst.events) for burst in offered())
    disk.errors = len(bench.log.told("recording_hindered"))
    disk.committed = len(bench.log.told("segment_committed"))


def keys_of(table):
    """What tells a row from all others."""
    stream = "trade" if "trade_id" in table.column_names else "bbo"
    return [(stream, at) for at in table["ts_recv"].to_pylist()]


OFFERED = {(str(burst.stream), event.ts_recv): event for burst in offered() for event in burst.events}


@cache
def rows_in(data):
    """Of a part: what tells its rows apart, having looked whether they are what was offered."""
    table = pq.read_table(pa.BufferReader(data), partitioning=None)
    keys = keys_of(table)
    for key, row in zip(keys, table.to_pylist(), strict=True):
        event = OFFERED[key]
        assert all(row[name] == getattr(event, name) for name in event.__struct_fields__), "a foreign row"
    return tuple(keys)


# ---------------------------------------------------------------------------------------------------------- restarting


def restart(folder, wrong):
    """What a start does, without the threads; as the writer does it."""
    spool, objects = Spool(folder / "spool"), LocalObjects(folder / "data")
    try:
        found = recover(spool)
        wrong += [f"{notice}" for notice in found.notices]
        for shipment in found.shipments:
            ship(spool, objects, load_pack(shipment.path), wrong)
        for filled in found.filled:
            try:
                pack = encode_segment(spool, filled.path, filled.upto)
            except UnbegunJournalError:
                files.remove_synced(filled.path)
                continue
            except JournalError:
                spool.quarantine(filled.path)  # if there was anything in it, that will be missed
                continue
            if pack is not None:
                ship(spool, objects, pack, wrong)
    finally:
        spool.close()


def ship(spool, objects, pack, wrong):
    manifest = pack.manifest
    key = manifest_key(manifest.instance, pack.segment, manifest.opened)
    try:
        data = objects.get(key)
    except FileNotFoundError:
        for part, place in zip(manifest.parts, pack.places, strict=False):
            objects.put(part.key, pack.read_part(part, place))
        objects.settle()
        data = encode_manifest(msgspec.structs.replace(manifest, previous=spool.previous(manifest.instance)))
        try:
            objects.put_new(key, data)
        except KeyTakenError:
            wrong.append(f"{key} appeared")
    else:
        if msgspec.structs.replace(decode_manifest(data), previous=None) != manifest:
            wrong.append(f"{key} is another one")
    objects.settle()
    spool.follow(manifest.instance, Previous.of(key, data))
    files.remove(pack.path)


# ------------------------------------------------------------------------------------------------------------- judging


def look_at(folder, promises):
    """What is wrong with a disk as the power cut left it, before anything is done about it."""
    wrong = []
    data = folder / "data"
    there = {path.stem for path in data.glob("_manifests/**/*.json")}
    wrong += [f"store: {segment} is missing" for kind, segment in promises if kind == COMMITTED and segment not in there]
    for path in data.glob("_manifests/**/*.json"):
        wrong += torn(path, lambda part: data / part.key)
    for path in folder.glob("spool/packs/*.pack"):
        try:
            pack = load_pack(path)
            for part, place in zip(pack.manifest.parts, pack.places, strict=False):
                rows_in(pack.read_part(part, place))
        except PackError as fault:
            wrong.append(f"spool: {path.name}: {fault}")
    for path in data.rglob("*.parquet"):
        try:
            rows_in(path.read_bytes())
        except (pa.ArrowException, OSError, AssertionError) as fault:
            wrong.append(f"store: {path.name}: {fault}")
    return wrong


def torn(manifest, where):
    """What a manifest under its final name says and is not so."""
    try:
        parts = decode_manifest(manifest.read_bytes()).parts
    except msgspec.MsgspecError:
        return [f"{manifest.name} is torn"]
    wrong = []
    for part in parts:
        path = where(part)
        if not path.exists():
            wrong.append(f"{manifest.name}: {path.name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != part.sha256:
            wrong.append(f"{manifest.name}: {path.name} is torn")
    return wrong


def look_at_end(folder, promises):
    """What is wrong after a restart."""
    manifests = {path: path.read_bytes() for path in sorted((folder / "data").glob("_manifests/**/*.json"))}
    rows, wrong, before, complete = Counter(), [], None, set()
    for path, data in manifests.items():
        wrong += torn(path, lambda part: folder / "data" / part.key)
        manifest = decode_manifest(data)
        if manifest.previous not in (before, None):
            wrong.append(f"{path.name} does not follow the one before it")
        complete |= {manifest.segment} if manifest.complete else set()
        before = Previous.of(str(path.relative_to(folder / "data")), data)
        for part in manifest.parts:
            rows.update(rows_in((folder / "data" / part.key).read_bytes()))
    kept = {key for kind, keys in promises if kind == KEPT for key in keys}
    sealed = {segment for kind, segment in promises if kind == SEALED}
    wrong += [f"{segment} was sealed in peace and is not" for segment in sorted(sealed - complete)[:1]]
    wrong += [f"{key} was kept and is lost" for key in sorted(kept - rows.keys())[:1]]
    wrong += [f"{key} is there {count} times" for key, count in rows.items() if count > 1][:1]
    wrong += [
        f"left in the spool: {path.name}" for place in ("journal", "packs") for path in (folder / "spool" / place).iterdir()
    ]
    return wrong


def judge(disk, folder, chance, seen, *, again=AGAIN):
    """Draw a state, restart, and say what is wrong. A state that was seen before needs no second look."""
    upto = chance.randrange(len(disk.operations) + 1)
    promises = promised(disk, upto)
    tree = after_power_cut(disk, upto, chance)
    look = (repr(tree), len(promises))
    if look in seen and chance.random() >= again:
        return []
    seen.add(look)
    lay_out(tree, folder)
    try:
        wrong = look_at(folder, promises)
        with pytest.MonkeyPatch.context() as patch:
            second = RecordingOs(folder)
            patch.setattr(files, "os", second)
            try:
                restart(folder, wrong)
            except (OSError, ValueError, AssertionError, PackError, pa.ArrowException) as fault:
                wrong.append(f"the restart failed: {fault!r}")
        wrong += [] if wrong else look_at_end(folder, promises)
    finally:
        shutil.rmtree(folder)
    if not wrong and chance.random() < again:
        # The promises of before the first cut hold through the second.
        for promise in promises:
            second.operations.insert(0, second.mark(promise) or second.operations.pop())
        return judge(second, folder, chance, seen, again=again / 2)
    return wrong


def violations(disk, folder, states, *, enough=None, seed=20261120):
    """What went wrong, each time it did; after how many power cuts; how many states were different."""
    chance, seen, found, cuts = random.Random(seed), set(), [], 0
    while cuts < states and len(found) != enough:
        cuts += 1
        if wrong := judge(disk, folder, chance, seen):
            found.append(wrong)
    return found, cuts, len(seen)


@pytest.fixture
def place(tmp_path):
    """Where states are laid out: in memory where that is possible, for there are many."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_every_promise_survives_a_power_cut(place):
    disk = record(place / "disk")
    assert disk.errors == 2
    assert disk.committed > 5
    found, _, different = violations(disk, place / "state", STATES)
    assert found == []
    assert different > min(STATES // 4, 1000)
    print(f"{STATES} power cuts within {len(disk.operations)} operations, {different} different states, 0 violations")


# ------------------------------------------------------------------------------------------------- the test of the test


def _nothing(*_):
    pass


class Unsettled(LocalObjects):
    """Never syncs the names of what it stored."""

    def settle(self):
        pass


class InPlace(LocalObjects):
    """Writes where the object belongs, without a detour."""

    def put(self, key, data):
        path = self.root / key
        files.make_dirs(path.parent)
        files.remove(path, missing_ok=True)
        files.write_synced(path, data)
        self._unsynced.add(str(path))


class ManifestFirst(LocalObjects):
    """Stores a segment's parts after its manifest."""

    def __init__(self, root):
        super().__init__(root)
        self.held = {}

    def put(self, key, data):
        if key.startswith("exchange="):
            self.held[key] = data
            return
        super().put(key, data)
        self._let_go()

    def put_new(self, key, data):
        super().put_new(key, data)
        if key.startswith("_manifests"):
            self._let_go()

    def _let_go(self):
        while self.held:
            super().put(*self.held.popitem())


def _unsynced_write(path, data):
    fd = files.create(path)
    files.write_all(fd, data)
    files.close(fd)


def _unsynced_finish(writer, manifest, path, finish=pack.PackWriter.finish):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack.files, "sync", _nothing)
        return finish(writer, manifest, path)


def _sync_twice(fd, sync_data=files.sync_data):
    try:
        sync_data(fd)
    except OSError:
        sync_data(fd)


def _read_and_remove(journal, upto=None, read_segment=encoder.read_segment):
    segment = read_segment(journal, upto)
    files.remove_synced(journal)
    return segment


MUTANTS = {
    "the journal is not synced": [(files, "sync_data", _nothing)],
    "the end of a segment is not synced": [(files, "sync", _nothing)],
    "objects are not synced": [(files, "write_synced", _unsynced_write)],
    "packs are not synced": [(pack.PackWriter, "finish", _unsynced_finish)],
    "folders are not synced": [(files, "sync_dir", _nothing)],
    "a failed sync is tried again and believed": [(files, "sync_data", _sync_twice)],
    "how much of an abandoned segment counts is not looked at": [(recovery, "abandoned_by", _nothing)],
    "the journal is removed before its parts are there": [(encoder, "read_segment", _read_and_remove)],
    "the journal is removed, and may come back": [(files, "remove_synced", lambda path: files.remove(path, missing_ok=True))],
    "the store does not sync its folders": Unsettled,
    "the store does not sync what is around a new folder": [(UnsyncedFolders, "_all_around", lambda *_: [])],
    "the store writes in place": InPlace,
    "the manifest is stored before the parts": ManifestFirst,
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_the_test_finds_what_is_wrong(mutant, place):
    changes, objects = (mutant, LocalObjects) if isinstance(mutant, list) else ([], mutant)
    found = []
    # Threads make every recording another one, and now and then one in which the mistake would have been of no consequence.
    for attempt in range(RECORDINGS):
        with pytest.MonkeyPatch.context() as patch:
            for module, name, function in changes:
                patch.setattr(module, name, function)
            disk = record(place / f"disk-{attempt}", objects)
            # The restart works as it should, but for what only a restart does.
            if not any(module is recovery for module, _, _ in changes):
                patch.undo()
            found, cuts, _ = violations(disk, place / f"state-{attempt}", 5_000, enough=ENOUGH)
        if found:
            print(f"a violation in {cuts} power cuts of recording {attempt + 1}, such as: {found[0][0]}")
            break
    assert len(found) == ENOUGH
