"""What can be set about the intake."""

from __future__ import annotations

from enum import StrEnum

import attrs

from quantlab_collector.contracts.units import Seconds


class WireKind(StrEnum):
    """The two wires."""

    FAST = "fast"
    TRIO_WEBSOCKET = "trio-websocket"


class AfterMaxAttempts(StrEnum):
    """What happens when a connection failed ``max_attempts`` times in a row."""

    PROBE = "probe"
    """Its state is ERROR, and it is tried again at the longest interval."""
    STOP = "stop"
    """Its state is ERROR, and it is not tried again."""


@attrs.frozen
class IntakeOptions:
    """Table ``[intake]``."""

    wire: WireKind = WireKind.FAST
    connect_timeout: Seconds = Seconds(10.0)
    idle_timeout: Seconds = Seconds(30.0)
    """No data for so long, and the socket is taken for dead. Heartbeats do not count."""


@attrs.frozen
class QueueOptions:
    """Table ``[queue]``."""

    max_events: int = 500_000


@attrs.frozen
class ReconnectOptions:
    """Table ``[reconnect]``."""

    first: Seconds = Seconds(1.0)
    cap: Seconds = Seconds(30.0)
    stable_after: Seconds = Seconds(30.0)
    """Data must have flowed for so long before the next failure counts as the first again."""
    max_attempts: int = 10
    after_max_attempts: AfterMaxAttempts = AfterMaxAttempts.PROBE
