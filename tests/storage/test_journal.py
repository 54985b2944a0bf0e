"""The journal gives back what was written, says what it cannot give back, and never gives anything else."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.storage.journal import JournalError, NewerJournalError
from quantlab_collector.storage.journal_reading import read_segment
from storage.samples import ACCOUNT, HEADER, T0, batch, bbo_batch, trade, write_segment

BATCHES = [bbo_batch(range(40)), batch(StreamType.TRADE, [trade(n) for n in range(30)]), bbo_batch(range(40, 75), "ETHUSDT")]
ROWS = [some.num_rows for some in BATCHES]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("journal")
    return write_segment(folder / "a.journal", BATCHES, sealed=True).read_bytes()


@pytest.fixture(scope="module")
def unsealed(tmp_path_factory):
    return write_segment(tmp_path_factory.mktemp("journal") / "a.journal", BATCHES).read_bytes()


def read(data, folder):
    path = folder / "read"
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return read_segment(path)


def test_a_sealed_segment_reads_back_whole(sealed, tmp_path):
    segment = read(sealed, tmp_path)
    assert list(segment.batches()) == BATCHES
    assert [b.schema.metadata for b in segment.batches()] == [b.schema.metadata for b in BATCHES]
    assert (segment.header, segment.account, segment.holes) == (HEADER, ACCOUNT, ())
    assert (segment.footer.rows, segment.footer.sealed_ns, segment.complete) == (sum(ROWS), T0 + 10**9, True)


def test_an_unsealed_segment_reads_back_and_is_not_complete(unsealed, tmp_path):
    segment = read(unsealed, tmp_path)
    assert list(segment.batches()) == BATCHES
    assert (segment.footer, segment.holes, segment.complete) == (None, (), False)
    assert segment.account == ACCOUNT


def test_files_are_for_their_owner_only_and_never_overwritten(tmp_path):
    path = write_segment(tmp_path / "a.journal", BATCHES)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_segment(path, BATCHES)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        read_segment(link)


def test_cut_anywhere_it_gives_whole_batches_from_the_front(sealed, tmp_path):
    chance = random.Random(1)
    for cut in sorted({chance.randrange(len(sealed)) for _ in range(300)} | set(range(60)) | {len(sealed) - 1}):
        try:
            segment = read(sealed[:cut], tmp_path)
        except JournalError:
            assert cut < 400  # within the header
            continue
        assert list(segment.batches()) == BATCHES[: len(list(segment.batches()))]
        assert not segment.complete
        # Cut between two frames, only the missing footer tells.
        assert not segment.holes or segment.holes[-1].endswith("at the end are torn")


def test_every_flipped_bit_is_noticed(sealed, tmp_path):
    chance = random.Random(2)
    for _ in range(2000):
        at, bit = chance.randrange(len(sealed)), chance.randrange(8)
        spoiled = bytearray(sealed)
        spoiled[at] ^= 1 << bit
        try:
            segment = read(bytes(spoiled), tmp_path)
        except JournalError:
            continue
        assert not segment.complete, (at, bit)
        assert all(some in BATCHES for some in segment.batches())


def test_a_bad_frame_in_the_middle_costs_that_frame_only(sealed, tmp_path):
    for place, missing in ((10, 1), (27, 1), (200, 1)):  # in the length, at the end of the head, in the payload
        spoiled = bytearray(sealed)
        spoiled[frames(sealed)[2 + 2 * missing] + place] ^= 0xFF
        segment = read(bytes(spoiled), tmp_path)
        assert list(segment.batches()) == [BATCHES[0], BATCHES[2]]
        damaged, rows = segment.holes
        assert damaged.endswith("are damaged")
        assert rows == f"rows {ROWS[0]} to {ROWS[0] + ROWS[1] - 1} are missing"
        assert segment.rows == sum(ROWS) - ROWS[missing]
        assert not segment.complete


def frames(data):
    """Where frames begin: a header and an account; a batch and an account each; an account and a footer."""
    marker = struct.pack("<I", 0x51F7A3E9)
    found = [at for at in range(len(data)) if data.startswith(marker, at)]
    assert len(found) == 2 + 2 * len(BATCHES) + 2
    return found


def test_a_missing_last_batch_is_told_by_the_footer(sealed, tmp_path):
    segment = read(sealed, tmp_path)
    third, after = frames(sealed)[6:8]
    segment = read(sealed[:third] + sealed[after:], tmp_path)
    assert segment.holes == (f"rows {ROWS[0] + ROWS[1]} to {sum(ROWS) - 1} are missing",)
    assert not segment.complete


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", JournalError),
        (b"x", JournalError),
        (b"QLJOURN", JournalError),
        (b"PAR1" * 100, JournalError),
        (b"QLJOURN\x01", JournalError),
    ],
)
def test_what_is_no_segment_is_refused(data, error, tmp_path):
    with pytest.raises(error):
        read(data, tmp_path)


def test_a_newer_version_is_told_apart(sealed, tmp_path):
    with pytest.raises(NewerJournalError, match="version 2"):
        read(sealed[:7] + b"\x02" + sealed[8:], tmp_path)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(garbage=st.binary(max_size=400), at=st.floats(0, 1))
def test_garbage_in_between_never_becomes_rows(sealed, tmp_path_factory, garbage, at):
    where = int(at * len(sealed))
    try:
        segment = read(sealed[:where] + garbage + sealed[where:], tmp_path_factory.mktemp("g"))
    except JournalError:
        return
    assert all(some in BATCHES for some in segment.batches())
    assert len(list(segment.batches())) >= len(BATCHES) - 1
