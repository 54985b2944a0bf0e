"""What is worth telling of the local disk: journal and spool."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from quantlab_collector.contracts.manifest import Downtime
from quantlab_collector.runtime.notices.telling import ERROR, INFO, WARNING, Notice
from quantlab_collector.runtime.obstacles import Obstacle
from quantlab_collector.runtime.state import ServiceState


@attrs.frozen
class RecordingHindered(Notice):
    """Nothing can be written at present. Events wait in the queue; when that is full they are dropped and counted."""

    event: ClassVar[str] = "recording_hindered"
    level: ClassVar[int] = ERROR
    obstacle: Obstacle
    text: str

    def count(self, state: ServiceState) -> None:
        """The service is in ERROR until it ends."""
        state.writer.obstacle, state.writer.obstacle_text = self.obstacle, self.text


@attrs.frozen
class RecordingResumed(Notice):
    """The obstacle is gone, by itself or by somebody's doing."""

    event: ClassVar[str] = "recording_resumed"
    level: ClassVar[int] = WARNING
    obstacle: Obstacle
    seconds: float

    def count(self, state: ServiceState) -> None:
        """Nothing is in the way any more."""
        state.writer.obstacle, state.writer.obstacle_text = None, ""


@attrs.frozen
class EncodeFailed(Notice):
    """The disk does not let a segment be made into parts. Its journal is still there; it is tried again."""

    event: ClassVar[str] = "encode_failed"
    level: ClassVar[int] = ERROR
    flood: ClassVar[bool] = True
    path: str
    fault: str
    retry_in: float

    def count(self, state: ServiceState) -> None:
        """Nothing newer is shipped meanwhile."""
        state.writer.encode_fault = self.fault


@attrs.frozen
class SpoolRefused(Notice):
    """The disk does not let the spool note that something was shipped. It is tried again, and the next segment waits."""

    event: ClassVar[str] = "spool_refused"
    level: ClassVar[int] = ERROR
    flood: ClassVar[bool] = True
    fault: str
    retry_in: float


@attrs.frozen
class PartSpoiled(Notice):
    """A part is not what it was when it was encoded. It is not shipped; the manifest tells, and what is left is put aside."""

    event: ClassVar[str] = "part_spoiled"
    level: ClassVar[int] = ERROR
    key: str
    rows: int
    fault: str


@attrs.frozen
class RecoveryFailed(Notice):
    """Something that an earlier process left cannot be looked at. It stays where it is, for the next start."""

    event: ClassVar[str] = "recovery_failed"
    level: ClassVar[int] = ERROR
    path: str
    fault: str


@attrs.frozen
class WasDown(Notice):
    """For how long nothing was recorded before this start."""

    event: ClassVar[str] = "downtime"
    level: ClassVar[int] = INFO
    downtime: Downtime

    def count(self, state: ServiceState) -> None:
        """It stands in the first manifest."""
        state.downtime = self.downtime

    def fields(self) -> dict[str, Any]:
        """In words, too."""
        seconds = (self.downtime.to - self.downtime.since) / 1e9
        return {
            "since": self.downtime.since,
            "to": self.downtime.to,
            "seconds": round(seconds, 3),
            "text": f"{in_words(seconds)} OFFLINE",
        }


def in_words(seconds: float) -> str:
    """A length of time as people say it: 40 seconds, 11 minutes, 3 hours, 2 days."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * size or (seconds >= size and unit != "day"):
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{int(seconds)} second{'s' if int(seconds) != 1 else ''}"
