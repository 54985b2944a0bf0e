"""What is worth telling of the way to the store."""

from __future__ import annotations

from typing import ClassVar

import attrs

from quantlab_collector.runtime.notices.telling import ERROR, WARNING, Notice
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
    """The store did not do something. It is tried again."""

    event: ClassVar[str] = "upload_failed"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    key: str
    kind: str
    """What has to happen: transient and throttled pass by themselves; auth, clock and config are for a person."""
    fault: str
    retry_in: float
    """Seconds until the store is asked again, by this upload or another one."""

    def count(self, state: ServiceState) -> None:
        """One failure more, and the reason why nothing is shipped."""
        state.writer.upload_failures += 1
        state.writer.storage_fault = f"{self.kind}: {self.fault}"


@attrs.frozen
class StoreRecovered(Notice):
    """The store does again what it is asked for."""

    event: ClassVar[str] = "store_recovered"
    failures: int
    """In a row, not counting what failed together."""

    def count(self, state: ServiceState) -> None:
        """Nothing is wrong any more."""
        state.writer.storage_fault = None


@attrs.frozen
class DrainProgress(Notice):
    """How a backlog does, or what a stop waits for."""

    event: ClassVar[str] = "drain_progress"
    segments: int
    bytes: int
    bytes_per_sec: int
    seconds_left: float | None
    """At this rate; nothing where nothing moves."""


@attrs.frozen
class ShippingClaimed(Notice):
    """From now on this collector, and no other, ships as this instance."""

    event: ClassVar[str] = "shipping_claimed"
    instance: str
    claim: int
    after: str | None
    """The host that held the claim before."""

    def count(self, state: ServiceState) -> None:
        """Nothing is in the way."""
        state.writer.shipping_blocked = None


@attrs.frozen
class ShippingRefused(Notice):
    """Another collector ships as this instance. This one records, ships nothing, and keeps everything in its spool."""

    event: ClassVar[str] = "shipping_refused"
    level: ClassVar[int] = ERROR
    instance: str
    host: str
    since: str
    """When the other one claimed the instance."""
    text: str

    def count(self, state: ServiceState) -> None:
        """For the state of the service."""
        state.writer.shipping_blocked = self.text


@attrs.frozen
class ShippingTakenOver(ShippingRefused):
    """The other one came later: it found this one quiet for too long, and took the instance over."""

    event: ClassVar[str] = "shipping_taken_over"


@attrs.frozen
class ForeignManifest(Notice):
    """In the place of one of our manifests is another one. Nothing is overwritten; nothing more is shipped."""

    event: ClassVar[str] = "foreign_manifest"
    level: ClassVar[int] = ERROR
    segment: str
    key: str
    text: str

    def count(self, state: ServiceState) -> None:
        """For the state of the service."""
        state.writer.shipping_blocked = self.text


@attrs.frozen
class Quarantined(Notice):
    """Something in the spool is not ours or cannot be read. It was put aside, not deleted."""

    event: ClassVar[str] = "spool_quarantine"
    level: ClassVar[int] = WARNING
    path: str
    reason: str
