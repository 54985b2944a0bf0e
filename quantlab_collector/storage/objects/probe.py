"""Whether a store does what a recording needs, tried out."""

from __future__ import annotations

from quantlab_collector.storage.objects.protocol import FaultKind, KeyTakenError, Objects, StoreFault

_FOLDER = "_probe"


def probe(objects: Objects, name: str) -> list[str]:
    """Put, read, and be refused to put again; what is worth saying about it. Raises ``StoreFault``.

    Recording needs no right to delete, so a store that refuses it passes; what the probe leaves there is a few bytes, always
    under the same key.
    """
    key, first, second = f"{_FOLDER}/{name}", b"first", b"second"
    _put_new(objects, key, first)
    if _put_new(objects, key, second):
        raise StoreFault("it replaces an object where it was told not to (If-None-Match: *)", FaultKind.CONFIG)
    objects.put(key, second)
    objects.settle()
    try:
        found = objects.get(key)
    except FileNotFoundError:
        raise StoreFault("what was put there is not there", FaultKind.TRANSIENT) from None
    if found != second:
        raise StoreFault("what was put there comes back as something else", FaultKind.TRANSIENT)
    try:
        objects.delete(key)
    except StoreFault as fault:
        if fault.kind is not FaultKind.AUTH:
            raise
        return [f"{key} stays in the store: deleting is not permitted, and recording does not need it"]
    return []


def _put_new(objects: Objects, key: str, data: bytes) -> bool:
    """Whether it was put; not, where something is there."""
    try:
        objects.put_new(key, data)
    except KeyTakenError:
        return False
    return True
