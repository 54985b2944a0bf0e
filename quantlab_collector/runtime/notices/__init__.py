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
from quantlab_collector.runtime.notices.events import (
    MAX_UNKNOWN_KINDS,
    FrameRejected,
    QueueFullDrop,
    SpoolFullDrop,
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
from quantlab_collector.runtime.notices.raw_archive import (
    RawDiskFailed,
    RawFilesKept,
    RawFileStored,
    RawFramesDropped,
    RawUploadFailed,
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
    "ExchangeNotice",
    "FrameRejected",
    "GapDetected",
    "InstrumentsUnknown",
    "Log",
    "Notice",
    "Notices",
    "Pulse",
    "Quarantined",
    "QueueFullDrop",
    "RawDiskFailed",
    "RawFileStored",
    "RawFilesKept",
    "RawFramesDropped",
    "RawUploadFailed",
    "SegmentCommitted",
    "SegmentRecovered",
    "SpoolFullDrop",
    "StateChange",
    "StatusExposed",
    "Stopping",
    "SubscribeRefused",
    "SymbolUnlisted",
    "UnknownMessage",
    "UploadFailed",
    "WsConnect",
    "WsDisconnect",
    "plain",
    "plain_text",
]
