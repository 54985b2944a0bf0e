"""Everything worth telling, by area. ``telling.py`` says how it is told."""

from quantlab_collector.runtime.notices.connections import (
    AlignmentFailed,
    ConnectionEnded,
    ExchangeNotice,
    GapDetected,
    InstrumentsUnknown,
    SubscribeRefused,
    SymbolUnlisted,
    WsConnect,
    WsDisconnect,
)
from quantlab_collector.runtime.notices.disk import EncodeFailed, RecordingHindered, RecordingResumed, RecoveryFailed, WasDown
from quantlab_collector.runtime.notices.events import (
    MAX_UNKNOWN_KINDS,
    FrameRejected,
    JournalDamaged,
    LostAtStop,
    QueueFullDrop,
    UnknownMessage,
)
from quantlab_collector.runtime.notices.process import (
    BooksBroken,
    CollectorStart,
    CollectorStop,
    Pulse,
    StateChange,
    StatusExposed,
    Stopping,
)
from quantlab_collector.runtime.notices.storage import Quarantined, SegmentCommitted, SegmentRecovered, UploadFailed
from quantlab_collector.runtime.notices.telling import MAX_SUBJECTS, MAX_TEXT, Log, Notice, Notices, plain, plain_text

__all__ = [
    "MAX_SUBJECTS",
    "MAX_TEXT",
    "MAX_UNKNOWN_KINDS",
    "AlignmentFailed",
    "BooksBroken",
    "CollectorStart",
    "CollectorStop",
    "ConnectionEnded",
    "EncodeFailed",
    "ExchangeNotice",
    "FrameRejected",
    "GapDetected",
    "InstrumentsUnknown",
    "JournalDamaged",
    "Log",
    "LostAtStop",
    "Notice",
    "Notices",
    "Pulse",
    "Quarantined",
    "QueueFullDrop",
    "RecordingHindered",
    "RecordingResumed",
    "RecoveryFailed",
    "SegmentCommitted",
    "SegmentRecovered",
    "StateChange",
    "StatusExposed",
    "Stopping",
    "SubscribeRefused",
    "SymbolUnlisted",
    "UnknownMessage",
    "UploadFailed",
    "WasDown",
    "WsConnect",
    "WsDisconnect",
    "plain",
    "plain_text",
]
