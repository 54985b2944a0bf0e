"""The object store: one interface, over a local folder and over everything that obstore opens."""

from quantlab_collector.storage.objects.local import LocalObjects, local_path
from quantlab_collector.storage.objects.opening import open_objects
from quantlab_collector.storage.objects.protocol import FaultKind, KeyTakenError, ObjectInfo, Objects, StoreFault

__all__ = [
    "FaultKind",
    "KeyTakenError",
    "LocalObjects",
    "ObjectInfo",
    "Objects",
    "StoreFault",
    "local_path",
    "open_objects",
]
