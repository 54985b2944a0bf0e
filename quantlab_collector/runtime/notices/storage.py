"""What is worth telling of the way to the store."""

from __future__ import annotations

from typing import ClassVar

import attrs

from quantlab_collector.runtime.notices.telling import WARNING, Notice
from quantlab_collector.runtime.state import ServiceState


@attrs.frozen
class SegmentCommitted(Notice):
    """A segment is in the store, and its manifest names its parts."""

    event: ClassVar[str] = "segment_committed"
    segment: str
    rows: int
    parts: int
    bytes: int
    recovered: bool
    seconds: float
    """From sealed to committed."""

    def count(self, state: ServiceState) -> None:
        """Files and segments; the books are moved by stream, where the parts are known."""
        state.writer.files_written += self.parts
        state.writer.segments_committed += 1
        state.writer.storage_fault = None


@attrs.frozen
class SegmentRecovered(Notice):
    """A segment of an earlier process was found and is being shipped."""

    event: ClassVar[str] = "segment_recovered"
    level: ClassVar[int] = WARNING
    segment: str
    rows: int
    holes: tuple[str, ...]


@attrs.frozen
class UploadFailed(Notice):
    """The store did not take a file. It is tried again."""

    event: ClassVar[str] = "upload_failed"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    key: str
    fault: str
    retry_in: float

    def count(self, state: ServiceState) -> None:
        """One failure more, and the reason why nothing is shipped."""
        state.writer.upload_failures += 1
        state.writer.storage_fault = self.fault


@attrs.frozen
class Quarantined(Notice):
    """Something in the spool is not ours or cannot be read. It was put aside, not deleted."""

    event: ClassVar[str] = "spool_quarantine"
    level: ClassVar[int] = WARNING
    path: str
    reason: str
