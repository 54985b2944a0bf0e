"""Files of raw frames, gathered in memory and waiting on the disk."""

from __future__ import annotations

import pytest

from quantlab_collector.contracts.events import Trade
from quantlab_collector.contracts.layout import DAY_NS, RawCompression, RawFile, SegmentId
from quantlab_collector.contracts.raw_frames import RawFrame, RawRead
from quantlab_collector.storage.raw_drafts import Drafts
from quantlab_collector.storage.raw_spool import RawSpool, SpoiledRawFileError
from quantlab_collector.storage.rawlog import decode_raw_manifest, encode_raw_manifest, read_archive
from storage.samples import T0


def raw_read(messages, ts_recv=T0, exchange="x", connection="c#1", trades=()):
    return RawRead(exchange, connection, ts_recv, messages, trades, 0)


def trade(symbol, number):
    return Trade(T0, T0, "x", symbol, 1.0, 1.0, 1, number)


def finished(draft, seq=7, dropped=0):
    return draft.finish("a", SegmentId(1000, seq), "0.1.0", RawCompression.GZIP, dropped)


@pytest.fixture
def folder(tmp_path):
    return RawSpool(tmp_path, 0)


@pytest.fixture
def draft():
    drafts = Drafts(10_000, 5.0)
    drafts.add(raw_read([b"one", b"two"], trades=[trade("A", "1"), trade("B", "7"), trade("A", "2")]), 0.0)
    drafts.add(raw_read([b"\xff"], T0 + 9, connection="d#2", trades=[trade("A", "3")]), 1.0)
    drafts.age(5.0)
    (full,) = drafts.full
    return full


def test_what_a_manifest_says(draft):
    manifest, data = finished(draft, dropped=3)
    assert decode_raw_manifest(encode_raw_manifest(manifest)) == manifest
    assert manifest.key == "_raw/exchange=x/date=20260101/part-a-1000-000007.jsonl.gz"
    assert (manifest.frames, manifest.dropped, manifest.connections) == (3, 3, {"c#1": 2, "d#2": 1})
    assert (manifest.ts_recv, manifest.trade_id) == ((T0, T0 + 9), {"A": ("1", "3"), "B": ("7", "7")})
    assert (manifest.bytes, manifest.compression, manifest.exchange) == (len(data), "gzip", "x")
    frames = [RawFrame(T0, "c#1", b"one"), RawFrame(T0, "c#1", b"two"), RawFrame(T0 + 9, "d#2", b"\xff")]
    assert list(read_archive(data)) == frames


@pytest.mark.parametrize("text", [b"{}", b"", b"[]"])
def test_what_is_no_manifest(text):
    with pytest.raises(ValueError):
        decode_raw_manifest(text)


def test_a_manifest_of_a_later_version_is_not_guessed_at(draft):
    manifest, _ = finished(draft)
    with pytest.raises(ValueError, match="raw manifest version 2"):
        decode_raw_manifest(encode_raw_manifest(manifest).replace(b'"version": 1', b'"version": 2'))


def test_a_draft_is_full_when_it_is_large_enough():
    drafts = Drafts(1_000, 5.0)
    while not drafts.full:
        before = sum(draft.size for draft in drafts._open.values())
        drafts.add(raw_read([b"x" * 100]), 0.0)
        assert before < 1_000
    assert [draft.size >= 1_000 for draft in drafts.full] == [True]
    assert drafts.due == float("inf")


def test_or_old_enough_each_exchange_by_itself():
    drafts = Drafts(10**6, 5.0)
    drafts.add(raw_read([b"1"], exchange="x"), 100.0)
    drafts.add(raw_read([b"2"], exchange="y"), 102.0)
    drafts.add(raw_read([b"3"], exchange="x"), 104.9)
    assert drafts.due == 105.0
    drafts.age(104.9)
    assert drafts.full == []
    drafts.age(105.0)
    assert [(draft.exchange, draft.frames) for draft in drafts.full] == [("x", 2)]
    assert drafts.due == 107.0


def test_a_file_has_the_frames_of_one_day():
    drafts = Drafts(10**6, 5.0)
    drafts.add(raw_read([b"1"], T0 + DAY_NS - 1), 0.0)
    drafts.add(raw_read([b"2"], T0 + DAY_NS), 0.0)
    drafts.age(float("inf"))
    keys = [finished(draft, seq)[0].key for seq, draft in enumerate(drafts.full)]
    assert [RawFile.parse(key)[0].date for key in keys] == ["20260101", "20260102"]


def test_a_file_waits_and_is_what_it_was(folder, draft):
    manifest, data = finished(draft)
    file = folder.store(SegmentId(1000, 7), manifest, data)
    assert folder.load(file.path) == (manifest, data)
    assert folder.waiting() == [file]
    assert file.size == file.path.stat().st_size
    folder.forget(file.path)
    assert folder.waiting() == []


def test_a_spoiled_file_is_never_given_out(folder, draft):
    """Wherever it was cut, whichever bit is another."""
    file = folder.store(SegmentId(1000, 7), *finished(draft))
    content = file.path.read_bytes()
    for place in range(0, len(content), 7):
        for spoiled in (content[:place], content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]):
            file.path.write_bytes(spoiled)
            with pytest.raises(SpoiledRawFileError, match="not what its checksum says"):
                folder.load(file.path)


def test_a_file_that_could_not_be_synced_does_not_turn_up_later(folder, draft, tmp_path, monkeypatch):
    """Its frames were counted as dropped."""

    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("quantlab_collector.storage.files.sync_dir", fail)
    with pytest.raises(OSError, match="Input/output error"):
        folder.store(SegmentId(1000, 7), *finished(draft))
    assert list(tmp_path.iterdir()) == []


def test_no_two_processes_get_one_epoch_whatever_the_clock_says(folder, draft, tmp_path):
    assert [folder.begin(now) for now in (5000, 5000, 4000, 9000)] == [5000, 5001, 5002, 9000]
    folder.store(SegmentId(20_000, 0), *finished(draft))
    assert folder.begin(9000) == 20_001
    (tmp_path / "epoch").write_bytes(b"")  # as some disks leave a file after a power cut
    assert folder.begin(9000) == 20_001


def test_ours_is_thrown_away_when_it_is_unfinished_and_the_rest_is_named(folder, draft, tmp_path):
    file = folder.store(SegmentId(1000, 7), *finished(draft))
    folder.begin(2000)
    (tmp_path / "1000-000008.raw.tmp").write_bytes(b"half")
    (tmp_path / "epoch.tmp").write_bytes(b"1")
    (tmp_path / "notes.txt").write_bytes(b"")
    (tmp_path / "1000-000009.raw").mkdir()
    (tmp_path / "1000-000010.raw").symlink_to(file.path)
    (tmp_path / "1000-000011.raw.tmp").symlink_to(tmp_path / "elsewhere")
    assert [path.name for path in folder.tidy()] == ["1000-000009.raw", "1000-000010.raw", "1000-000011.raw.tmp", "notes.txt"]
    assert folder.waiting() == [file]
    assert not (tmp_path / "1000-000008.raw.tmp").exists()
