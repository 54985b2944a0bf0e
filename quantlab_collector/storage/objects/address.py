"""What a ``storage.url`` names: a folder, or a place in a bucket."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit

import attrs

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_COMPONENT = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*")
_FORM: Final = "must be a path, file:///path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
_FILE_FORM: Final = "must be a path or file:///path"


class Scheme(StrEnum):
    """Whose way of storing objects it is."""

    S3 = "s3"
    """AWS, and all who speak like it: MinIO, R2, Ceph and many more."""
    GOOGLE = "gs"
    AZURE = "az"
    MEMORY = "memory"
    """Of this process, for tests."""


@attrs.frozen
class Folder:
    """A folder on this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@attrs.frozen
class Bucket:
    """A bucket, or a container as Azure calls it, and where in it the recording lies."""

    scheme: Scheme
    name: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.scheme.value}://{self.name}" + (f"/{self.prefix}" if self.prefix else "")


Address: TypeAlias = Folder | Bucket


def parse_address(url: str) -> Address:
    """What a URL names. A ``ValueError`` says what is wrong with it, and never shows it: people put passwords there."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        return _folder(url)
    name = scheme[1].lower()
    if name == "file":
        return _file(url)
    if name not in set(Scheme) or not url[len(scheme[0]) :].startswith("/"):
        raise ValueError(_FORM)
    return _bucket(Scheme(name), url[len(scheme[0]) + 1 :])


def _folder(text: str) -> Folder:
    if not text.strip():
        raise ValueError("must name a folder")
    if text.startswith("~"):
        raise ValueError("must be a whole path: ~ is not expanded here")
    if text.startswith("//"):
        raise ValueError(_FILE_FORM)
    return Folder(Path(text))


def _file(url: str) -> Folder:
    """What follows ``file://`` is a host, which is empty here, and then an absolute path."""
    if not url.startswith("file:///") or "?" in url or "#" in url:
        raise ValueError(_FILE_FORM)
    path = unquote(urlsplit(url).path)
    if not path.isprintable():
        raise ValueError(_FILE_FORM)
    return Folder(Path(path))


def _bucket(scheme: Scheme, rest: str) -> Bucket:
    if any(character in rest for character in "@?#"):
        raise ValueError("must end after bucket and prefix: users, passwords and queries do not belong into it")
    name, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(name):
        raise ValueError(f"must name a bucket after {scheme.value}://")
    prefix = prefix.rstrip("/")
    if prefix and not all(_COMPONENT.fullmatch(component) for component in prefix.split("/")):
        raise ValueError("has a prefix that is none: letters, digits, '_', '-', '=' and '.', in parts between single slashes")
    return Bucket(scheme, name, prefix)
