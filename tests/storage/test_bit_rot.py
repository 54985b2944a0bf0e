"""A bit falls over in what waits on the local disk: it is noticed, each time, and no row is ever another one than it was."""

from __future__ import annotations

import os
import random

import pytest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import Previous
from quantlab_collector.storage import files
from quantlab_collector.storage.encoder import encode_segment
from quantlab_collector.storage.journal import JournalError
from quantlab_collector.storage.journal_reading import read_segment
from quantlab_collector.storage.pack import PackError, SpoiledPartError, load_pack
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer.recovery import recover
from storage.samples import HEADER, batch, bbo_batch, trade, write_segment

FLIPS = int(os.environ.get("QUANTLAB_TEST_BIT_FLIPS", "2000"))
BATCHES = [bbo_batch(range(40)), batch(StreamType.TRADE, [trade(n) for n in range(30)]), bbo_batch(range(40, 75), "ETHUSDT")]


def flips(data, seed, count=FLIPS):
    """Copies of the data with one bit the other way round: where, and the copy."""
    chance = random.Random(seed)
    for _ in range(count):
        at, bit = chance.randrange(len(data)), chance.randrange(8)
        yield at, data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def test_in_a_journal(tmp_path, monkeypatch):
    path = write_segment(tmp_path / "a.journal", BATCHES, sealed=True)
    whole = path.read_bytes()
    refused = declared = 0
    for at, spoiled in flips(whole, seed=1):
        monkeypatch.setattr(files, "read_at", lambda _, place, length, spoiled=spoiled: spoiled[place : place + length])
        try:
            segment = read_segment(path)
        except JournalError:
            refused += 1
            continue
        assert segment.holes, at
        assert not segment.complete, at
        assert all(some in BATCHES for some in segment.batches()), at
        # No more is lost than the frame that was hit.
        assert len(list(segment.batches())) >= len(BATCHES) - 1, at
        declared += 1
    assert refused + declared == FLIPS
    assert declared > refused
    print(f"{FLIPS} bits in a journal: {declared} declared as holes, {refused} segments refused, 0 foreign rows")


def test_in_a_pack(spool, monkeypatch):
    pack = encode_segment(spool, write_segment(spool.journal_path(HEADER.segment), BATCHES, sealed=True))
    whole = pack.path.read_bytes()
    refused = spoiled_parts = 0
    for at, spoiled in flips(whole, seed=2):
        monkeypatch.setattr(files, "read_range", lambda _, place, length, data=spoiled: data[place : place + length])
        try:
            again = load_pack(pack.path)
        except PackError:
            refused += 1
            continue
        assert again.manifest == pack.manifest, at
        kept = []
        for part, place in zip(again.manifest.parts, again.places, strict=True):
            try:
                assert again.read_part(part, place) == whole[place : place + part.bytes], at
                kept.append(part)
            except SpoiledPartError:
                spoiled_parts += 1
        # Exactly the part that was hit.
        assert len(kept) == len(again.manifest.parts) - 1, at
    assert refused + spoiled_parts == FLIPS
    assert min(refused, spoiled_parts) > FLIPS / 10
    print(f"{FLIPS} bits in a pack: {spoiled_parts} parts refused alone, {refused} packs as a whole, 0 foreign rows")


def test_a_spoiled_pack_is_put_aside_and_never_shipped(spool):
    pack = encode_segment(spool, write_segment(spool.journal_path(HEADER.segment), BATCHES, sealed=True))
    pack.path.write_bytes(pack.path.read_bytes().replace(b'"rows": 40', b'"rows": 41'))
    found = recover(spool)
    assert found.shipments == ()
    (notice,) = found.notices
    assert notice.reason == "its manifest is damaged"
    assert [path.name.partition("-")[2] for path in spool.quarantined.iterdir()] == [pack.path.name]


def test_a_spoiled_pack_is_made_again_while_the_journal_is_there(spool):
    journal = write_segment(spool.journal_path(HEADER.segment), BATCHES, sealed=True)
    copy = journal.read_bytes()
    pack = encode_segment(spool, journal)
    journal.write_bytes(copy)  # as if the crash had come before it was removed
    whole = pack.path.read_bytes()
    pack.path.write_bytes(whole[:-9])
    assert encode_segment(spool, journal) == pack
    assert pack.path.read_bytes() == whole


def test_a_spoiled_chain_begins_anew(spool):
    spool.follow("a", Previous("k1", "h1"))
    for spoiled in (b"", b"\0" * 90, b"[]", b'{"a": 7}', b"\xff"):
        (spool.root / "chain.json").write_bytes(spoiled)
        assert spool.previous("a") is None
    spool.follow("a", Previous("k2", "h2"))
    assert spool.previous("a") == Previous("k2", "h2")
