"""When a segment is sealed: the rule by itself, and a writer that follows it."""

import math

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.schemas import journal_batch, journal_schema
from quantlab_collector.contracts.units import Bytes, Seconds
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer import segments
from quantlab_collector.writer.context import WriterContext
from quantlab_collector.writer.options import FlushOptions
from quantlab_collector.writer.sealing import Filling, first_latest, is_due
from quantlab_collector.writer.segments import SegmentRoll
from quantlab_collector.writer.threads import Threads
from storage.samples import bbo, bbo_batch
from writer.workbench import Bench, options_with, until

OPTIONS = FlushOptions(Seconds(60), Seconds(900), part_rows=4000, max_bytes=Bytes(1000), min_gap=Seconds(1))


@pytest.mark.parametrize(
    ("age", "size", "rows_of_a_part", "latest", "due"),
    [
        (59.9, 249, 1e9, 900, False),  # not before the interval
        (60, 0, 4000, 900, True),  # parts are large enough
        (60, 0, 3999.9, 900, False),
        (899, 999, 3999, 900, False),
        (900, 0, 0, 900, True),  # it has waited long enough
        (0.9, 1000, 0, 900, False),  # a burst
        (1, 1000, 0, 900, True),
        (1, 250, 4000, 900, True),  # a busy market
        (0.9, 250, 4000, 900, False),
        (59, 249, 4000, 900, False),
        (59, 999, 3999, 900, False),
        (30, 0, 1, 30, True),  # the first one
        (29, 249, 1e9, 30, False),
    ],
)
def test_when_a_segment_is_due(age, size, rows_of_a_part, latest, due):
    assert is_due(OPTIONS, age=age, size=size, rows_of_a_part=rows_of_a_part, latest=latest) is due


@pytest.mark.parametrize(
    ("parts", "luck", "latest"),
    [
        (0, 1.0, 60),
        (1, 0.5, 30),
        (1000, 1.0, 60),  # so many are soon made
        (6000, 1.0, 360),
        (6000, 0.5, 180),
        (18_000, 1.0, 900),  # as long as any other
    ],
)
def test_the_first_segment_waits_longer_the_more_files_it_becomes(parts, luck, latest):
    assert first_latest(OPTIONS, parts, luck) == latest


def test_where_every_segment_is_short_the_first_one_is_no_longer():
    options = FlushOptions(Seconds(60), Seconds(1))
    assert first_latest(options, 50_000, 1.0) == 60


FILLINGS = {
    "age": st.floats(0, 2000),
    "size": st.integers(0, 2000),
    "rows_of_a_part": st.floats(0, 10_000),
    "latest": st.floats(0, 900),
}


@given(**FILLINGS, more=st.fixed_dictionaries({"age": st.floats(0, 2000), "size": st.integers(0, 2000)}))
def test_what_is_due_stays_due_when_it_grows(age, size, rows_of_a_part, latest, more):
    """More rows in more partitions may make parts smaller on average: there is no such promise for them."""
    grown = {"age": age + more["age"], "size": size + more["size"], "rows_of_a_part": rows_of_a_part, "latest": latest}
    assert is_due(OPTIONS, **grown) or not is_due(OPTIONS, age=age, size=size, rows_of_a_part=rows_of_a_part, latest=latest)


@given(**FILLINGS)
def test_one_row_a_part_is_every_interval(age, size, rows_of_a_part, latest):
    options = attrs.evolve(OPTIONS, part_rows=1)
    by_age_and_size = age >= min(60, latest) or (size >= 250 and age >= 1)
    assert is_due(options, age=age, size=size, rows_of_a_part=1 + rows_of_a_part, latest=latest) is by_age_and_size


SYMBOLS = st.lists(st.sampled_from("ABCDEFGH"), min_size=1, max_size=20)


@given(batches=st.lists(st.tuples(st.sampled_from(["x", "y"]), SYMBOLS), max_size=8))
def test_a_filling_knows_the_parts_that_it_will_become(batches):
    filling = Filling()
    for exchange, symbols in batches:
        events = [bbo(n, symbol) for n, symbol in enumerate(symbols)]
        filling.add(journal_batch(journal_schema(exchange, StreamType.BBO), events))
    partitions = {(exchange, symbol) for exchange, symbols in batches for symbol in symbols}
    rows = sum(len(symbols) for _, symbols in batches)
    assert (filling.parts, filling.rows.total()) == (len(partitions), rows)
    assert filling.rows_of_a_part == rows / max(len(partitions), 1)


def test_streams_of_one_symbol_are_parts_of_their_own():
    filling = Filling()
    filling.add(bbo_batch(range(30)))
    filling.add(bbo_batch(range(10), "ETHUSDT"))
    assert (filling.parts, filling.rows_of_a_part, filling.rows) == (2, 20, {("x", StreamType.BBO): 40})


# ------------------------------------------------------------------------------------------------------------- a writer


class Roll:
    """Segments being written at times that a test tells."""

    def __init__(self, folder, spool, options):
        self.now = 0.0
        bench = Bench(folder, options=options)
        self.state = bench.state
        context = WriterContext(spool, bench.objects, bench.state, bench.notices, options, Threads(1), {}, epoch_ms=1)
        filled, self._filled = trio.open_memory_channel(math.inf)
        self.roll = SegmentRoll(context, filled, lambda: self.now)

    async def append(self, batch, at):
        self.now = at
        await self.roll.append([batch])

    def sealed(self):
        """The rows of each segment that was sealed by now."""
        rows = []
        while self._filled.statistics().current_buffer_used:
            rows.append(self._filled.receive_nowait().rows.total())
        return rows


OPEN_END = options_with(flush=60, part_rows=500)


@pytest.fixture
def roll(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield Roll(tmp_path, spool, OPEN_END)
    spool.close()


async def test_the_first_segment_does_not_wait_and_the_others_until_parts_are_large(roll):
    await roll.append(bbo_batch(range(10)), at=0)
    await roll.append(bbo_batch(range(10)), at=29)
    assert roll.sealed() == []
    await roll.append(bbo_batch(range(10)), at=60)
    assert roll.sealed() == [30]
    await roll.append(bbo_batch(range(499)), at=100)
    await roll.append(bbo_batch(range(499), "ETHUSDT"), at=159)
    await roll.append(bbo_batch(range(1)), at=500)
    assert roll.sealed() == []
    await roll.append(bbo_batch(range(1)), at=501)
    assert roll.sealed() == [1000]


async def test_a_segment_waits_no_longer_than_it_may(roll):
    await roll.append(bbo_batch(range(10)), at=0)
    await roll.append(bbo_batch(range(10)), at=60)
    await roll.append(bbo_batch(range(10)), at=70)
    await roll.append(bbo_batch(range(10)), at=969)
    assert roll.sealed() == [20]
    await roll.append(bbo_batch(range(10)), at=970)
    assert roll.sealed() == [30]


async def test_a_segment_to_which_nothing_can_be_added_does_not_wait(roll, monkeypatch):
    monkeypatch.setattr(segments, "PATIENCE", 0.01)
    await roll.append(bbo_batch(range(10)), at=0)
    await roll.append(bbo_batch(range(10)), at=60)
    await roll.append(bbo_batch(range(10)), at=70)
    assert roll.sealed() == [20]
    roll.state.writer.spool_bytes = 2**41
    async with trio.open_nursery() as nursery:
        nursery.start_soon(roll.append, bbo_batch(range(7)), 130)
        await until(lambda: roll.state.writer.sealed_segments == 2)
        assert roll.sealed() == [10]
        roll.state.writer.spool_bytes = 0
    assert roll.state.writer.segment_rows == 7
