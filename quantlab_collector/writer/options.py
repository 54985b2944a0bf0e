"""What can be set about the writer."""

from __future__ import annotations

import attrs

from quantlab_collector.contracts.masking import masked_repr
from quantlab_collector.contracts.units import Bytes, Seconds
from quantlab_collector.storage.objects import StoreOptions

MIB = 1024 * 1024


@attrs.frozen
class JournalOptions:
    """Table ``[journal]``."""

    interval: Seconds = Seconds(0.5)
    """How often events go from memory to the disk, synced. A crash loses at most what came since."""
    batch_rows: int = 65_536
    """So many events of one stream go to the disk at once, without waiting for the interval."""


@attrs.frozen
class FlushOptions:
    """Table ``[flush]``: when a segment is sealed and becomes Parquet."""

    interval: Seconds = Seconds(60.0)
    """At the earliest; the first one of a process at the latest, unless it would become very many files."""
    max_interval: Seconds = Seconds(900.0)
    """At the latest, if it is longer than ``interval``."""
    part_rows: int = 5_000
    """In between, as soon as the files have so many rows on average."""
    max_bytes: Bytes = Bytes(1024 * MIB)
    """Of journal, which is about six times the Parquet. So much is sealed at any age."""
    min_gap: Seconds = Seconds(1.0)
    """A segment lasts at least so long, however fast it grows: a burst must not become a thousand small files."""


@attrs.frozen
class StorageOptions:
    """Table ``[storage]``."""

    url: str = attrs.field(default="./data", repr=masked_repr)
    upload_threads: int = 8
    retry_first: Seconds = Seconds(1.0)
    retry_cap: Seconds = Seconds(60.0)
    takeover_after: Seconds = Seconds(300.0)
    """A collector that was quiet for so long has lost its instance to another one that waits for it."""
    options: StoreOptions = StoreOptions()
    """Of a remote store."""


@attrs.frozen
class SpoolOptions:
    """Table ``[spool]``."""

    dir: str = "./spool"
    max_bytes: Bytes = Bytes(20 * 1024 * MIB)
    """Beyond it events are dropped and counted, until there is room."""
    min_free: Bytes = Bytes(256 * MIB)
    """Of the disk, left for making parts and shipping them; beyond it the same happens."""
