"""Histograms out of Prometheus text."""

from __future__ import annotations

import re
from itertools import pairwise

from quantlab_collector.runtime.histograms import Distribution

_BUCKET = r'^{name}_bucket{{(?:[^}}]*,)?le="([^"]+)"[^}}]*}} (\S+)$'
_SUM = r"^{name}_sum(?:{{[^}}]*}})? (\S+)$"


def distribution(text: str, name: str) -> Distribution:
    """A histogram, all its labels together."""
    cumulative: dict[float, float] = {}
    for bound, count in re.findall(_BUCKET.format(name=name), text, re.MULTILINE):
        cumulative[float(bound)] = cumulative.get(float(bound), 0.0) + float(count)
    bounds = sorted(cumulative)
    counts = [round(cumulative[bound]) for bound in bounds]
    total = sum(map(float, re.findall(_SUM.format(name=name), text, re.MULTILINE)))
    return Distribution(tuple(bounds[:-1]), tuple(after - before for before, after in pairwise([0, *counts])), total)


def between(before: Distribution, after: Distribution) -> Distribution:
    """What was added."""
    if not before.counts:
        return after
    counts = tuple(late - early for early, late in zip(before.counts, after.counts, strict=True))
    return Distribution(after.bounds, counts, after.sum - before.sum)
