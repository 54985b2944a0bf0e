"""From a ``storage.url`` to the store that it names."""

from __future__ import annotations

from quantlab_collector.storage.objects.local import LocalObjects, local_path
from quantlab_collector.storage.objects.protocol import Objects


def open_objects(url: str) -> Objects:
    """The store that a ``storage.url`` names: a path, or a ``file://`` address."""
    return LocalObjects(local_path(url))
