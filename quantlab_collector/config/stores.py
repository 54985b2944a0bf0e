"""Options of a store that do not go with each other, or not with its address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from quantlab_collector.config.tree import KeyPath
from quantlab_collector.status.hosts import is_loopback
from quantlab_collector.storage.objects import Encryption, Folder, Scheme, parse_address
from quantlab_collector.storage.objects.credentials import NAMES, CredentialsError, read_credentials
from quantlab_collector.storage.objects.options import PLAIN
from quantlab_collector.writer.options import StorageOptions

_ONLY: Final = {
    Scheme.S3: ("region", "addressing", "server_side_encryption", "kms_key_id", "checksum"),
    Scheme.AZURE: ("account",),
}
"""Options that one kind of store has. Those of a folder are not judged: ``run --simulate`` puts one in the place of any store."""


def store_conflicts(storage: StorageOptions) -> Iterator[tuple[tuple[KeyPath, ...], str]]:
    """What contradicts what: where it stands, and in words."""
    address, options = parse_address(storage.url), storage.options
    if isinstance(address, Folder):
        return
    for scheme, keys in _ONLY.items():
        for key in keys if scheme is not address.scheme else ():
            if getattr(options, key) != getattr(PLAIN, key):
                yield (_at(key), ("storage", "url")), f"storage.options.{key} goes with {scheme.value}:// only"
    if _is_open_to_others(options.endpoint) and not options.allow_http:
        text = (
            "is http:// to another machine, where everybody on the way can read and change; storage.options.allow_http permits it"
        )
        yield (_at("endpoint"), _at("allow_http")), text
    if options.kms_key_id and options.server_side_encryption is not Encryption.KMS:
        text = f'storage.options.kms_key_id needs server_side_encryption = "{Encryption.KMS.value}"'
        yield (_at("kms_key_id"), _at("server_side_encryption")), text
    if options.credentials_file and address.scheme in NAMES:
        try:
            read_credentials(options.credentials_file, address.scheme)
        except CredentialsError as fault:
            yield (_at("credentials_file"),), str(fault)


def _at(key: str) -> KeyPath:
    return ("storage", "options", key)


def _is_open_to_others(endpoint: str) -> bool:
    return endpoint.startswith("http://") and not is_loopback(urlsplit(endpoint).hostname or "")
