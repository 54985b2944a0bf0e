"""An object that a manifest names, as it was promised."""

from __future__ import annotations

import hashlib

from quantlab_collector.storage.objects import Objects


def get_intact(objects: Objects, key: str, size: int, sha256: str) -> bytes:
    """All of it; a ``ValueError`` says what is wrong with it."""
    try:
        data = objects.get(key)
    except FileNotFoundError:
        raise ValueError("missing") from None
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes instead of {size}")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError("its SHA-256 is not the one in the manifest")
    return data
