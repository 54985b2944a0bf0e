"""Whatever somebody has left in the spool: the writer starts, follows nothing, waits for nothing, deletes nothing, and records."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from quantlab_collector.contracts.events import Burst, StreamType
from quantlab_collector.storage.encoder import encode_segment
from quantlab_collector.storage.spool import Spool
from storage.samples import HEADER, bbo, bbo_batch, write_segment
from writer.workbench import Bench

PRECIOUS = "precious"


def file(path):
    path.write_text(PRECIOUS)


def empty(path):
    path.touch()


def folder(path):
    path.mkdir()
    (path / PRECIOUS).write_text(PRECIOUS)


def empty_folder(path):
    path.mkdir()


def link(path):
    path.symlink_to(path.parents[2] / "outside")


def dangling(path):
    path.symlink_to("/nowhere")


def loop(path):
    path.symlink_to(path.name)


def hard_link(path):
    os.link(path.parents[2] / "outside" / PRECIOUS, path)


def fifo(path):
    os.mkfifo(path)


def door(path):
    place = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{place}/{path.name}")  # a path of its own may be too long for a socket
    os.close(place)


def newer_journal(path):
    write_segment(path, [bbo_batch(range(3))])
    data = path.read_bytes()
    path.write_bytes(data[:7] + b"\x02" + data[8:])


def newer_pack(path):
    spool = Spool(path.parents[2] / "another spool")
    pack = encode_segment(spool, write_segment(spool.journal_path(HEADER.segment), [bbo_batch(range(3))]))
    path.write_bytes(pack.path.read_bytes()[:-1] + b"\x02")
    spool.close()


LEFT, ASIDE, DONE_WITH = "stays", "is put aside", "was ours, and nothing in it"
TABLE = {
    "notes.txt": (file, LEFT),
    "journal.old": (folder, LEFT),
    "pipe": (fifo, LEFT),
    "chain.json": (fifo, ASIDE),
    "chain.json.tmp": (folder, ASIDE),
    "owner": (link, LEFT),
    "journal/1000-000001.journal": (fifo, ASIDE),
    "journal/1000-000002.journal": (door, ASIDE),
    "journal/1000-000003.journal": (folder, ASIDE),
    "journal/1000-000004.journal": (link, ASIDE),
    "journal/1000-000005.journal": (dangling, ASIDE),
    "journal/1000-000006.journal": (loop, ASIDE),
    "journal/1000-000007.journal": (file, ASIDE),
    "journal/1000-000008.journal": (empty, DONE_WITH),
    "journal/1000-000009.journal": (newer_journal, LEFT),
    "journal/1000-000010.journal.tmp": (file, ASIDE),
    "journal/1000-000011.journal~": (file, ASIDE),
    "journal/.nfs00000000000000010000": (file, ASIDE),
    "journal/" + "n" * 255: (file, ASIDE),
    "journal/\udcff\udcfe.journal": (file, ASIDE),
    "journal/99999999999999999999-000001.journal": (file, ASIDE),
    "journal/hard": (hard_link, ASIDE),
    "packs/1000-000021.pack": (file, ASIDE),
    "packs/1000-000022.pack": (fifo, ASIDE),
    "packs/1000-000023.pack": (link, ASIDE),
    "packs/1000-000024.pack": (empty_folder, ASIDE),
    "packs/1000-000025.pack": (empty, ASIDE),
    "packs/1000-000026.pack": (door, ASIDE),
    "packs/1000-000027.pack": (newer_pack, LEFT),
    "packs/1000-000028.pack.tmp": (file, DONE_WITH),
    "packs/1000-000029.pack.tmp": (folder, ASIDE),
    "packs/1000-000030.pack.tmp": (fifo, ASIDE),
    "packs/1000-000031.parquet": (hard_link, ASIDE),
    "packs/photos": (folder, ASIDE),
    "quarantine/1-earlier": (file, LEFT),
}


@pytest.fixture
def spool(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / PRECIOUS).write_text(PRECIOUS)
    Spool(tmp_path / "spool").close()
    return tmp_path / "spool"


async def record(folder):
    bench = Bench(folder)
    async with bench.writing() as outlet:
        outlet.offer([Burst("x", StreamType.BBO, [bbo(n) for n in range(10)])])
    assert bench.identity.written == 10
    return bench


def what_is_it(path):
    status = os.lstat(path)
    return stat.S_IFMT(status.st_mode), status.st_ino, status.st_size


@pytest.mark.parametrize("name", TABLE)
async def test_one_stranger(name, spool, tmp_path):
    make, expected = TABLE[name]
    path = spool / name
    make(path)
    before = what_is_it(path)
    bench = await record(tmp_path)
    aside = [entry for entry in (spool / "quarantine").iterdir() if entry != path]
    if expected is LEFT:
        assert what_is_it(path) == before
        assert aside == []
    elif expected is ASIDE:
        (moved,) = aside
        assert what_is_it(moved) == before
        assert len(bench.log.told("spool_quarantine")) == 1
    else:
        assert not path.is_symlink()
        assert not path.exists()
        assert aside == []
    assert [entry.name for entry in (tmp_path / "outside").iterdir()] == [PRECIOUS]
    assert (tmp_path / "outside" / PRECIOUS).read_text() == PRECIOUS
    assert not bench.log.told("encode_failed")
    # The next start has nothing to say of it but what it has to leave where it is.
    again = await record(tmp_path)
    assert len(again.log.told("spool_quarantine")) == (expected is LEFT and make in (newer_journal, newer_pack))


async def test_all_of_them_at_once(spool, tmp_path):
    for name, (make, _) in TABLE.items():
        make(spool / name)
    bench = await record(tmp_path)
    told = bench.log.told("spool_quarantine")
    assert len(told) == sum(expected is ASIDE for _, expected in TABLE.values()) + 2
    assert len({line["path"] for line in told}) == len(told)
    assert not bench.log.told("recovery_failed")
    print(f"{len(TABLE)} kinds of strangers and leftovers, 0 followed, none of them deleted, 10 of 10 rows recorded")
