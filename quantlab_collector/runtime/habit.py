"""The habit of one topic: how often it delivers, and how long it is quiet at most. From it follows when quiet is no longer quiet.

Time is counted in looks at which something came on the connection, about one a second. A topic has stopped when three things are
true of its quiet: by its habit it has a chance of less than one in a thousand million, it is six times as long as the
longest before, and it has lasted for half a minute. The second keeps what goes in bursts from alarming, the first what is rare.
"""

from __future__ import annotations

import math
from typing import Final

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import Mute, Silence
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.silence_options import SilenceOptions

CHANCE: Final = 1e-9
PATIENCE: Final = 6.0
"""So many times the longest quiet that it had before."""

ENOUGH: Final = 30.0
"""A topic that delivers at fewer looks than this, of those that are remembered, has no habit."""

TRUST: Final = 10.0
"""A habit is believed when it was watched for so many times the quiet that it calls too long. Busy topics show theirs soon."""

HALF_LIFE: Final = 3_600
"""Looks after which what was counted before counts half: nights are not like days."""

REMEMBERED: Final = 24
"""Half-lives for which the longest quiet is remembered, twice: a day at least."""

ASK_AGAIN: Final = 60.0
"""Looks until a topic without a habit is thought about again."""


class Habit:
    """One topic. The loop over all topics works on its fields, for there may be many thousand of them."""

    __slots__ = (
        "base",
        "check_at",
        "first",
        "hits",
        "longest",
        "longest_before",
        "mute",
        "quiet_since",
        "seen_ns",
        "silence",
        "topic",
    )

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.seen_ns = 0
        """When it last delivered."""
        self.quiet_since = 0.0
        """The look that found that."""
        self.check_at = 0.0
        """The look at which its quiet is to be thought about."""
        self.hits = 0.0
        """Looks that found something of it, the old ones counting less."""
        self.first = 0.0
        """The look at which it delivered for the first time."""
        self.base = 0.0
        """The weight of all looks then, since become less like them."""
        self.longest = self.longest_before = 0.0
        self.mute: Mute | None = None
        self.silence: Silence | None = None

    def limit(self, weight: float, options: SilenceOptions) -> float | None:
        """The quiet, in looks, after which it has stopped; ``None`` while it has no habit. ``weight`` is that of all looks."""
        watched = weight - self.base
        if self.hits < ENOUGH:
            return None
        rarely = 1.0 - self.hits / watched
        by_chance = math.log(CHANCE) / math.log(rarely) if rarely > 0.0 else 0.0
        limit = max(options.shortest_mute, PATIENCE * self.longest_quiet, by_chance)
        believed = self.quiet_since - self.first >= max(options.history, TRUST * limit)
        return limit if believed else None

    @property
    def longest_quiet(self) -> float:
        """Of a day and more."""
        return max(self.longest, self.longest_before)

    def learn(self, quiet: float) -> None:
        """A mute is over. As it was a fault, it says little of the habit; if it was none, the next will alarm later.

        Trades come in bursts: one that was wrongly taken for mute is not taken for it again so soon.
        """
        self.longest = max(self.longest, quiet if self.topic.stream is StreamType.TRADE else min(quiet, 2.0 * self.longest_quiet))

    def half_forget(self) -> None:
        """A half-life has passed."""
        self.hits /= 2.0
        self.base /= 2.0

    def next_day(self) -> None:
        """The longest quiet of the day before yesterday is forgotten."""
        self.longest_before, self.longest = self.longest, 0.0
