"""A bit falls over in what waits on the local disk: it is noticed, each time, and no row is ever another one than it was."""

from __future__ import annotations

import hashlib
import os
import random

import msgspec
import pytest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.storage import files
from quantlab_collector.storage.encoder import encode_segment, load_encoded
from quantlab_collector.storage.journal import JournalError, read_segment
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
        monkeypatch.setattr(files, "read", lambda _, spoiled=spoiled: spoiled)
        try:
            segment = read_segment(path)
        except JournalError:
            refused += 1
            continue
        assert segment.holes, at
        assert not segment.complete, at
        assert all(some in BATCHES for some in segment.batches), at
        # No more is lost than the frame that was hit.
        assert len(segment.batches) >= len(BATCHES) - 1, at
        declared += 1
    assert refused + declared == FLIPS
    assert declared > refused
    print(f"{FLIPS} bits in a journal: {declared} declared as holes, {refused} segments refused, 0 foreign rows")


def test_in_parts_and_manifests_that_wait(spool):
    encoded = encode_segment(spool, write_segment(spool.journal_path(HEADER.segment), BATCHES, sealed=True))
    count = len(encoded.manifest.parts)
    for number, part in enumerate(encoded.manifest.parts):
        for at, spoiled in flips(encoded.part_path(number).read_bytes(), seed=2 + number, count=FLIPS // count):
            assert hashlib.sha256(spoiled).hexdigest() != part.sha256, at
    for name in ("manifest.json", "manifest.sha256"):
        path = encoded.folder / name
        whole = path.read_bytes()
        for at, spoiled in flips(whole, seed=name):
            path.write_bytes(spoiled)
            with pytest.raises((ValueError, msgspec.MsgspecError)):
                load_encoded(encoded.folder)
                pytest.fail(f"byte {at} of {name}")
        path.write_bytes(whole)
    assert load_encoded(encoded.folder) == encoded
    print(f"{FLIPS} bits in parts and {2 * FLIPS} in manifests and their sums, all noticed")


def test_a_spoiled_manifest_is_put_aside_and_never_shipped(spool):
    encoded = encode_segment(spool, write_segment(spool.journal_path(HEADER.segment), BATCHES, sealed=True))
    path = encoded.folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"rows": 40', b'"rows": 41'))
    found = recover(spool)
    assert found.encoded == ()
    (notice,) = found.notices
    assert "its SHA-256 is not the one in manifest.sha256" in notice.reason
    assert [folder.name.partition("-")[2] for folder in spool.quarantined.iterdir()] == [str(HEADER.segment)]


def test_a_spoiled_manifest_is_made_again_while_the_journal_is_there(spool):
    journal = write_segment(spool.journal_path(HEADER.segment), BATCHES, sealed=True)
    copy = journal.read_bytes()
    encoded = encode_segment(spool, journal)
    (spool.root / "chain.json").unlink()
    journal.write_bytes(copy)  # as if the crash had come before it was removed
    (encoded.folder / "manifest.json").write_bytes(encoded.manifest_bytes[:-9])
    assert encode_segment(spool, journal) == encoded


def test_a_spoiled_chain_begins_anew(spool):
    first = encode_segment(spool, write_segment(spool.journal_path(HEADER.segment), BATCHES, sealed=True))
    for spoiled in (b"", b"\0" * 90, b"[]", b'{"a": 7}', b"\xff"):
        (spool.root / "chain.json").write_bytes(spoiled)
        assert spool.previous("a") is None
    header = type(HEADER)("a", HEADER.epoch_ms, 8, HEADER.opened_ns, "0.1.0")
    again = encode_segment(spool, write_segment(spool.journal_path(header.segment), BATCHES, header=header, sealed=True))
    assert again.manifest.previous is None
    assert spool.previous("a").key == again.manifest_key != first.manifest_key
