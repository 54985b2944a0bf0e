"""The object store: one interface, over a local folder and over everything that obstore opens."""

from quantlab_collector.storage.objects.address import Address, Bucket, Folder, Scheme, parse_address
from quantlab_collector.storage.objects.faults import ADVICE
from quantlab_collector.storage.objects.local import LocalObjects
from quantlab_collector.storage.objects.opening import open_objects
from quantlab_collector.storage.objects.options import Addressing, Checksum, Encryption, StoreOptions
from quantlab_collector.storage.objects.probe import probe
from quantlab_collector.storage.objects.protocol import FaultKind, KeyTakenError, ObjectInfo, Objects, StoreFault
from quantlab_collector.storage.objects.remote import RemoteObjects

__all__ = [
    "ADVICE",
    "Address",
    "Addressing",
    "Bucket",
    "Checksum",
    "Encryption",
    "FaultKind",
    "Folder",
    "KeyTakenError",
    "LocalObjects",
    "ObjectInfo",
    "Objects",
    "RemoteObjects",
    "Scheme",
    "StoreFault",
    "StoreOptions",
    "open_objects",
    "parse_address",
    "probe",
]
