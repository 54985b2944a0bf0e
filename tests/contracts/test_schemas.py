"""RAW v1 to the letter. A change here is a change of everybody's recordings."""

import gc

import pytest

from quantlab_collector.contracts.events import EVENT_CLASSES, Bbo, Burst, Funding, MarkPrice, OpenInterest, StreamType, Trade
from quantlab_collector.contracts.schemas import RAW, identity, journal_batch, journal_schema, raw_table

COMMON = [
    ("ts_event", "int64", False),
    ("ts_recv", "int64", False),
    ("exchange", "string", False),
    ("symbol", "string", False),
    ("stream", "string", False),
    ("stream_version", "int8", False),
]
GOLDEN = {
    "bbo": [
        ("bid_price", "double", True),
        ("bid_qty", "double", True),
        ("ask_price", "double", True),
        ("ask_qty", "double", True),
    ],
    "trade": [("price", "double", False), ("qty", "double", False), ("side", "int8", False), ("trade_id", "string", False)],
    "mark_price": [("mark_price", "double", False), ("index_price", "double", True)],
    "funding": [("funding_rate", "double", False), ("next_funding_ts", "int64", False)],
    "open_interest": [("open_interest", "double", False)],
}
EVENTS = {
    "bbo": Bbo(1, 2, "x", "BTCUSDT", 1.5, None, 2.5, 3.0),
    "trade": Trade(1, 2, "x", "BTCUSDT", 1.5, 2.0, -1, "77"),
    "mark_price": MarkPrice(1, 2, "x", "BTCUSDT", 1.5, None),
    "funding": Funding(1, 2, "x", "BTCUSDT", -0.0001, 3),
    "open_interest": OpenInterest(1, 2, "x", "BTCUSDT", 12.0),
}


def test_the_streams_are_these_five():
    assert [stream.value for stream in StreamType] == list(GOLDEN)


@pytest.mark.parametrize("stream", StreamType)
def test_schema_to_the_letter(stream):
    assert [(f.name, str(f.type), f.nullable) for f in RAW[stream]] == COMMON + GOLDEN[stream.value]


@pytest.mark.parametrize("stream", StreamType)
def test_events_have_the_columns_of_their_schema(stream):
    constant = ("stream", "stream_version")
    assert list(EVENT_CLASSES[stream].__struct_fields__) == [name for name in RAW[stream].names if name not in constant]


@pytest.mark.parametrize("stream", StreamType)
def test_an_event_goes_through_columns_unchanged(stream):
    event = EVENTS[stream.value]
    batch = journal_batch(journal_schema("x", stream), [event, event])
    assert identity(batch.schema) == ("x", stream)
    table = raw_table(batch, "x", stream, "BTCUSDT")
    assert table.schema.equals(RAW[stream])
    expected = {name: getattr(event, name) for name in event.__struct_fields__} | {"stream": stream.value, "stream_version": 1}
    assert table.to_pylist() == [expected] * 2


def test_journal_batches_of_another_version_are_refused():
    schema = journal_schema("x", StreamType.BBO)
    other = schema.with_metadata({**schema.metadata, b"stream_version": b"2"})
    with pytest.raises(ValueError, match="stream version"):
        identity(other)


def test_half_a_million_events_are_invisible_to_the_garbage_collector():
    assert not any(gc.is_tracked(event) for event in EVENTS.values())
    assert not gc.is_tracked(Burst("x", StreamType.BBO, []))
