"""What is worth telling of the archive of raw frames. Nothing of it concerns the recording."""

from __future__ import annotations

from typing import ClassVar

import attrs

from quantlab_collector.runtime.notices.telling import DEBUG, WARNING, Notice
from quantlab_collector.runtime.state import ServiceState


@attrs.frozen
class RawFramesDropped(Notice):
    """Frames are in no file of the archive. Their events are recorded all the same."""

    event: ClassVar[str] = "raw_frames_dropped"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    exchange: str
    reason: str
    """``queue_full``, or the name of an obstacle."""
    dropped: int

    def subject(self) -> object:
        """Each reason is told."""
        return (self.exchange, self.reason)

    def count(self, state: ServiceState) -> None:
        """Frames of this exchange."""
        state.raw_archive.account(self.exchange).dropped += self.dropped


@attrs.frozen
class RawFileStored(Notice):
    """A file of the archive and its manifest are in the store."""

    event: ClassVar[str] = "raw_file_stored"
    level: ClassVar[int] = DEBUG
    key: str
    frames: int
    bytes: int

    def count(self, state: ServiceState) -> None:
        """One more, and the store takes them."""
        state.raw_archive.files += 1
        state.raw_archive.fault = None


@attrs.frozen
class RawUploadFailed(Notice):
    """The store did not take a file of the archive; without ``retry_in`` it stays in the spool until another one got through."""

    event: ClassVar[str] = "raw_upload_failed"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    file: str
    fault: str
    retry_in: float | None

    def count(self, state: ServiceState) -> None:
        """One failure more, and why."""
        state.raw_archive.upload_failures += 1
        state.raw_archive.fault = self.fault


@attrs.frozen
class RawDiskFailed(Notice):
    """The local disk does not do its part; the archive goes on trying."""

    event: ClassVar[str] = "raw_disk_failed"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    fault: str

    def count(self, state: ServiceState) -> None:
        """Why."""
        state.raw_archive.fault = self.fault


@attrs.frozen
class RawFilesKept(Notice):
    """The archive has ended with files in the spool; the next start ships them."""

    event: ClassVar[str] = "raw_files_kept"
    level: ClassVar[int] = WARNING
    files: int
    bytes: int
