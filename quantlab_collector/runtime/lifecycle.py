"""The states of a connection and the table of legal moves."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import attrs


class State(StrEnum):
    """Where a connection is."""

    STOPPED = "STOPPED"
    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    SUBSCRIBING = "SUBSCRIBING"
    ACTIVE = "ACTIVE"
    """Data flows: an acknowledgement alone proves nothing."""
    RECONNECTING = "RECONNECTING"
    """Waiting before the next attempt."""
    ERROR = "ERROR"
    """Failed too often in a row; probing at the longest interval, or given up, as configured."""


_DOWN = {State.RECONNECTING, State.ERROR, State.STOPPED}

ALLOWED: Final[dict[State, set[State]]] = {
    State.STOPPED: {State.CONNECTING},
    State.CONNECTING: {State.CONNECTED} | _DOWN,
    State.CONNECTED: {State.SUBSCRIBING} | _DOWN,
    State.SUBSCRIBING: {State.ACTIVE} | _DOWN,
    State.ACTIVE: _DOWN,
    State.RECONNECTING: {State.CONNECTING, State.STOPPED},
    State.ERROR: {State.CONNECTING, State.STOPPED},
}

UP: Final = frozenset({State.CONNECTED, State.SUBSCRIBING, State.ACTIVE})
"""The socket is open."""


class IllegalMoveError(Exception):
    """A bug: a connection was moved in a way the table does not know."""


@attrs.define(eq=False)
class Lifecycle:
    """The state of one connection, since when, and why."""

    state: State = State.STOPPED
    since_ns: int = 0
    reason: str = ""

    def move(self, to: State, now_ns: int, reason: str = "") -> None:
        """Go to another state."""
        if to not in ALLOWED[self.state]:
            raise IllegalMoveError(f"{self.state} → {to}")
        self.state, self.since_ns, self.reason = to, now_ns, reason
