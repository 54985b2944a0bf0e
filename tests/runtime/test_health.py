"""One word for the state of the service."""

from __future__ import annotations

import pytest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import Mute
from quantlab_collector.runtime.health import Assessment, Health, ServiceHealth, assess, not_recording, queue_pct
from quantlab_collector.runtime.lifecycle import Lifecycle, State
from quantlab_collector.runtime.silence_options import SilenceOptions
from quantlab_collector.runtime.state import ConnectionState, ServiceState, Snapshot

BBO = StreamType.BBO


def service(*connections: State, queue_capacity: int = 100) -> ServiceState:
    state = ServiceState("a", "0.1.0", started_ns=0, started=0.0, queue_capacity=queue_capacity)
    for number, at in enumerate(connections):
        lifecycle = Lifecycle(at, 0, "told off")
        state.connections.append(ConnectionState("okx", f"public-{number}", "wss://localhost", (), lifecycle))
    state.sample(0.0, 0)
    return state


def look(state: ServiceState) -> Snapshot:
    state.sample(1.0, 0)
    return state.snapshot(1.0)


def test_all_is_well() -> None:
    snapshot = look(service(State.ACTIVE))

    assert assess(snapshot) == Assessment(ServiceHealth.READY)
    assert not_recording(snapshot) is None


@pytest.mark.parametrize("state", [state for state in State if state not in (State.CONNECTED, State.SUBSCRIBING, State.ACTIVE)])
def test_without_an_open_socket_it_is_offline(state: State) -> None:
    snapshot = look(service(state))

    assert assess(snapshot) == Assessment(ServiceHealth.OFFLINE, ("no WebSocket is connected",))
    assert not_recording(snapshot) == "no WebSocket is connected"


def test_connected_is_not_yet_recording() -> None:
    snapshot = look(service(State.SUBSCRIBING))

    assert assess(snapshot).state is ServiceHealth.READY
    assert not_recording(snapshot) == "no connection has delivered data yet"


def test_drops_degrade() -> None:
    state = service(State.ACTIVE)
    state.books.receive("okx", BBO, 0, 3, "queue_full")

    assert assess(look(state)) == Assessment(ServiceHealth.DEGRADED, ("3 events dropped in the last 15 minutes",))


@pytest.mark.parametrize(("queued", "word"), [(80, ServiceHealth.READY), (81, ServiceHealth.DEGRADED)])
def test_a_queue_that_fills_degrades(queued: int, word: ServiceHealth) -> None:
    state = service(State.ACTIVE)
    state.books.receive("okx", BBO, queued, 0, "")

    assert assess(look(state)).state is word
    assert queue_pct(look(state)) == queued


def test_one_connection_in_error_degrades_and_is_named() -> None:
    assert assess(look(service(State.ACTIVE, State.ERROR))) == Assessment(
        ServiceHealth.DEGRADED, ("okx/public-1 is in ERROR: told off",)
    )


def test_a_store_that_takes_nothing_degrades_and_is_not_ready() -> None:
    state = service(State.ACTIVE)
    state.writer.storage_fault = "throttled"
    snapshot = look(state)

    assert assess(snapshot) == Assessment(ServiceHealth.DEGRADED, ("the store does not take data: throttled",))
    assert not_recording(snapshot) == "data does not reach the store"


def test_books_that_do_not_balance_degrade() -> None:
    state = service(State.ACTIVE)
    state.books.account("okx", BBO).received += 1

    assert assess(look(state)) == Assessment(ServiceHealth.DEGRADED, ("the books do not balance",))


def test_all_reasons_are_given() -> None:
    state = service(State.ACTIVE, State.ERROR)
    state.books.receive("okx", BBO, 90, 1, "queue_full")
    state.writer.storage_fault = "throttled"

    assert len(assess(look(state)).reasons) == 4


def test_the_worst_word_wins() -> None:
    state = service(State.RECONNECTING)
    state.books.receive("okx", BBO, 0, 3, "queue_full")
    assert assess(look(state)).state is ServiceHealth.OFFLINE

    state.fatal = "the writer failed"
    assert assess(look(state)) == Assessment(ServiceHealth.ERROR, ("the writer failed",))
    assert not_recording(look(state)) == "the writer failed"


def test_a_collector_that_may_not_ship_is_in_error() -> None:
    state = service(State.ACTIVE)
    state.writer.shipping_blocked = "another collector ships as instance 'a'"

    assert assess(look(state)) == Assessment(ServiceHealth.ERROR, ("another collector ships as instance 'a'",))
    assert not_recording(look(state)) == "another collector ships as instance 'a'"


def test_stopping_is_not_ready_whatever_else() -> None:
    state = service(State.ACTIVE)
    state.stopping = True

    assert not_recording(look(state)) == "stopping"


def test_the_standing_keeps_the_time_of_its_word() -> None:
    health = Health(5)
    assert (health.standing.assessment.state, health.standing.since_ns) == (ServiceHealth.OFFLINE, 5)

    assert health.judge(Assessment(ServiceHealth.READY), 10) is ServiceHealth.OFFLINE
    assert health.standing.since_ns == 10

    assert health.judge(Assessment(ServiceHealth.READY), 20) is None
    assert health.standing.since_ns == 10

    assert health.judge(Assessment(ServiceHealth.DEGRADED, ("a",)), 30) is ServiceHealth.READY
    assert health.judge(Assessment(ServiceHealth.DEGRADED, ("b",)), 40) is None
    assert (health.standing.assessment.reasons, health.standing.since_ns) == (("b",), 30)


def test_a_snapshot_shares_nothing_that_changes() -> None:
    state = service(State.ACTIVE)
    state.books.receive("okx", BBO, 1, 1, "queue_full")
    snapshot = state.snapshot(1.0)
    before = repr(snapshot)

    state.books.receive("okx", BBO, 1, 1, "queue_full")
    state.books.reject("okx", None, "not_json")
    state.connections[0].lifecycle.move(State.STOPPED, 1, "over")
    state.connections[0].refused["x"] = "y"
    state.writer.files_written += 1
    state.unknown["okx", "news"] += 1

    assert repr(snapshot) == before


# --------------------------------------------------------------------------------------------------- what is missing


def mute(symbol: str | None, stream: str | None = "bbo") -> Mute:
    return Mute("okx", "public-0", stream, symbol, 1, None, "stopped")


def test_mutes_degrade_and_the_first_are_named() -> None:
    state = service(State.ACTIVE)
    for muted in (mute(None, None), *(mute(f"S{number}") for number in range(4))):
        state.signals.mutes.begin(muted)

    assert assess(look(state)).reasons == ("5 mute: okx/public-0, okx/bbo/S0, okx/bbo/S1, …",)
    state.signals.mutes.open.clear()
    assert assess(look(state)).state is ServiceHealth.READY


@pytest.mark.parametrize(("kind", "most"), [("silences", 20), ("gaps", 10)])
def test_too_many_within_fifteen_minutes_degrade(kind: str, most: int) -> None:
    state = service(State.ACTIVE)
    getattr(state.signals, kind).total = most
    assert assess(look(state)).state is ServiceHealth.READY

    getattr(state.signals, kind).total = most + 1
    assert assess(look(state)).reasons == (f"{most + 1} {kind} in the last 15 minutes",)
    assert assess(look(state), SilenceOptions(max_silences=most + 1, max_gaps=most + 1)).state is ServiceHealth.READY
    state.sample(901.0, 0)
    assert assess(state.snapshot(901.0)).state is ServiceHealth.READY


def test_a_connection_that_stays_away_degrades() -> None:
    state = service(State.ACTIVE, State.RECONNECTING)
    state.connections[1].lost_ns, state.connections[1].lost_reason = 0, "cut"

    assert assess(state.snapshot(59.0)).state is ServiceHealth.READY
    assert assess(state.snapshot(61.0)).reasons == ("okx/public-1 has brought nothing for 61 s: cut",)


def test_a_queue_that_was_too_full_must_be_much_emptier() -> None:
    state, health = service(State.ACTIVE), Health(0, SilenceOptions(calm=1e-9))
    books = state.books.account("okx", BBO)
    words = []
    for now, queued in enumerate([79, 81, 79, 61, 60, 61, 79, 81]):
        state.books.queued = books.received = books.queued = queued
        health.look(look(state), float(now), now)
        words.append(health.standing.assessment.state is ServiceHealth.DEGRADED)

    assert words == [False, True, True, True, False, False, False, True]


def test_ready_again_only_after_a_while_of_calm() -> None:
    state, health = service(State.ACTIVE), Health(0, SilenceOptions(calm=10.0))
    moves = []
    for now in range(60):
        state.writer.storage_fault = "throttled" if now in (10, 15, 18) else None
        if (before := health.look(look(state), float(now), now)) is not None:
            moves.append((now, before.value, health.standing.assessment.state.value))
        if now == 20:
            assert health.standing.assessment.reasons == ("until a moment ago: the store does not take data: throttled",)

    assert moves == [(0, "OFFLINE", "READY"), (10, "READY", "DEGRADED"), (28, "DEGRADED", "READY")]
    assert health.standing.since_ns == 28
