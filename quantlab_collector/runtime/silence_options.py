"""What can be set about silence, and about how much of it degrades the service."""

from __future__ import annotations

import attrs

from quantlab_collector.contracts.units import Seconds


@attrs.frozen
class SilenceOptions:
    """Table ``[silence]``."""

    factor: int = 3
    """A topic is silent when nothing came for so many times the interval that its exchange keeps."""
    shortest: Seconds = Seconds(10.0)
    """And for at least so long."""
    first_message: Seconds = Seconds(45.0)
    """A topic that has delivered nothing so long after its connection was opened is mute; trades excepted."""
    first_trade: Seconds = Seconds(900.0)
    """The same for trades. Then the exchange is asked over REST whether there were any."""
    shortest_mute: Seconds = Seconds(30.0)
    """A topic that delivered and stopped is not taken for mute before so long."""
    history: Seconds = Seconds(600.0)
    """How long a topic's habit is watched before it is believed."""
    max_silences: int = 20
    """More silences than this within 15 minutes degrade the service."""
    max_gaps: int = 10
    """More gaps than this within 15 minutes degrade the service."""
    calm: Seconds = Seconds(10.0)
    """How long all must be well before a degraded service is ready again."""
