"""What becomes of a manifest on its way to the store. All of it goes through thousands of parts: for worker threads."""

from __future__ import annotations

from collections import Counter

import attrs
import msgspec

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import Manifest, Previous, decode_manifest, encode_manifest
from quantlab_collector.storage.pack import rows_by_stream


@attrs.frozen
class Stored:
    """A manifest as the store has it, or is to have it, and what its numbers come to."""

    data: bytes
    name: Previous
    """By which the next one will know it."""
    rows: Counter[tuple[str, StreamType]]
    size: int
    """Bytes of all parts."""
    parts: int
    oldest: int | None
    """When the first of its events was received."""
    whole: bool
    """Whether every part of the pack is in it."""

    @classmethod
    def of(cls, key: str, data: bytes, manifest: Manifest, packed: Manifest) -> Stored:
        """The numbers of a manifest that is in the store."""
        return cls(
            data=data,
            name=Previous.of(key, data),
            rows=Counter(rows_by_stream(manifest.parts)),
            size=manifest.bytes,
            parts=len(manifest.parts),
            oldest=min((part.ts_recv[0] for part in manifest.parts), default=None),
            whole=manifest.parts == packed.parts,
        )


def to_store(key: str, packed: Manifest, spoiled: frozenset[str], previous: Previous | None) -> Stored:
    """The manifest that is to be stored: it knows what it follows, and what the spool did not keep."""
    kept = tuple(part for part in packed.parts if part.key not in spoiled)
    lost = tuple(f"{part.key} spoiled in the spool: {part.rows} rows" for part in packed.parts if part.key in spoiled)
    manifest = msgspec.structs.replace(
        packed, previous=previous, parts=kept, holes=(*packed.holes, *lost), complete=packed.complete and not lost
    )
    return Stored.of(key, encode_manifest(manifest), manifest, packed)


def found_in_store(key: str, data: bytes, packed: Manifest) -> Stored | None:
    """What stands where ours belongs, if it came from the same pack. What it follows and what was spoiled, it says itself."""
    try:
        there = decode_manifest(data)
    except (msgspec.MsgspecError, ValueError):
        return None
    alike = msgspec.structs.replace(
        there, previous=packed.previous, parts=packed.parts, holes=packed.holes, complete=packed.complete
    )
    if alike != packed or not set(there.parts) <= set(packed.parts):
        return None
    return Stored.of(key, data, there, packed)
