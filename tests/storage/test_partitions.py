"""Whatever the budget, a segment becomes the same rows in the same order; and what does not fit into memory does not have to."""

import errno
import tracemalloc
from contextlib import closing
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_collector.contracts.events import Bbo, Funding, StreamType, Trade
from quantlab_collector.contracts.layout import date_of_day
from quantlab_collector.contracts.schemas import RAW, journal_batch, journal_schema
from quantlab_collector.storage import encoder, files, journal_reading
from quantlab_collector.storage import partitions as module
from quantlab_collector.storage.aside import Aside
from quantlab_collector.storage.journal import JournalError, UnreadableJournalError
from quantlab_collector.storage.journal_reading import abandoned_by, read_segment
from quantlab_collector.storage.partitions import partitions
from quantlab_collector.storage.spool import Spool
from storage.samples import HEADER, T0, batch, bbo, bbo_batch, trade, write_segment

DAY = 86_400_000_000_000
KINDS = {StreamType.BBO: Bbo, StreamType.TRADE: Trade, StreamType.FUNDING: Funding}


def event(stream, exchange, symbol, day, n):
    at = T0 + day * DAY + n
    own = {StreamType.BBO: (n, None, n, 1.0), StreamType.TRADE: (n, 1.0, 1, f"id{n}"), StreamType.FUNDING: (n, at)}[stream]
    return KINDS[stream](at - 7, at, exchange, symbol, *own)


BATCHES = st.lists(
    st.tuples(
        st.sampled_from(list(KINDS)),
        st.sampled_from(["x", "y"]),
        st.lists(st.tuples(st.sampled_from(["A", "B", "C/D", "E"]), st.sampled_from([0, 0, 0, 1, -1])), min_size=1, max_size=30),
    ),
    max_size=12,
)


def no_room(_size):
    return None


@settings(deadline=None)
@given(
    shape=BATCHES,
    budget=st.integers(1, 20_000),
    piece=st.integers(1, 40),
    held=st.sampled_from([0, 2**20]),
    room=st.booleans(),
)
def test_every_row_is_in_its_partition_once_and_in_order_whatever_the_budget(tmp_path_factory, shape, budget, piece, held, room):
    expected, batches, n = {}, [], 0
    for stream, exchange, places in shape:
        events = []
        for symbol, day in places:
            n += 1
            events.append(event(stream, exchange, symbol, day, n))
            key = (exchange, stream, symbol, date_of_day((T0 + day * DAY + n) // DAY))
            expected.setdefault(key, []).append(events[-1])
        batches.append(journal_batch(journal_schema(exchange, stream), events))
    folder = tmp_path_factory.mktemp("p")
    segment = read_segment(write_segment(folder / "a.journal", batches, sealed=True), held=held)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUP_ROWS", piece)
        aside = (lambda _size: Aside(folder / "aside")) if room else no_room
        for partition, tables in partitions(segment, aside, budget):
            key = (partition.exchange, partition.stream, partition.symbol, partition.date)
            assert key not in found
            found[key] = pa.concat_tables([table.cast(RAW[partition.stream]) for table in tables]).to_pylist()
    assert found == {key: [as_row(one, key[1]) for one in events] for key, events in expected.items()}
    assert [path.name for path in folder.iterdir()] == ["a.journal"]


def as_row(one, stream):
    values = {name: getattr(one, name) for name in one.__struct_fields__}
    return values | {"stream": stream.value, "stream_version": 1}


MANY = [bbo_batch(range(n, n + 40), "ABC"[n // 40 % 3]) for n in range(0, 4000, 40)]


@pytest.fixture(params=["one read", "many"])
def reading(request, monkeypatch):
    """``read_segment`` of a segment that is small, and of one that is large."""
    if request.param == "one read":
        return read_segment
    monkeypatch.setattr(journal_reading, "STRETCH", 300)
    return partial(read_segment, held=0)


def test_a_large_segment_is_read_as_a_small_one(tmp_path, reading):
    segment = reading(write_segment(tmp_path / "a.journal", MANY, sealed=True))
    assert list(segment.batches()) == list(segment.batches()) == MANY
    assert list(segment.batches(("x", StreamType.BBO))) == MANY
    assert list(segment.batches(("x", StreamType.TRADE))) == []
    assert (segment.rows, segment.complete) == (4000, True)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_damage_is_told_alike_however_it_is_read(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("d")
    path = write_segment(
        folder / "a.journal", [bbo_batch(range(40)), batch(StreamType.TRADE, [trade(n) for n in range(30)])], sealed=True
    )
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["cut", "flipped", "garbage", "zeros"]))
    garbage = data.draw(st.binary(min_size=1, max_size=700))
    path.write_bytes(
        {
            "cut": whole[:at],
            "flipped": whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :],
            "garbage": whole[:at] + garbage + whole[at:],
            "zeros": whole[:at] + bytes(len(whole) - at),
        }[kind]
    )
    upto = data.draw(st.none() | st.integers(0, len(whole)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_reading, "STRETCH", data.draw(st.integers(1, 900)))
        assert outcome(path, upto, held=0) == outcome(path, upto, held=2**20)


def outcome(path, upto, held):
    try:
        segment = read_segment(path, upto, held)
    except JournalError as fault:
        return type(fault), str(fault)
    told = segment.header, segment.account, segment.footer, segment.holes, segment.rows, dict(segment.sizes), segment.complete
    return told, list(segment.batches())


def test_what_changes_between_two_reads_is_an_error_of_the_disk(tmp_path):
    path = write_segment(tmp_path / "a.journal", MANY, sealed=True)
    segment = read_segment(path, held=0)
    data = bytearray(path.read_bytes())
    data[data.index(b"ts_recv")] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableJournalError, match="not what it gave back") as told:
        list(segment.batches())
    assert told.value.errno == errno.EIO
    path.write_bytes(data[: data.index(b"s_recv")])
    with pytest.raises(UnreadableJournalError, match="shorter"):
        list(segment.batches())


def test_the_beginning_of_a_segment_tells_what_it_follows(tmp_path, monkeypatch):
    """Without reading the rest: it may be large, and there may be many."""
    path = write_segment(tmp_path / "a.journal", MANY)
    monkeypatch.setattr(journal_reading, "STRETCH", 300)
    read = []
    read_at = journal_reading.files.read_at
    monkeypatch.setattr(journal_reading.files, "read_at", lambda *args: read.append(read_at(*args)) or read[-1])
    assert abandoned_by(path) is None
    assert sum(map(len, read)) < 1000 < path.stat().st_size


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def test_a_very_large_partition_is_one_part_of_several_row_groups(spool, monkeypatch):
    monkeypatch.setattr(module, "GROUP_ROWS", 500)
    monkeypatch.setattr(encoder, "partitions", partial(partitions, budget=20_000))
    monkeypatch.setattr(encoder, "read_segment", partial(read_segment, held=0))
    kept = []
    for _ in range(2):
        pack = encoder.encode_segment(spool, write_segment(spool.journal_path(HEADER.segment), MANY, sealed=True))
        kept.append(pack.path.read_bytes())
        pack.path.unlink()
        pack.path.write_bytes(kept[-1])
        assert [part.rows for part in pack.manifest.parts] == [1360, 1320, 1320]
        file = pq.ParquetFile(pa.BufferReader(pack.read_part(pack.manifest.parts[0], 0)))
        assert [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)] == [520, 520, 320]
        received = file.read().column("ts_recv").to_pylist()
        assert received == [T0 + n for n in range(4000) if n // 40 % 3 == 0]
        assert pack.manifest.parts[0].ts_recv == (received[0], received[-1])
        pack.path.unlink()
    assert kept[0] == kept[1]


@pytest.fixture(params=["aside", "again"])
def aside(request, tmp_path):
    """Where the rows of later groups wait: on the disk, or in the journal."""
    return {"aside": lambda _size: Aside(tmp_path / "aside"), "again": no_room}[request.param]


def most_memory(segment, aside, budget):
    """What Arrow took at most, and what Python did."""
    usual, watched = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(watched)
    tracemalloc.start()
    try:
        assert sum(table.num_rows for _, tables in partitions(segment, aside, budget) for table in tables) == segment.rows
        return watched.max_memory(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual)


def test_memory_is_bounded_by_the_budget_and_not_by_the_segment(tmp_path, monkeypatch, aside):
    monkeypatch.setattr(module, "GROUP_ROWS", 10_000)
    rows = batch(StreamType.BBO, [bbo(n, f"S{n % 60}USDT") for n in range(20_000)])
    segment = read_segment(write_segment(tmp_path / "a.journal", [rows] * 25, sealed=True), held=0)
    budget = 2**20
    assert sum(segment.sizes.values()) > 20 * budget
    of_arrow, of_python = most_memory(segment, aside, budget)
    assert of_arrow < 5 * budget
    assert of_python < 3 * budget


def test_a_group_of_one_small_partition_does_not_hold_what_it_was_found_in(tmp_path, monkeypatch, aside):
    """It has a row in every batch, and shall not keep the others."""
    monkeypatch.setattr(module, "GROUP_ROWS", 10_000)
    rows = batch(StreamType.BBO, [bbo(0, "A"), *(bbo(n, "LARGE") for n in range(2000)), bbo(2000, "Z")])
    segment = read_segment(write_segment(tmp_path / "a.journal", [rows] * 200, sealed=True), held=0)
    budget = 2**20
    assert sum(segment.sizes.values()) > 15 * budget
    of_arrow, of_python = most_memory(segment, aside, budget)
    assert of_arrow < 5 * budget
    assert of_python < 3 * budget


def test_what_is_put_aside_is_checked_when_it_is_wanted(tmp_path, monkeypatch):
    segment = read_segment(write_segment(tmp_path / "a.journal", MANY, sealed=True), held=0)
    read_at = files.read_at
    place = Aside(tmp_path / "aside")

    def spoiled(fd, at, length):
        data = bytearray(read_at(fd, at, length))
        data[len(data) // 2] ^= 1
        return bytes(data)

    with closing(partitions(segment, lambda _size: place, budget=20_000)) as found:
        _, tables = next(found)
        monkeypatch.setattr(files, "read_at", spoiled)
        with pytest.raises(OSError, match="not what was put aside") as told:
            list(tables)
    assert told.value.errno == errno.EIO


@pytest.mark.parametrize("pieces", [0, 2])
def test_a_disk_that_takes_less_than_it_said_is_no_hindrance(tmp_path, monkeypatch, pieces):
    """A quota is not seen in what is free. Parts are made as where there is no room, and are the same."""
    segment = read_segment(write_segment(tmp_path / "a.journal", MANY, sealed=True), held=0)
    place = Aside(tmp_path / "aside")
    taken = []

    def write_all(_fd, data):
        if len(taken) == pieces:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        taken.append(data)

    def parts(aside):
        found = partitions(segment, aside, budget=20_000)
        return [(partition, pa.concat_tables(tables).to_pydict()) for partition, tables in found]

    expected = parts(no_room)
    monkeypatch.setattr(files, "write_all", write_all)
    assert parts(lambda _size: place) == expected
    assert len(taken) == pieces


def test_a_disk_on_which_nothing_can_be_created_is_no_place_to_put_aside(spool, monkeypatch):
    def create_unnamed(_path):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files, "create_unnamed", create_unnamed)
    assert spool.aside(0) is None


def test_the_disk_is_the_recorders_first(spool, tmp_path, monkeypatch):
    """What is put aside must leave room for what is recorded meanwhile, and for the parts."""
    monkeypatch.setattr(files, "free_bytes", lambda _path: 1000)
    with spool.aside(250):
        pass
    assert spool.aside(251) is None
    careful = Spool(tmp_path / "careful", min_free=900)
    try:
        with careful.aside(25):
            pass
        assert careful.aside(26) is None
    finally:
        careful.close()


def test_an_unfinished_file_of_what_was_put_aside_is_removed_at_the_next_start(spool, monkeypatch):
    monkeypatch.setattr(files, "remove_quietly", lambda _path: None)  # the process ended just before
    with spool.aside(0):
        assert spool.leftovers().strangers == ()
    assert list(spool.packs.iterdir()) == []
