import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.layout import (
    SYMBOL,
    Partition,
    RawCompression,
    RawFile,
    SegmentId,
    date_of,
    is_instance_id,
    manifest_key,
    newest_owner_key,
    owner_key,
    parse_manifest_key,
    parse_part_key,
    parse_stream_path,
    part_key,
    path_symbol,
)

SEGMENT = SegmentId(1767280498692, 7)


def test_keys_to_the_letter():
    partition = Partition("binance", StreamType.MARK_PRICE, "BTCUSDT", "20260101")
    assert part_key(partition, "a", SEGMENT) == (
        "exchange=binance/stream=mark_price/symbol=BTCUSDT/date=20260101/part-a-1767280498692-000007.parquet"
    )
    assert manifest_key("a", SEGMENT, 1767280498692_000000) == ("_manifests/instance=a/date=20260101/1767280498692-000007.json")


@given(
    symbol=st.text(min_size=1, max_size=80),
    exchange=st.sampled_from(["binance", "binance-spot"]),
    stream=st.sampled_from(StreamType),
)
def test_every_key_reads_back_and_stays_below_its_root(symbol, exchange, stream):
    partition = Partition(exchange, stream, symbol, "20261120")
    key = part_key(partition, "a_1", SEGMENT)
    assert parse_part_key(key) == (partition, "a_1", SEGMENT)
    assert parse_stream_path(key.partition(SYMBOL)[0]) == (exchange, stream)
    components = key.split("/")
    assert len(components) == 5
    assert not any(component in {"", ".", ".."} for component in components)
    assert key.isascii()
    assert key.isprintable()


@pytest.mark.parametrize(
    ("symbol", "component"),
    [
        ("BTCUSDT", "BTCUSDT"),
        ("BTCUSDT_210625", "BTCUSDT_210625"),
        ("1000PEPE-USDT", "1000PEPE-USDT"),
        ("../x", "%2E%2E%2F%78"),
        ("..", "%2E%2E"),
        ("A/B", "A%2FB"),
        ("ÄUSDT", "%C3%84USDT"),
        ("A\0B", "A%00B"),
        ("btc", "%62%74%63"),
        ("A" * 65, "A" * 65),
    ],
)
def test_symbols_in_paths(symbol, component):
    assert path_symbol(symbol) == component


def test_manifest_keys_read_back():
    assert parse_manifest_key(manifest_key("a", SEGMENT, 1767280498692_000000)) == ("a", "20260101", SEGMENT)


@pytest.mark.parametrize("key", ["", "x", "exchange=b/stream=bbo/symbol=A/date=2026/part-a-1-000001.parquet", "../part"])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ValueError, match="not the key"):
        parse_part_key(key)
    with pytest.raises(ValueError, match="not the key"):
        parse_manifest_key(key)
    with pytest.raises(ValueError, match="not the path"):
        parse_stream_path(key)


@pytest.mark.parametrize("text", ["1-2", "x", "", "1767280498692-000007.open", "-1-000001"])
def test_what_is_no_segment_is_refused(text):
    with pytest.raises(ValueError, match="not a segment"):
        SegmentId.parse(text)


def test_segments_sort_by_age():
    assert sorted([SegmentId(2, 0), SegmentId(1, 10), SegmentId(1, 9)]) == [SegmentId(1, 9), SegmentId(1, 10), SegmentId(2, 0)]


def test_dates_are_utc():
    assert date_of(1767225599_999_999_999) == "20251231"
    assert date_of(1767225600_000_000_000) == "20260101"


@pytest.mark.parametrize(
    ("text", "valid"), [("a", True), ("node_7", True), ("A", False), ("a-b", False), ("", False), ("a/b", False)]
)
def test_instance_ids(text, valid):
    assert is_instance_id(text) is valid


def test_claims_are_out_of_the_way_of_every_reader():
    assert owner_key("a", 7) == "_owners/instance=a/000007.json"
    assert newest_owner_key("a") == "_owners/instance=a/newest.json"
    for key in (owner_key("a", 7), newest_owner_key("a")):
        with pytest.raises(ValueError, match="not the key"):
            parse_part_key(key)
        with pytest.raises(ValueError, match="not the key"):
            parse_manifest_key(key)


def test_raw_frames_to_the_letter_and_back():
    for compression, suffix in ((RawCompression.GZIP, "gz"), (RawCompression.ZSTD, "zst")):
        file = RawFile("binance-spot", "20260101", "a_1", SEGMENT, compression)
        assert file.key == f"_raw/exchange=binance-spot/date=20260101/part-a_1-1767280498692-000007.jsonl.{suffix}"
        assert file.manifest_key == f"{file.key}.json"
        assert RawFile.parse(file.key) == (file, False)
        assert RawFile.parse(file.manifest_key) == (file, True)


@given(st.text(min_size=1))
def test_no_exchange_leaves_the_archive(exchange):
    file = RawFile(exchange, "20260101", "a", SEGMENT, RawCompression.GZIP)
    assert RawFile.parse(file.key) == (file, False)
    assert len(file.key.split("/")) == 4


@pytest.mark.parametrize(
    "key",
    [
        "_raw/exchange=x/date=20260101/part-a-1-000001.jsonl",
        "_raw/exchange=x/date=20260101/part-a-1-1.jsonl.gz",
        "_raw/exchange=x/date=2026/part-a-1-000001.jsonl.gz",
        "exchange=x/date=20260101/part-a-1-000001.jsonl.gz",
        "_raw/exchange=x/date=20260101/part-a-1-000001.jsonl.gz#1",
    ],
)
def test_what_is_no_file_of_raw_frames(key):
    with pytest.raises(ValueError):
        RawFile.parse(key)
