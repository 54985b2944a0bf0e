"""What came out of the runs, and the ratios between them."""

from __future__ import annotations

import attrs
from measure import Sample

PLAIN, TLS = "plain", "tls"


@attrs.frozen
class Result:
    """Some runs of one row, under the same conditions."""

    row: str
    exchange: str
    transport: str
    symbols: int
    rate: float | None = None
    samples: list[Sample] = attrs.field(factory=list)

    @property
    def middle(self) -> Sample:
        """The run with the median of CPU."""
        return sorted(self.samples, key=lambda sample: sample.per_message)[len(self.samples) // 2]

    @property
    def lost(self) -> int:
        """Events, at worst."""
        return max(sample.lost for sample in self.samples)

    def beside(self, row: str, results: list[Result]) -> Result | None:
        """Another row under the same conditions."""
        wanted = attrs.evolve(self, row=row, samples=[])
        return next((result for result in results if attrs.evolve(result, samples=[]) == wanted), None)


def find(results: list[Result], row: str, exchange: str, transport: str) -> Result | None:
    """The runs of a row that lost nothing, at the highest rate."""
    of = [result for result in results if (result.row, result.exchange, result.transport) == (row, exchange, transport)]
    return next((result for result in of if not result.lost), None)
