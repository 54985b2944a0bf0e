"""Files of raw frames: what comes out is what went in, byte for byte; of a torn file what is whole."""

from __future__ import annotations

import gzip
import json
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quantlab_collector.contracts.layout import RawCompression, RawFile, SegmentId
from quantlab_collector.contracts.raw_frames import RawFrame
from quantlab_collector.exchanges.protocol import BinaryMessage
from quantlab_collector.storage.rawlog import (
    TornArchiveError,
    archive_files,
    compress,
    encode_lines,
    is_archive,
    read_archive,
    read_files,
)

MESSAGES = st.one_of(st.binary(), st.text().map(str.encode), st.binary().map(BinaryMessage))
READS = st.lists(st.tuples(st.integers(0, 2**63 - 1), st.text(), st.lists(MESSAGES)))
COMPRESSIONS = st.sampled_from(RawCompression)


def lines_of(reads):
    return b"".join(encode_lines(*read) for read in reads)


def frames_of(reads):
    return [
        RawFrame(ts_recv, connection, bytes(message), isinstance(message, BinaryMessage))
        for ts_recv, connection, messages in reads
        for message in messages
    ]


@given(READS, COMPRESSIONS)
@example(
    [(1, "a", [b"", b"\xff\xfe", b'{"a":"\\u2028\\n"}', BinaryMessage(b""), "\u2028\x00\n\r".encode()])], RawCompression.GZIP
)
def test_every_byte_comes_back(reads, compression):
    data = compress(lines_of(reads), compression)
    assert list(read_archive(data)) == frames_of(reads)
    assert compress(lines_of(reads), compression) == data


@given(st.lists(MESSAGES, min_size=1), COMPRESSIONS, st.data())
def test_of_a_file_that_ends_too_early_the_beginning_is_read(messages, compression, data):
    reads = [(7, "c", messages)]
    whole = compress(lines_of(reads), compression)
    torn = whole[: data.draw(st.integers(0, len(whole) - 1))]
    read = []
    with pytest.raises(TornArchiveError):
        read.extend(read_archive(torn))
        # A torn tail of the checksum alone: all frames are there, and yet it is told.
    assert read == frames_of(reads)[: len(read)]


@pytest.mark.parametrize("compression", RawCompression)
def test_what_comes_before_the_torn_place_is_given(compression):
    # Texts that do not compress, so that the place is somewhere in the middle of the lines.
    reads = [(n, "c", [gzip.compress(b"%d" % n, mtime=0) * 20]) for n in range(5000)]
    data = compress(lines_of(reads), compression)
    frames, expected = [], frames_of(reads)
    with pytest.raises(TornArchiveError):
        frames.extend(read_archive(data[: len(data) // 2]))
    assert frames == expected[: len(frames)]
    assert len(frames) > 500


def test_a_flipped_bit_in_the_middle_is_told(tmp_path):
    reads = [(n, "c", [b"frame %d" % n]) for n in range(100_000)]
    data = bytearray(compress(lines_of(reads), RawCompression.GZIP))
    data[len(data) // 2] ^= 0x10
    frames = []
    with pytest.raises(TornArchiveError):
        frames.extend(read_archive(bytes(data)))
    assert len(frames) > 10_000


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"ts_recv":1,"conn":"c"}', "neither a text nor a binary frame"),
        ('{"ts_recv":1,"conn":"c","frame":"a","frame_b64":"YQ=="}', "neither a text nor a binary frame"),
        ('{"ts_recv":"yesterday","conn":"c","frame":"a"}', "Expected `int`"),
        ('{"ts_recv":1,"conn":"c","frame_b64":"?"}', "base64"),
        ("pong", "malformed"),
    ],
)
def test_a_line_that_is_none_is_named(line, why):
    good = encode_lines(1, "c", [b"good"]).decode()
    data = gzip.compress(f"{good}{line}\n{good}".encode())
    reading = read_archive(data)
    assert next(reading).data == b"good"
    with pytest.raises(TornArchiveError, match=f"line 2: not a frame: .*{why}"):
        next(reading)


def test_a_last_line_without_its_end_is_told():
    line = encode_lines(1, "c", [b"x"])
    with pytest.raises(TornArchiveError, match="its last line, 2, has no end"):
        list(read_archive(gzip.compress(line + line[:-1])))


@pytest.mark.parametrize("compression", RawCompression)
def test_files_that_were_put_together_or_unpacked_are_read_too(tmp_path, compression):
    lines = [encode_lines(n, "c", [b"%d" % n]) for n in range(3)]
    together, unpacked = tmp_path / "together", tmp_path / "unpacked"
    together.write_bytes(b"".join(compress(line, compression) for line in lines))
    unpacked.write_bytes(b"".join(lines))
    assert is_archive(together)
    assert is_archive(unpacked)
    assert (
        [frame.data for frame in read_archive(together)] == [frame.data for frame in read_archive(unpacked)] == [b"0", b"1", b"2"]
    )


@pytest.mark.parametrize(
    "content", [b"", b"1749833474285\t{}\n", b'{"stream":"x"}\n', gzip.compress(b"1749833474285\t{}\n", mtime=0), b"\x1f\x8b"]
)
def test_what_is_no_archive(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not is_archive(path)


@pytest.mark.parametrize(("compression", "tool"), [(RawCompression.GZIP, ["gzip", "-dc"])])
def test_other_tools_read_it(compression, tool):
    data = compress(encode_lines(1, "public-0#1", [b'{"a":"\xc3\xa9"}']), compression)
    text = subprocess.run(tool, input=data, capture_output=True, check=True).stdout
    assert json.loads(text) == {"ts_recv": 1, "conn": "public-0#1", "frame": '{"a":"é"}'}


def put(root, exchange, instance, seq, reads, *, date="20260101"):
    file = RawFile(exchange, date, instance, SegmentId(1000, seq), RawCompression.GZIP)
    path = root / file.key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(compress(lines_of(reads), RawCompression.GZIP))
    path.with_name(path.name + ".json").write_bytes(b"{}")


def test_a_folder_is_read_in_the_order_in_which_it_was_received(tmp_path):
    put(tmp_path, "x", "a", 2, [(30, "c#1", [b"3"]), (29, "c#2", [b"4"])])  # the clock was put back
    put(tmp_path, "x", "a", 1, [(10, "c#1", [b"1"]), (10, "d#1", [b"2"])])
    put(tmp_path, "x", "a", 10, [(50, "c#1", [b"5"])], date="20260102")
    put(tmp_path, "y", "a", 3, [(1, "c#1", [b"of another exchange"])])
    put(tmp_path, "x", "b", 1, [(20, "c#1", [b"of another instance"])])
    (tmp_path / "_raw/exchange=x/date=20260101/part-of-something.jsonl.gz").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "_raw", tmp_path / "_raw/exchange=x"):
        files = archive_files(folder, "x")
        assert [(file.instance, file.segment.seq) for file, _ in files] == [("a", 1), ("a", 2), ("a", 10), ("b", 1)]
        frames = [frame.data.decode() for frame in read_files(files)]
        assert frames == ["1", "2", "of another instance", "3", "4", "5"]
    assert len(archive_files(tmp_path / "_raw/exchange=x/date=20260101", "x")) == 3
