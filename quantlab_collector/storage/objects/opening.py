"""From a ``storage.url`` and its options to the store that they name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from quantlab_collector.storage.objects.address import Bucket, Folder, Scheme, parse_address
from quantlab_collector.storage.objects.credentials import KEY_ID, SECRET, TOKEN, given_credentials
from quantlab_collector.storage.objects.faults import Place
from quantlab_collector.storage.objects.ladder import Patience
from quantlab_collector.storage.objects.local import LocalObjects
from quantlab_collector.storage.objects.options import PLAIN, Addressing, Checksum, Encryption, StoreOptions
from quantlab_collector.storage.objects.protocol import Objects
from quantlab_collector.storage.objects.remote import RemoteObjects

if TYPE_CHECKING:
    # They exist for type checkers only.
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_RETRY: Final[RetryConfig] = {
    # Few and short: whoever calls retries for ever, and knows more.
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
}
_REGIONS: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_DEFAULT_REGION: Final = "us-east-1"

_memories: Final[dict[str, MemoryStore]] = {}
"""By name, so that several openings of one name in this process see the same objects."""


def open_objects(url: str, options: StoreOptions = PLAIN, *, lanes: int = 8, environ: Mapping[str, str] = os.environ) -> Objects:
    """The store that a ``storage.url`` names, for so many requests side by side; a ``ValueError`` when it names none.

    Nothing is asked of the store yet, and credentials are read at the first request.
    """
    address = parse_address(url)
    if isinstance(address, Folder):
        return LocalObjects(address.path)
    endpoint = options.endpoint or (_first(environ, _ENDPOINTS) if address.scheme is Scheme.S3 else "")
    region = (options.region or _first(environ, _REGIONS) or _DEFAULT_REGION) if address.scheme is Scheme.S3 else ""
    build = partial(_BUILDERS[address.scheme], address, options, environ)
    return RemoteObjects(build, str(address), Place(address.name, region, endpoint), lanes=lanes)


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _client(options: StoreOptions, patience: Patience, *, allow_http: bool = False) -> ClientConfig:
    config = patience.client_config()
    # Whether an endpoint of the config may be unencrypted, the config has judged.
    config["allow_http"] = allow_http or options.allow_http or options.endpoint.startswith("http://")
    if options.ca_file:
        config["root_certificate"] = Path(options.ca_file).read_bytes()
    return config


def _s3(address: Bucket, options: StoreOptions, environ: Mapping[str, str], patience: Patience) -> ObjectStore:
    endpoint = options.endpoint or _first(environ, _ENDPOINTS)
    # A certificate for *.host does not go for a name with a dot in it.
    in_the_host = options.addressing is Addressing.VIRTUAL or (
        options.addressing is Addressing.AUTO and not endpoint and "." not in address.name
    )
    # Not every store can delete a list, and the probe deletes one object.
    config: dict[str, Any] = {"virtual_hosted_style_request": in_the_host, "disable_bulk_delete": True}
    if endpoint:
        config["endpoint"] = _with_bucket(endpoint, address.name) if in_the_host else endpoint
    if options.region:
        config["region"] = options.region
    if options.server_side_encryption is not Encryption.NONE:
        config["server_side_encryption"] = options.server_side_encryption.value
    if options.kms_key_id:
        config["sse_kms_key_id"] = options.kms_key_id
    if options.checksum is not Checksum.NONE:
        config["checksum_algorithm"] = options.checksum.value
    if given := given_credentials(address.scheme, options.credentials_file, environ):
        # As a provider they replace what the environment says, session token included.
        keys = {
            "access_key_id": given[KEY_ID],
            "secret_access_key": given[SECRET],
            "token": given.get(TOKEN) or None,
            "expires_at": None,
        }
        config["credential_provider"] = lambda: keys
    client = _client(options, patience, allow_http=environ.get("AWS_ALLOW_HTTP", "").lower() == "true")
    return S3Store(address.name, prefix=address.prefix or None, client_options=client, retry_config=_RETRY, **config)


def _with_bucket(endpoint: str, bucket: str) -> str:
    """An endpoint with the bucket in the name of its host, as obstore wants it there."""
    parts = urlsplit(endpoint)
    return parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl()


def _google(address: Bucket, options: StoreOptions, _: Mapping[str, str], patience: Patience) -> ObjectStore:
    config: dict[str, Any] = {}
    if options.endpoint:
        config["base_url"] = options.endpoint
    if options.credentials_file:
        config["application_credentials"] = options.credentials_file
    return GCSStore(
        address.name, prefix=address.prefix or None, client_options=_client(options, patience), retry_config=_RETRY, **config
    )


def _azure(address: Bucket, options: StoreOptions, environ: Mapping[str, str], patience: Patience) -> ObjectStore:
    config: dict[str, Any] = {
        name.lower(): value for name, value in given_credentials(address.scheme, options.credentials_file, environ).items()
    }
    if options.endpoint:
        config["endpoint"] = options.endpoint
    if options.account:
        config["account_name"] = options.account
    return AzureStore(
        address.name, prefix=address.prefix or None, client_options=_client(options, patience), retry_config=_RETRY, **config
    )


def _memory(address: Bucket, _options: StoreOptions, _environ: Mapping[str, str], _patience: Patience) -> ObjectStore:
    return _memories.setdefault(str(address), MemoryStore())


_BUILDERS: Final[Mapping[Scheme, Callable[[Bucket, StoreOptions, Mapping[str, str], Patience], ObjectStore]]] = {
    Scheme.S3: _s3,
    Scheme.GOOGLE: _google,
    Scheme.AZURE: _azure,
    Scheme.MEMORY: _memory,
}
