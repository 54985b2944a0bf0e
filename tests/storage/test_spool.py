"""The spool finds what was left, follows no links, deletes nothing that is not its own."""

import multiprocessing

import pytest

from quantlab_collector.contracts.layout import SegmentId
from quantlab_collector.contracts.manifest import Previous
from quantlab_collector.storage.encoder import encode_segment
from quantlab_collector.storage.spool import Spool, SpoolInUseError
from quantlab_collector.storage.waiting import Waiting
from storage.samples import HEADER, bbo_batch, write_segment


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def header(seq):
    return type(HEADER)("a", 1000, seq, HEADER.opened_ns, "0.1.0")


def test_leftovers_are_found_oldest_first(spool):
    encode_segment(spool, write_segment(spool.journal_path(SegmentId(1000, 1)), [bbo_batch(range(3))], header=header(1)))
    for seq in (11, 3, 2):
        write_segment(spool.journal_path(SegmentId(1000, seq)), [bbo_batch(range(3))], header=header(seq))
    left = spool.leftovers()
    assert [path.name for path in left.journals] == ["1000-000002.journal", "1000-000003.journal", "1000-000011.journal"]
    assert [path.name for path in left.packs] == ["1000-000001.pack"]
    assert (left.strangers, left.last_epoch_ms) == ((), 1000)


def test_a_journal_whose_parts_are_complete_is_not_encoded_again(spool):
    path = write_segment(spool.journal_path(SegmentId(1000, 1)), [bbo_batch(range(3))], header=header(1))
    copy = path.read_bytes()
    pack = encode_segment(spool, path)
    path.write_bytes(copy)  # as if the crash had come before the last step
    left = spool.leftovers()
    assert (left.journals, left.packs) == ((path,), ())
    before = pack.path.stat()
    assert encode_segment(spool, path) == pack
    assert pack.path.stat() == before
    assert not path.exists()


def test_unfinished_parts_are_thrown_away_and_made_again(spool):
    path = write_segment(spool.journal_path(SegmentId(1000, 1)), [bbo_batch(range(3))], header=header(1))
    spool.unfinished_path(SegmentId(1000, 1)).write_bytes(b"half")
    left = spool.leftovers()
    assert (left.journals, left.packs, list(spool.packs.iterdir())) == ((path,), (), [])


STRANGERS = {
    "journal/notes.txt": "file",
    "journal/1000-000001.journal~": "file",
    "journal/.hidden": "file",
    "journal/1000-000009.journal": "folder",
    "journal/1000-000008.journal": "link",
    "journal/1000-7.journal": "file",
    "journal/1000-000005.parquet": "file",
    "packs/photo": "folder",
    "packs/1000-000004": "file",
    "packs/1000-000003.pack": "empty folder",
    "packs/1000-000002.pack": "link",
    "packs/1000-000001.pack.tmp": "link",
}


@pytest.mark.parametrize(("name", "kind"), STRANGERS.items())
def test_strangers_are_put_aside_never_followed_never_deleted(spool, tmp_path, name, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "manifest.json").write_text("precious")
    path = spool.root / name
    if kind == "file":
        path.write_text("precious")
    elif kind == "link":
        path.symlink_to(outside)
    else:
        path.mkdir()
        if kind == "folder":
            (path / "precious").write_text("precious")
    left = spool.leftovers()
    assert [found for found, _ in left.strangers] == [path]
    assert (left.journals, left.packs) == ((), ())
    moved = spool.quarantine(path)
    assert moved.parent == spool.quarantined
    assert (outside / "manifest.json").read_text() == "precious"
    assert spool.leftovers().strangers == ()
    if kind == "file":
        assert moved.read_text() == "precious"


def test_the_chain_survives(spool):
    spool.follow("a", Previous("k1", "h1"))
    spool.follow("b", Previous("k2", "h2"))
    spool.follow("a", Previous("k3", "h3"))
    assert (spool.previous("a"), spool.previous("b"), spool.previous("c")) == (Previous("k3", "h3"), Previous("k2", "h2"), None)


def _try(folder, answers):
    try:
        Spool(folder)
        answers.put("open")
    except SpoolInUseError as error:
        answers.put(str(error))


def test_two_processes_cannot_share_a_spool(spool):
    answers = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(target=_try, args=(str(spool.root), answers))
    process.start()
    assert "another collector records into" in answers.get(timeout=30)
    process.join()
    spool.close()
    again = Spool(spool.root)
    again.close()
    spool._lock = again._lock = __import__("os").open("/dev/null", 0)


def test_usage_counts_journals_and_parts(spool):
    assert spool.usage() == 0
    path = write_segment(spool.journal_path(SegmentId(1000, 1)), [bbo_batch(range(3))], header=header(1))
    assert spool.usage() == path.stat().st_size
    pack = encode_segment(spool, path)
    assert spool.usage() == pack.path.stat().st_size


def test_folders_are_for_their_owner_only(spool):
    for folder in (spool.root, spool.journal, spool.packs, spool.quarantined):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_what_waits_is_counted_in_whatever_form_it_is(spool):
    assert Waiting.in_spool(spool) == Waiting(0, 0)
    for seq in (1, 2, 3):
        write_segment(spool.journal_path(SegmentId(1000, seq)), [bbo_batch(range(3))], header=header(seq))
    encode_segment(spool, spool.journal_path(SegmentId(1000, 1)))
    spool.unfinished_path(SegmentId(1000, 2)).touch()  # being encoded, when nobody had time to wait for it
    assert Waiting.in_spool(spool) == Waiting(3, spool.usage())
    assert spool.usage() > 0
