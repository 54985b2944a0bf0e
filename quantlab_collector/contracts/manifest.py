"""What a committed segment holds: the manifest, and the account that it is made from.

A part that no manifest names does not exist for a careful reader. The ``Account`` is what the process knew when the segment was
sealed; it travels inside the journal, so that a manifest written after a crash tells as much as one written in peace.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from quantlab_collector.contracts.events import STREAM_VERSION

MANIFEST_VERSION = 1


class Part(msgspec.Struct, frozen=True, gc=False):
    """One Parquet file. There may be thousands: the garbage collector need not look at them."""

    key: str
    rows: int
    bytes: int
    sha256: str
    ts_event: tuple[int, int]
    """The smallest and the largest exchange time, ns."""
    ts_recv: tuple[int, int]
    trade_id: tuple[str, str] | None = None
    """The ids of the first and the last row; trades only."""


class Identity(msgspec.Struct, frozen=True):
    """The accounting identity: received = written + dropped + pending + rejected, in events."""

    received: int = 0
    written: int = 0
    dropped: int = 0
    pending: int = 0
    rejected: int = 0

    @property
    def holds(self) -> bool:
        """Whether the books balance."""
        return self.received == self.written + self.dropped + self.pending + self.rejected


class Counters(Identity, frozen=True):
    """The identity in total and by stream (``"binance/bbo"``), since the process started."""

    by_stream: dict[str, Identity] = {}


class Loss(msgspec.Struct, frozen=True):
    """Events that were received and not kept, since the segment before; ``stream`` is null where none can be told."""

    exchange: str
    stream: str | None
    reason: str
    count: int


class ConnectionWindow(msgspec.Struct, frozen=True):
    """A stretch of time in which a connection was up, ns; ``to`` is null while it still is."""

    exchange: str
    connection: str
    since: int
    to: int | None
    reason: str | None = None


class Gap(msgspec.Struct, frozen=True):
    """A stretch of time, ns, in which something that should have been received may be missing.

    Of all that a connection brings, unless a stream and a symbol are named: then numbers are missing that the exchange gave to
    events, and between these two receptions ``missed`` events are.
    """

    exchange: str
    connection: str
    since: int
    to: int | None
    reason: str
    stream: str | None = None
    symbol: str | None = None
    missed: int | None = None


class Mute(msgspec.Struct, frozen=True):
    """A topic that should deliver and does not, ns; ``to`` is null while it does not. Both ends are known to about a second.

    Stream and symbol are null where the whole connection was opened and has brought nothing since the start.
    """

    exchange: str
    connection: str
    stream: str | None
    symbol: str | None
    since: int
    to: int | None
    reason: str


class Silence(msgspec.Struct, frozen=True):
    """A topic of which the exchange sends something every ``expected`` seconds, and for longer nothing came; ns, as in a mute."""

    exchange: str
    connection: str
    stream: str
    symbol: str
    since: int
    to: int | None
    expected: float


class Downtime(msgspec.Struct, frozen=True):
    """A stretch of time, ns, in which no process of this spool was alive: from the last sign of life to the next start."""

    since: int
    to: int


class Account(msgspec.Struct, frozen=True):
    """What the process knew when a segment was sealed."""

    counters: Counters = Counters()
    connections: tuple[ConnectionWindow, ...] = ()
    gaps: tuple[Gap, ...] = ()
    mutes: tuple[Mute, ...] = ()
    silences: tuple[Silence, ...] = ()
    drops: tuple[Loss, ...] = ()
    rejects: tuple[Loss, ...] = ()
    downtime: Downtime | None = None

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell although nothing was recorded."""
        return bool(self.gaps or self.mutes or self.silences or self.drops or self.rejects or self.downtime)


class Previous(msgspec.Struct, frozen=True):
    """The manifest before this one, of the same instance."""

    key: str
    sha256: str

    @classmethod
    def of(cls, key: str, data: bytes) -> Previous:
        """The manifest of these bytes."""
        return cls(key, hashlib.sha256(data).hexdigest())


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One committed segment."""

    version: int = MANIFEST_VERSION
    instance: str
    segment: str
    opened: int
    sealed: int
    previous: Previous | None
    collector: str
    schema_version: int = STREAM_VERSION
    parts: tuple[Part, ...]
    counters: Counters
    connections: tuple[ConnectionWindow, ...]
    gaps: tuple[Gap, ...]
    mutes: tuple[Mute, ...]
    silences: tuple[Silence, ...]
    drops: tuple[Loss, ...]
    rejects: tuple[Loss, ...]
    downtime: Downtime | None
    holes: tuple[str, ...] = ()
    """What of the journal could not be read, in words."""
    complete: bool
    """Whether the segment was sealed in peace: false after a crash or with a hole."""

    @property
    def rows(self) -> int:
        """The rows of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """The bytes of all parts."""
        return sum(part.bytes for part in self.parts)


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as it is stored: JSON, one key a line, so that a person can read it."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


class NewerManifestError(ValueError):
    """A manifest of a newer version of this program."""


class _Head(msgspec.Struct):
    version: int


# msgspec looks at a type when it decodes it for the first time, and two threads that do so at once may end the process. So it is
# done here, while this is imported, for all that is decoded in threads.
_HEADS: Final = msgspec.json.Decoder(_Head)
_MANIFESTS: Final = msgspec.json.Decoder(Manifest)
ACCOUNTS: Final = msgspec.json.Decoder(Account)


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest; what is none is a ``msgspec.MsgspecError``, unknown keys are passed over."""
    head = _HEADS.decode(data)
    if head.version != MANIFEST_VERSION:
        raise NewerManifestError(f"manifest version {head.version}; this collector reads {MANIFEST_VERSION}")
    return _MANIFESTS.decode(data)
