"""What can be set about the archive of raw frames."""

from __future__ import annotations

import attrs

from quantlab_collector.contracts.layout import RawCompression
from quantlab_collector.contracts.units import Bytes, Seconds


@attrs.frozen
class RawArchiveOptions:
    """Table ``[raw_archive]``."""

    enabled: bool = False
    compression: RawCompression = RawCompression.GZIP
    rotate_bytes: Bytes = Bytes(2_000_000)
    """Of lines, before compression."""
    rotate_after: Seconds = Seconds(5.0)
    queue_bytes: Bytes = Bytes(64 * 1024**2)
    """Frames between the sockets and the archive. Beyond it the newest are dropped and counted."""
    max_bytes: Bytes = Bytes(2 * 1024**3)
    """Of the spool, besides what ``[spool]`` says. Beyond it frames are dropped and counted, until there is room."""
