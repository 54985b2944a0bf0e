"""A segment becomes parts and a manifest, the same ones however often it is done."""

import hashlib
import shutil
import uuid

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.layout import parse_part_key
from quantlab_collector.contracts.manifest import Account, Gap, decode_manifest, encode_manifest
from quantlab_collector.contracts.schemas import RAW, raw_table
from quantlab_collector.storage.encoder import encode_segment
from quantlab_collector.storage.journal import SegmentWriter
from quantlab_collector.storage.pack import NewerPackError, PackError, SpoiledPartError, load_pack
from quantlab_collector.storage.parquet import encode
from quantlab_collector.storage.spool import Spool
from storage.samples import ACCOUNT, HEADER, T0, batch, bbo, bbo_batch, funding, trade, write_segment

DAY = 86_400_000_000_000


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def seal(spool, batches, header=HEADER, account=ACCOUNT):
    return write_segment(spool.journal_path(header.segment), batches, header=header, account=account, sealed=True)


def data_of(pack, number):
    return pack.read_part(pack.manifest.parts[number], pack.places[number])


MIXED = [
    batch(StreamType.BBO, [bbo(n, ("BTCUSDT", "ETHUSDT", "A/B")[n % 3]) for n in range(300)]),
    batch(StreamType.TRADE, [trade(n) for n in range(100)]),
    batch(StreamType.BBO, [bbo(n, ("ETHUSDT", "XRPUSDT")[n % 2], T0 + DAY - 50) for n in range(300, 400)]),
    batch(StreamType.FUNDING, [funding(n) for n in range(3)]),
]


def test_parts_hold_every_row_once_in_the_order_of_reception(spool):
    pack = encode_segment(spool, seal(spool, MIXED))
    seen = {}
    for number, part in enumerate(pack.manifest.parts):
        partition, instance, segment = parse_part_key(part.key)
        table = pq.read_table(pa.BufferReader(data_of(pack, number)), partitioning=None)
        assert table.schema.remove_metadata().equals(RAW[partition.stream])
        assert (instance, segment, table.num_rows) == ("a", HEADER.segment, part.rows)
        assert set(table["symbol"].to_pylist()) == {partition.symbol}
        received = table["ts_recv"].to_pylist()
        assert received == sorted(received)
        assert {str((ts // DAY - T0 // DAY) + 20260101) for ts in received} == {partition.date}
        assert (min(received), max(received)) == part.ts_recv
        seen.setdefault(partition.stream, []).extend(table.drop_columns(["stream", "stream_version"]).to_pylist())
    for stream, expected in (
        (StreamType.BBO, [bbo(n, ("BTCUSDT", "ETHUSDT", "A/B")[n % 3]) for n in range(300)]
         + [bbo(n, ("ETHUSDT", "XRPUSDT")[n % 2], T0 + DAY - 50) for n in range(300, 400)]),
        (StreamType.TRADE, [trade(n) for n in range(100)]),
        (StreamType.FUNDING, [funding(n) for n in range(3)]),
    ):  # fmt: skip
        rows = [{name: getattr(event, name) for name in event.__struct_fields__} for event in expected]
        assert sorted(seen[stream], key=repr) == sorted(rows, key=repr)


def test_the_manifest_says_what_is_there(spool):
    account = Account(gaps=(Gap("x", "c", 1, 2, "closed"),), drops=ACCOUNT.drops)
    pack = encode_segment(spool, seal(spool, MIXED, account=account))
    manifest = pack.manifest
    assert decode_manifest(encode_manifest(manifest)) == manifest
    assert manifest.rows == 503
    assert (manifest.complete, manifest.holes, manifest.previous) == (True, (), None)
    assert (manifest.gaps, manifest.drops) == (account.gaps, account.drops)
    for number, part in enumerate(manifest.parts):
        data = data_of(pack, number)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (part.bytes, part.sha256)
    trades = [part for part in manifest.parts if "/stream=trade/" in part.key]
    assert [part.trade_id for part in trades] == [("1000", "1099")]
    assert pack.rows_by_stream() == {("x", StreamType.BBO): 400, ("x", StreamType.TRADE): 100, ("x", StreamType.FUNDING): 3}


def test_a_lone_file_tells_where_it_comes_from(spool):
    pack = encode_segment(spool, seal(spool, [MIXED[1]]))
    metadata = pq.read_metadata(pa.BufferReader(data_of(pack, 0))).metadata
    assert {key.decode(): value.decode() for key, value in metadata.items()} == {
        "schema_version": "1",
        "collector": "0.1.0",
        "instance": "a",
        "segment": "1767280498692-000007",
        "quantity_unit": "base coin",
    }


def test_doing_it_again_gives_the_same_keys_and_the_same_bytes(spool, tmp_path):
    journal = seal(spool, MIXED)
    copy = tmp_path / "copy"
    shutil.copy(journal, copy)
    first = encode_segment(spool, journal)
    kept = first.path.read_bytes()
    first.path.unlink()
    shutil.copy(copy, journal)
    assert encode_segment(spool, journal) == first
    assert first.path.read_bytes() == kept


def test_a_segment_with_nothing_to_tell_leaves_nothing(spool):
    assert encode_segment(spool, seal(spool, [], account=Account())) is None
    assert list(spool.journal.iterdir()) == list(spool.packs.iterdir()) == []


def test_news_without_rows_are_told(spool):
    pack = encode_segment(spool, seal(spool, []))
    assert (pack.manifest.parts, pack.manifest.drops) == ((), ACCOUNT.drops)


def test_an_unsealed_segment_says_so(spool):
    journal = write_segment(spool.journal_path(HEADER.segment), [MIXED[1]])
    manifest = encode_segment(spool, journal).manifest
    assert (manifest.complete, manifest.holes) == (False, ("the process ended without sealing it",))
    assert manifest.sealed == T0 + 99


def test_of_an_abandoned_segment_only_the_beginning_counts(spool):
    path = spool.journal_path(HEADER.segment)
    writer = SegmentWriter(path, HEADER, ACCOUNT)
    writer.append([MIXED[0]], ACCOUNT)
    known = writer.size
    writer.append([MIXED[1]], ACCOUNT)  # as far as anybody knows it failed
    writer.abandon()
    manifest = encode_segment(spool, path, known).manifest
    assert (manifest.rows, manifest.complete) == (300, False)
    assert manifest.holes == ("a disk error ended it; the next segment goes on",)
    assert manifest.drops == ()  # the next one tells


def test_a_pack_can_be_loaded_again(spool):
    pack = encode_segment(spool, seal(spool, MIXED))
    assert load_pack(pack.path) == pack
    assert [path.name for path in spool.packs.iterdir()] == ["1767280498692-000007.pack"]
    assert list(spool.journal.iterdir()) == []


def test_a_pack_that_is_not_whole_is_refused_wherever_it_was_cut(spool):
    pack = encode_segment(spool, seal(spool, MIXED))
    whole = pack.path.read_bytes()
    for length in (0, 5, 19, 20, 1000, len(whole) // 2, len(whole) - 21, len(whole) - 20, len(whole) - 1):
        pack.path.write_bytes(whole[:length])
        with pytest.raises(PackError):
            load_pack(pack.path)
    pack.path.write_bytes(whole + b"x")
    with pytest.raises(PackError):
        load_pack(pack.path)
    pack.path.write_bytes(b"x" + whole)
    with pytest.raises(PackError, match="does not have the size"):
        load_pack(pack.path)


def test_a_pack_of_a_newer_version_is_told_apart(spool):
    pack = encode_segment(spool, seal(spool, MIXED))
    pack.path.write_bytes(pack.path.read_bytes()[:-1] + b"\x02")
    with pytest.raises(NewerPackError, match="version 2"):
        load_pack(pack.path)


def test_a_part_that_changed_in_the_spool_is_refused_and_the_others_are_not(spool):
    pack = encode_segment(spool, seal(spool, MIXED))
    data = bytearray(pack.path.read_bytes())
    data[pack.places[2] + 40] ^= 1
    pack.path.write_bytes(data)
    with pytest.raises(SpoiledPartError):
        data_of(pack, 2)
    assert len(data_of(pack, 1)) == pack.manifest.parts[1].bytes


def test_page_checksums_are_there(spool):
    pack = encode_segment(spool, seal(spool, [bbo_batch(range(1000))]))
    data = bytearray(data_of(pack, 0))
    column = pq.ParquetFile(pa.BufferReader(bytes(data))).metadata.row_group(0).column(6)
    at = column.data_page_offset + column.total_compressed_size // 2
    data[at] ^= 1
    with pytest.raises(OSError, match=r"(?i)crc|checksum|corrupt"):
        pq.ParquetFile(pa.BufferReader(bytes(data)), page_checksum_verification=True).read()


def test_duckdb_reads_a_part_as_it_is(spool, tmp_path):
    pack = encode_segment(spool, seal(spool, [bbo_batch(range(10))]))
    (tmp_path / "part.parquet").write_bytes(data_of(pack, 0))
    rows = duckdb.sql(
        f"SELECT count(*), count(bid_qty), min(bid_price), any_value(stream) FROM '{tmp_path / 'part.parquet'}'"
    ).fetchall()
    assert rows == [(10, 8, 1.0, "bbo")]


def test_parts_can_be_searched_by_time_and_small_ones_are_not_worth_zstd(spool):
    pack = encode_segment(spool, seal(spool, [bbo_batch(range(1000)), bbo_batch(range(99), "ETHUSDT")]))
    for number, (rows, compression) in enumerate([(1000, "ZSTD"), (99, "SNAPPY")]):
        group = pq.read_metadata(pa.BufferReader(data_of(pack, number))).row_group(0)
        columns = {column.path_in_schema: column for column in map(group.column, range(group.num_columns))}
        times = columns["ts_recv"].statistics
        assert (times.min, times.max, times.null_count) == (T0, T0 + rows - 1, 0)
        assert columns["bid_price"].compression == compression
        assert columns["symbol"].has_dictionary_page


def test_a_part_takes_far_less_than_the_defaults_of_the_writer():
    import io

    table = raw_table(bbo_batch(range(5000)), "x", StreamType.BBO, "BTCUSDT")
    usual = io.BytesIO()
    pq.write_table(table, usual)
    assert encode([table], {}).data.size < 0.8 * len(usual.getvalue())


UUIDS = [str(uuid.UUID(int=n * 0x9E3779B97F4A7C15F39CC0605CEDC835 & (1 << 128) - 1)) for n in range(1, 301)]


@pytest.mark.parametrize(
    ("ids", "encoding"),
    [
        ([str(1000 + n) for n in range(300)], "DELTA_BYTE_ARRAY"),
        (UUIDS, "DELTA_LENGTH_BYTE_ARRAY"),
        (["", *UUIDS[1:]], "DELTA_LENGTH_BYTE_ARRAY"),
        ([*UUIDS[:9], *(str(n) for n in range(9, 300))], "DELTA_LENGTH_BYTE_ARRAY"),
    ],
)
def test_trade_ids_are_written_by_their_kind_and_read_back_as_they_were(tmp_path, ids, encoding):
    events = [msgspec.structs.replace(trade(n), trade_id=text) for n, text in enumerate(ids)]
    table = raw_table(batch(StreamType.TRADE, events), "x", StreamType.TRADE, "BTCUSDT")
    path = tmp_path / "part.parquet"
    path.write_bytes(encode([table], {}).data)
    column = pq.read_metadata(path).row_group(0).column(table.column_names.index("trade_id"))
    assert encoding in column.encodings
    assert pq.read_table(path)["trade_id"].to_pylist() == ids
    assert [row[0] for row in duckdb.sql(f"SELECT trade_id FROM '{path}'").fetchall()] == ids
