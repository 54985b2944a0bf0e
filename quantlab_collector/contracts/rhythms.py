"""How often an exchange sends something: what silence means depends on it."""

from __future__ import annotations

import attrs


@attrs.frozen
class Rhythm:
    """Of one stream of an exchange, for each of its symbols."""

    every: float | None = None
    """Seconds: the longest time that passes between two messages when all is well. ``None`` where something is sent only when
    something happens, and nobody can say when that is."""
    first: float = 0.0
    """Seconds that the first message may take after subscribing, where that is long."""


NO_RHYTHM = Rhythm()
"""Of a stream of which nothing is known."""
