"""What a segment tells besides rows is all that was known, however seldom it is written down."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_collector.contracts.manifest import Account, ConnectionWindow, Gap, Loss, Mute, Silence
from quantlab_collector.storage.journal import HEAD, MAGIC, Kind, SegmentWriter
from quantlab_collector.storage.journal_reading import read_segment
from storage.samples import HEADER, T0, bbo_batch

MAKERS = {
    "connections": lambda n, to: ConnectionWindow("x", "c", n, to),
    "gaps": lambda n, to: Gap("x", "c", n, to, "closed"),
    "mutes": lambda n, to: Mute("x", "c", "bbo", "A", n, to, "never spoke"),
    "silences": lambda n, to: Silence("x", "c", "bbo", "A", n, to, 1.0),
}
CHANGES = st.lists(
    st.lists(st.tuples(st.sampled_from(list(MAKERS)), st.sampled_from(["begin", "end"]), st.integers(0, 3)), max_size=5),
    min_size=1,
    max_size=8,
)


class Process:
    """What a process knows, in the order in which it tells it: what has ended, then what has not."""

    def __init__(self):
        self.open = {name: [] for name in MAKERS}
        self.ended = {name: [] for name in MAKERS}
        self.at = 0

    def live(self, changes):
        for name, what, which in changes:
            self.at += 1
            if what == "begin":
                self.open[name].append(self.at)
            elif self.open[name]:
                begun = self.open[name].pop(which % len(self.open[name]))
                self.ended[name].append(MAKERS[name](begun, self.at))
        still = {name: [MAKERS[name](begun, None) for begun in self.open[name]] for name in MAKERS}
        everything = {name: (*self.ended[name], *still[name]) for name in MAKERS}
        return Account(**everything, drops=(Loss("x", "bbo", "queue_full", self.at),))


@settings(deadline=None)
@given(changes=CHANGES, sealed=st.booleans())
def test_what_was_known_last_is_read_back(tmp_path_factory, changes, sealed):
    path = tmp_path_factory.mktemp("n") / "a.journal"
    process = Process()
    writer = SegmentWriter(path, HEADER, process.live(changes[0]))
    for number, some in enumerate(changes[1:]):
        known = process.live(some)
        writer.append([bbo_batch([number])], known)
        assert read_segment(path).account == known
    known = process.live([])
    writer.seal(known, T0) if sealed else writer.abandon()
    assert read_segment(path).account == known


@pytest.fixture
def troubled(tmp_path):
    """A segment in which every write brings ten more gaps, and what was known at each."""
    process = Process()
    writer = SegmentWriter(tmp_path / "a.journal", HEADER, process.live([]))
    for number in range(100):
        known = process.live([("gaps", "begin", 0), ("gaps", "end", 0)] * 10)
        writer.append([bbo_batch([number])], known)
    writer.seal(known, T0)
    return tmp_path / "a.journal", known


def frames(data):
    at = len(MAGIC) + 1
    while at < len(data):
        _, length, _, kind, *_ = HEAD.unpack_from(data, at)
        yield Kind(kind), at, at + HEAD.size + length
        at += HEAD.size + length


def test_what_has_ended_is_written_once_and_once_more_at_the_end(troubled):
    path, known = troubled
    data = path.read_bytes()
    told = [data[start:end].count(b'"since"') for kind, start, end in frames(data) if kind in (Kind.ACCOUNT, Kind.NEWS)]
    assert told == [0, *[10] * 100, len(known.gaps)]


def test_a_damaged_word_of_news_costs_a_sealed_segment_nothing_and_another_one_what_it_said(troubled, tmp_path):
    path, known = troubled
    data = bytearray(path.read_bytes())
    places = list(frames(data))
    _, start, end = [place for place in places if place[0] is Kind.NEWS][30]
    data[start + HEAD.size] ^= 1
    path.write_bytes(data)
    segment = read_segment(path)
    assert segment.account == known
    assert segment.holes == (f"{end - start} bytes at {start} are damaged",)
    crashed = tmp_path / "b.journal"
    crashed.write_bytes(data[: places[-2][1]])
    assert set(known.gaps) - set(read_segment(crashed).account.gaps) == set(known.gaps[300:310])
