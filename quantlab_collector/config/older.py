"""The names that older deployments have in their environment, read as if settings had been given.

They say nothing unless ``STORAGE_BACKEND`` is set: names as common as ``S3_BUCKET`` may be meant for something else. The file and
the ``QUANTLAB_`` variables go above them. ``S3_ACCESS_KEY`` and ``S3_SECRET_KEY`` never become settings: whoever opens the store
reads them there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from quantlab_collector.config.faults import shown
from quantlab_collector.config.tree import KeyPath
from quantlab_collector.storage.objects.credentials import OLDER_BACKEND, OLDER_KEY, OLDER_REMOTE, OLDER_SECRET

BUCKET: Final = "S3_BUCKET"
PREFIX: Final = "S3_PREFIX"
ENDPOINT: Final = "S3_ENDPOINT"
LOCAL: Final = "local"

URL_PATH: Final[KeyPath] = ("storage", "url")
ENDPOINT_PATH: Final[KeyPath] = ("storage", "options", "endpoint")


@attrs.frozen
class Older:
    """What the older names say."""

    settings: Mapping[KeyPath, str]
    places: Mapping[KeyPath, str]
    errors: tuple[str, ...]


def older_settings(environ: Mapping[str, str], *, has_url: bool, has_endpoint: bool) -> Older:
    """Read them; ``has_…`` when a setting is given elsewhere, which then goes above."""
    backend = environ.get(OLDER_BACKEND, "").strip().lower()
    if backend in ("", LOCAL):
        return Older({}, {}, ())
    if backend not in OLDER_REMOTE:
        return Older({}, {}, (f"{OLDER_BACKEND}: {shown(backend)} is not one of {', '.join((LOCAL, *OLDER_REMOTE))}",))
    settings: dict[KeyPath, str] = {}
    places: dict[KeyPath, str] = {}
    errors = []
    if not has_url:
        bucket, prefix = environ.get(BUCKET, ""), environ.get(PREFIX, "").strip("/")
        if bucket:
            settings[URL_PATH], places[URL_PATH] = f"s3://{bucket}/{prefix}".removesuffix("/"), BUCKET
        else:
            errors.append(f"{BUCKET}: must name the bucket: {OLDER_BACKEND} is {backend}")
    if not has_endpoint:
        if environ.get(ENDPOINT):
            settings[ENDPOINT_PATH], places[ENDPOINT_PATH] = environ[ENDPOINT], ENDPOINT
        elif backend == "minio" and not has_url:
            errors.append(f"{ENDPOINT}: must be the address of the server: {OLDER_BACKEND} is {backend}")
    for name, other in ((OLDER_KEY, OLDER_SECRET), (OLDER_SECRET, OLDER_KEY)):
        if not environ.get(name) and environ.get(other):
            errors.append(f"{name}: must be set where {other} is")
    return Older(settings, places, tuple(errors))
