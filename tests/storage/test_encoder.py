"""A segment becomes parts and a manifest, the same ones however often it is done."""

import hashlib
import shutil

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.layout import parse_part_key
from quantlab_collector.contracts.manifest import Account, Gap, Previous, decode_manifest
from quantlab_collector.contracts.schemas import RAW
from quantlab_collector.storage import parquet
from quantlab_collector.storage.encoder import encode_segment, forget, load_encoded
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


MIXED = [
    batch(StreamType.BBO, [bbo(n, ("BTCUSDT", "ETHUSDT", "A/B")[n % 3]) for n in range(300)]),
    batch(StreamType.TRADE, [trade(n) for n in range(100)]),
    batch(StreamType.BBO, [bbo(n, ("ETHUSDT", "XRPUSDT")[n % 2], T0 + DAY - 50) for n in range(300, 400)]),
    batch(StreamType.FUNDING, [funding(n) for n in range(3)]),
]


def test_parts_hold_every_row_once_in_the_order_of_reception(spool):
    encoded = encode_segment(spool, seal(spool, MIXED))
    seen = {}
    for number, part in enumerate(encoded.manifest.parts):
        partition, instance, segment = parse_part_key(part.key)
        table = pq.read_table(encoded.part_path(number), partitioning=None)
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
    encoded = encode_segment(spool, seal(spool, MIXED, account=account))
    manifest = encoded.manifest
    assert decode_manifest(encoded.manifest_bytes) == manifest
    assert encoded.manifest_key == "_manifests/instance=a/date=20260101/1767280498692-000007.json"
    assert manifest.rows == 503
    assert (manifest.complete, manifest.holes, manifest.previous) == (True, (), None)
    assert (manifest.gaps, manifest.drops) == (account.gaps, account.drops)
    for number, part in enumerate(manifest.parts):
        data = encoded.part_path(number).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (part.bytes, part.sha256)
    trades = [part for part in manifest.parts if "/stream=trade/" in part.key]
    assert [part.trade_id for part in trades] == [("1000", "1099")]
    assert encoded.rows_by_stream() == {("x", StreamType.BBO): 400, ("x", StreamType.TRADE): 100, ("x", StreamType.FUNDING): 3}


def test_a_lone_file_tells_where_it_comes_from(spool):
    encoded = encode_segment(spool, seal(spool, [MIXED[1]]))
    metadata = pq.read_metadata(encoded.part_path(0)).metadata
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
    kept = {n: first.part_path(n).read_bytes() for n in range(len(first.manifest.parts))}
    shutil.rmtree(first.folder)
    (spool.root / "chain.json").unlink()
    shutil.copy(copy, journal)
    again = encode_segment(spool, journal)
    assert again.manifest_bytes == first.manifest_bytes
    assert {n: again.part_path(n).read_bytes() for n in kept} == kept


def test_manifests_are_chained(spool):
    chain = []
    for seq in range(3):
        header = type(HEADER)("a", HEADER.epoch_ms, seq, T0, "0.1.0")
        encoded = encode_segment(spool, seal(spool, [MIXED[1]], header=header))
        chain.append((encoded.manifest.previous, Previous.of(encoded.manifest_key, encoded.manifest_bytes)))
    assert [previous for previous, _ in chain] == [None, chain[0][1], chain[1][1]]
    assert spool.previous("a") == chain[2][1]
    assert spool.previous("b") is None


def test_a_segment_with_nothing_to_tell_leaves_nothing(spool):
    assert encode_segment(spool, seal(spool, [], account=Account())) is None
    assert list(spool.journal.iterdir()) == list(spool.parts.iterdir()) == []


def test_news_without_rows_are_told(spool):
    encoded = encode_segment(spool, seal(spool, []))
    assert (encoded.manifest.parts, encoded.manifest.drops) == ((), ACCOUNT.drops)


def test_an_unsealed_segment_says_so(spool):
    journal = write_segment(spool.journal_path(HEADER.segment), [MIXED[1]])
    manifest = encode_segment(spool, journal).manifest
    assert (manifest.complete, manifest.holes) == (False, ("the process ended without sealing it",))
    assert manifest.sealed == T0 + 99


def test_what_is_encoded_can_be_loaded_and_forgotten(spool):
    encoded = encode_segment(spool, seal(spool, MIXED))
    assert load_encoded(encoded.folder) == encoded
    forget(encoded)
    assert list(spool.parts.iterdir()) == []
    assert list(spool.journal.iterdir()) == []


def test_page_checksums_are_there(spool):
    encoded = encode_segment(spool, seal(spool, [bbo_batch(range(1000))]))
    data = bytearray(encoded.part_path(0).read_bytes())
    column = pq.ParquetFile(pa.BufferReader(bytes(data))).metadata.row_group(0).column(6)
    at = column.data_page_offset + column.total_compressed_size // 2
    data[at] ^= 1
    with pytest.raises(OSError, match=r"(?i)crc|checksum|corrupt"):
        pq.ParquetFile(pa.BufferReader(bytes(data)), page_checksum_verification=True).read()


def test_duckdb_reads_a_part_as_it_is(spool):
    encoded = encode_segment(spool, seal(spool, [bbo_batch(range(10))]))
    rows = duckdb.sql(
        f"SELECT count(*), count(bid_qty), min(bid_price), any_value(stream) FROM '{encoded.part_path(0)}'"
    ).fetchall()
    assert rows == [(10, 8, 1.0, "bbo")]


def test_a_part_takes_far_less_than_the_defaults_of_the_writer():
    import io

    ((_, table),) = parquet.partitions([bbo_batch(range(5000))])
    usual = io.BytesIO()
    pq.write_table(table, usual)
    assert len(parquet.encode(table, {})) < 0.8 * len(usual.getvalue())
