"""What is worth telling of events that are not kept, or not known."""

from __future__ import annotations

from typing import ClassVar

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.runtime.notices.telling import ERROR, OTHERS, WARNING, Notice
from quantlab_collector.runtime.state import ServiceState


@attrs.frozen
class QueueFullDrop(Notice):
    """The queue was full; the newest events were dropped. The books were moved by the outlet, in one go with what was kept."""

    event: ClassVar[str] = "queue_full_drop"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    exchange: str
    stream: StreamType
    dropped: int
    reason: str = "queue_full"
    """Or what keeps the writer from taking anything out of it."""

    def subject(self) -> object:
        """Each stream is told."""
        return (self.exchange, self.stream)


@attrs.frozen
class LostAtStop(Notice):
    """The process had to go, and the disk did not take what was still in memory."""

    event: ClassVar[str] = "lost_at_stop"
    level: ClassVar[int] = ERROR
    exchange: str
    stream: StreamType
    dropped: int
    fault: str

    def count(self, state: ServiceState) -> None:
        """Out of the writer's hands."""
        state.books.discard(self.exchange, self.stream, self.dropped, "stopped")
        state.writer.lost_at_stop += self.dropped


@attrs.frozen
class Damaged(Notice):
    """Events that were brought to the disk, and that the disk did not give back. The manifest of their segment tells the hole."""

    event: ClassVar[str] = "damaged"
    level: ClassVar[int] = ERROR
    exchange: str
    stream: StreamType
    lost: int

    def count(self, state: ServiceState) -> None:
        """They will never be written."""
        state.books.lose(self.exchange, self.stream, self.lost, "damaged")


@attrs.frozen
class FrameRejected(Notice):
    """A message should have been an event and could not be read. The connection lives on."""

    event: ClassVar[str] = "frame_rejected"
    level: ClassVar[int] = WARNING
    flood: ClassVar[bool] = True
    exchange: str
    stream: StreamType | None
    reason: str
    frame: bytes

    def subject(self) -> object:
        """Each reason is told."""
        return (self.exchange, self.reason)

    def count(self, state: ServiceState) -> None:
        """One message received, one rejected."""
        state.books.reject(self.exchange, self.stream, self.reason)


MAX_UNKNOWN_KINDS = 200
"""The exchange chooses the names of kinds, so their number is bounded here; the rest is counted together."""


@attrs.frozen
class UnknownMessage(Notice):
    """A well-formed message of a kind that nobody asked for; told once per kind."""

    event: ClassVar[str] = "unknown_message"
    level: ClassVar[int] = WARNING
    once: ClassVar[bool] = True
    exchange: str
    kind: str

    def subject(self) -> object:
        """Each kind is told."""
        return (self.exchange, self.kind)

    def count(self, state: ServiceState) -> None:
        """By exchange and kind."""
        key = (self.exchange, self.kind)
        if key not in state.unknown and len(state.unknown) >= MAX_UNKNOWN_KINDS:
            key = (self.exchange, OTHERS)
        state.unknown[key] += 1
