"""The accounting identity, whatever happens in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import Identity, Loss
from quantlab_collector.runtime.books import UNREADABLE, Books

BBO, TRADE = StreamType.BBO, StreamType.TRADE
KEYS = st.sampled_from([("binance", BBO), ("binance", TRADE), ("okx", BBO)])
COUNTS = st.integers(0, 1000)
REASONS = st.sampled_from(["queue_full", "spool_full"])

QUICK = settings(
    max_examples=60,
    stateful_step_count=30,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Moves(RuleBasedStateMachine):
    """Events go their way through the books; the machine knows where they must be."""

    books_class: type[Books] = Books

    def __init__(self) -> None:
        super().__init__()
        self.books = self.books_class()
        self.places: dict[str, dict[tuple[str, str], int]] = {
            place: {} for place in ("queue", "buffer", "journal", "written", "dropped", "rejected")
        }

    def put(self, place: str, key: tuple[str, str], count: int) -> None:
        self.places[place][key] = self.places[place].get(key, 0) + count

    def take(self, place: str, data: st.DataObject) -> tuple[tuple[str, StreamType], int]:
        key = data.draw(st.sampled_from([key for key, count in self.places[place].items() if count]))
        count = data.draw(st.integers(1, self.places[place][key]))
        self.places[place][key] -= count
        return key, count

    def has(self, place: str) -> bool:
        return any(self.places[place].values())

    @rule(key=KEYS, kept=COUNTS, dropped=COUNTS, reason=REASONS)
    def receive(self, key: tuple[str, StreamType], kept: int, dropped: int, reason: str) -> None:
        self.books.receive(*key, kept, dropped, reason)
        self.put("queue", key, kept)
        self.put("dropped", key, dropped)

    @rule(key=KEYS, count=st.integers(1, 5), unreadable=st.booleans())
    def reject(self, key: tuple[str, StreamType], count: int, unreadable: bool) -> None:
        exchange, stream = key
        self.books.reject(exchange, None if unreadable else stream, "not_a_number", count)
        self.put("rejected", (exchange, UNREADABLE if unreadable else stream), count)

    @precondition(lambda self: self.has("queue"))
    @rule(data=st.data())
    def buffer(self, data: st.DataObject) -> None:
        key, count = self.take("queue", data)
        self.books.buffer(*key, count)
        self.put("buffer", key, count)

    @precondition(lambda self: self.has("buffer"))
    @rule(data=st.data(), reason=REASONS)
    def discard(self, data: st.DataObject, reason: str) -> None:
        key, count = self.take("buffer", data)
        self.books.discard(*key, count, reason)
        self.put("dropped", key, count)

    @precondition(lambda self: self.has("buffer"))
    @rule(data=st.data())
    def journal(self, data: st.DataObject) -> None:
        key, count = self.take("buffer", data)
        self.books.journal(*key, count)
        self.put("journal", key, count)

    @precondition(lambda self: self.has("journal"))
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        key, count = self.take("journal", data)
        self.books.commit(*key, count)
        self.put("written", key, count)

    @invariant()
    def the_identity_holds(self) -> None:
        counters = self.books.counters()
        assert counters.holds
        assert all(identity.holds for identity in counters.by_stream.values())

    @invariant()
    def every_event_is_where_it_should_be(self) -> None:
        counters = self.books.counters()
        total = {place: sum(counts.values()) for place, counts in self.places.items()}
        assert counters.written == total["written"]
        assert counters.dropped == total["dropped"]
        assert counters.rejected == total["rejected"]
        assert counters.pending == total["queue"] + total["buffer"] + total["journal"]
        assert self.books.queued == total["queue"]
        for (exchange, stream), account in self.books.accounts.items():
            assert account.queued == self.places["queue"].get((exchange, stream), 0)
            assert account.buffered == self.places["buffer"].get((exchange, stream), 0)
            assert account.journaled == self.places["journal"].get((exchange, stream), 0)


class TestMoves(Moves.TestCase):
    settings = QUICK


class ForgetsTheDiscarded(Books):
    def discard(self, exchange: str, stream: StreamType, count: int, reason: str) -> None:
        self.account(exchange, stream).buffered -= count


class CountsTheDroppedTwice(Books):
    def receive(self, exchange: str, stream: StreamType, kept: int, dropped: int, reason: str) -> None:
        super().receive(exchange, stream, kept, dropped, reason)
        self.account(exchange, stream).dropped[reason] += dropped


class CommitsToTheWrongStream(Books):
    """In total these books even balance."""

    def commit(self, exchange: str, stream: StreamType, count: int) -> None:
        self.account(exchange, stream).journaled -= count
        self.account(exchange, TRADE).written += count


class MovesOnlyOneOfTwoQueues(Books):
    def buffer(self, exchange: str, stream: StreamType, count: int) -> None:
        super().buffer(exchange, stream, count)
        self.queued += 1


@pytest.mark.parametrize("broken", [ForgetsTheDiscarded, CountsTheDroppedTwice, CommitsToTheWrongStream, MovesOnlyOneOfTwoQueues])
def test_a_planted_bug_is_caught(broken: type[Books]) -> None:
    """The test above is worth as much as the bugs that it would find."""

    class Planted(Moves):
        books_class = broken

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Planted, settings=settings(QUICK, max_examples=500, phases=[Phase.generate]))


def test_a_stream_of_nothing_balances() -> None:
    assert Books().counters() == Books().counters()
    assert Books().counters().holds


def test_the_terms_of_one_stream() -> None:
    books = Books()
    books.receive("okx", TRADE, 10, 1, "queue_full")
    books.buffer("okx", TRADE, 8)
    books.discard("okx", TRADE, 1, "spool_full")
    books.journal("okx", TRADE, 5)
    books.commit("okx", TRADE, 2)

    assert books.counters().by_stream == {"okx/trade": Identity(received=11, written=2, dropped=2, pending=7, rejected=0)}


def test_losses_are_told_once() -> None:
    books = Books()
    books.receive("okx", TRADE, 0, 3, "queue_full")
    books.reject("okx", None, "not_json")
    assert books.losses() == ((Loss("okx", "trade", "queue_full", 3),), (Loss("okx", None, "not_json", 1),))

    books.losses_told(*books.losses())
    assert books.losses() == ((), ())

    books.receive("okx", TRADE, 0, 2, "queue_full")
    assert books.losses() == ((Loss("okx", "trade", "queue_full", 2),), ())
