"""The table of legal moves."""

from __future__ import annotations

from itertools import product

import pytest

from quantlab_collector.runtime.lifecycle import ALLOWED, UP, IllegalMoveError, Lifecycle, State

LEGAL = {
    "STOPPED": "CONNECTING",
    "CONNECTING": "CONNECTED RECONNECTING ERROR STOPPED",
    "CONNECTED": "SUBSCRIBING RECONNECTING ERROR STOPPED",
    "SUBSCRIBING": "ACTIVE RECONNECTING ERROR STOPPED",
    "ACTIVE": "RECONNECTING ERROR STOPPED",
    "RECONNECTING": "CONNECTING STOPPED",
    "ERROR": "CONNECTING STOPPED",
}
"""Written out once more, so that a change of the table is a decision."""


@pytest.mark.parametrize(("old", "new"), list(product(State, State)))
def test_every_pair_of_states(old: State, new: State) -> None:
    lifecycle = Lifecycle(old, 1, "before")

    if new in LEGAL[old].split():
        lifecycle.move(new, 2, "because")
        assert (lifecycle.state, lifecycle.since_ns, lifecycle.reason) == (new, 2, "because")
    else:
        with pytest.raises(IllegalMoveError, match=f"^{old} → {new}$"):
            lifecycle.move(new, 2, "because")
        assert (lifecycle.state, lifecycle.since_ns, lifecycle.reason) == (old, 1, "before")


def test_a_reason_is_forgotten_with_the_state_it_was_for() -> None:
    lifecycle = Lifecycle(State.ERROR, 1, "refused")
    lifecycle.move(State.CONNECTING, 2)

    assert lifecycle.reason == ""


def test_every_state_can_be_reached_and_left() -> None:
    assert set(ALLOWED) == set(State)
    assert set().union(*ALLOWED.values()) == set(State)
    assert all(ALLOWED.values())


def test_a_socket_is_open_in_these_states() -> None:
    assert {State.CONNECTED, State.SUBSCRIBING, State.ACTIVE} == UP
