"""A recording in a bucket, through obstore: its synchronous interface, which runs in worker threads and leaves the GIL alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from quantlab_collector.storage.objects.credentials import CredentialsError
from quantlab_collector.storage.objects.faults import Place, is_missing, translate
from quantlab_collector.storage.objects.ladder import Build, Ladder
from quantlab_collector.storage.objects.protocol import FaultKind, KeyTakenError, ObjectInfo, StoreFault

SHA256: Final = "sha256"
"""The name under which an object carries its own hash, as what each store calls metadata of the user."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class RemoteObjects:
    """The bucket. An object is one request: there is nothing unfinished that somebody would have to clean up."""

    def __init__(self, build: Build, name: str, place: Place, *, lanes: int) -> None:
        self._name = name
        self._place = place
        self._ladder = Ladder(build, lanes)

    def __str__(self) -> str:
        return self._name

    def put(self, key: str, data: bytes) -> None:
        """Store an object, whole or not at all, replacing what is there."""
        with self._translated():
            store = self._ladder.sending(len(data))
            obstore.put(store, key, data, attributes=_attributes(data), mode="overwrite", use_multipart=False)

    def put_new(self, key: str, data: bytes) -> None:
        """Store an object only where there is none.

        ``KeyTakenError`` may mean that an earlier attempt of ours arrived after all, or (a 409) that somebody else is at it just
        now: the caller looks, and where there is nothing tries again.
        """
        with self._translated():
            store = self._ladder.sending(len(data))
            try:
                obstore.put(store, key, data, attributes=_attributes(data), mode="create", use_multipart=False)
            except AlreadyExistsError:
                raise KeyTakenError(key) from None

    def settle(self) -> None:
        """What a store has confirmed is safe."""

    def get(self, key: str) -> bytes:
        """Read an object; ``FileNotFoundError`` when there is none."""
        with self._translated():
            try:
                return bytes(obstore.get(self._ladder.reading(), key).bytes())
            except FileNotFoundError as fault:
                if not is_missing(fault):
                    raise translate(fault, self._place) from fault
                missing = FileNotFoundError(key)
        raise missing

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of an object, or ``None`` when there is none. Where the bucket is missing, there is none either."""
        with self._translated():
            try:
                meta = obstore.head(self._ladder.sending(0), key)
            except FileNotFoundError:
                return None
        modified = meta["last_modified"] - _EPOCH
        return ObjectInfo(meta["size"], modified // timedelta(microseconds=1) * 1000)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys below a prefix, and their sizes, sorted."""
        with self._translated():
            pages = obstore.list(self._ladder.reading(), prefix or None)
            found = sorted((meta["path"], meta["size"]) for page in pages for meta in page)
        yield from found

    def delete(self, key: str) -> None:
        """Remove an object."""
        with self._translated():
            try:
                obstore.delete(self._ladder.sending(0), key)
            except FileNotFoundError as fault:
                if not is_missing(fault):
                    raise

    def renew(self) -> None:
        """Read credentials again at the next request."""
        self._ladder.renew()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except CredentialsError as fault:
            raise StoreFault(str(fault), FaultKind.AUTH) from fault
        except (BaseError, OSError, ValueError) as fault:
            raise translate(fault, self._place) from fault


def _attributes(data: bytes) -> dict[str, str]:
    return {SHA256: hashlib.sha256(data).hexdigest()}
