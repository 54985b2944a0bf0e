"""A segment that waits for the store, as far as it must be known meanwhile.

After a night without the store hundreds of segments wait, and the parts of each may fill a manifest of megabytes. What is kept in
memory is where the pack is and a few numbers; the rest is read when it is the segment's turn.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.layout import SegmentId, manifest_key
from quantlab_collector.storage.pack import Pack


@attrs.frozen
class Shipment:
    """What stands in the line."""

    path: Path
    """Of the pack."""
    instance: str
    segment: SegmentId
    key: str
    """Of its manifest."""
    sealed: int
    bytes: int
    """Of all parts."""
    rows: Counter[tuple[str, StreamType]]
    holes: tuple[str, ...]

    @classmethod
    def of(cls, pack: Pack) -> Shipment:
        """Goes through all parts: for worker threads."""
        manifest, segment = pack.manifest, pack.segment
        return cls(
            path=pack.path,
            instance=manifest.instance,
            segment=segment,
            key=manifest_key(manifest.instance, segment, manifest.opened),
            sealed=manifest.sealed,
            bytes=manifest.bytes,
            rows=Counter(pack.rows_by_stream()),
            holes=manifest.holes,
        )
