"""Frames as they came, before anybody has understood them: on their way into the raw-frame archive, and out of it again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from quantlab_collector.contracts.events import Event


class RawRead(msgspec.Struct, frozen=True, gc=False):
    """What one read from a socket brought.

    This is what travels to the archive: one item a read, so that a frame costs no more than its place in a list.
    """

    exchange: str
    connection: str
    ts_recv: int
    messages: Sequence[bytes]
    """Plain ``bytes`` are text messages, those of a subclass binary ones."""
    trades: Sequence[Event]
    """The trades that were in them, for the ids that a manifest tells."""
    cost: int
    """What it takes of the queue, in bytes."""


class RawFrame(msgspec.Struct, frozen=True):
    """One frame of an archive."""

    ts_recv: int
    connection: str
    """Its name within the exchange, and which socket of that name it was: ``public-0#2`` is the second."""
    data: bytes
    """Byte for byte as received; compressed WebSocket messages come inflated."""
    binary: bool = False
