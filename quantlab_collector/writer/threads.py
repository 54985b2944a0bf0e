"""Where blocking work goes: a limiter for each kind, so that stuck uploads never keep the journal waiting.

The only place that knows ``to_thread``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeAlias, TypeVar

import trio

_P = ParamSpec("_P")
_R = TypeVar("_R")

Call: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Has something done in threads of one kind; every method below can serve as one."""

RAW_UPLOADS = 4
"""Uploads of raw frames side by side; they must not take what the recording itself needs."""


class RawThreads:
    """The worker threads of the raw-frame archive: none of them is anybody else's."""

    def __init__(self) -> None:
        self._write = trio.CapacityLimiter(1)
        self._upload = trio.CapacityLimiter(RAW_UPLOADS)

    async def write(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Compress, write and sync. It is waited for even when we are being cancelled."""
        return await trio.to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self._write)

    async def upload(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Talk to the store. It may be left alone at any moment: what it was shipping is still in the spool."""
        return await trio.to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self._upload, abandon_on_cancel=True)


class Threads:
    """The worker threads of the writer."""

    def __init__(self, upload_threads: int) -> None:
        self._journal = trio.CapacityLimiter(1)
        self._encode = trio.CapacityLimiter(1)
        self._upload = trio.CapacityLimiter(upload_threads)
        self._vouch = trio.CapacityLimiter(1)

    async def journal(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Write and sync. It is waited for even when we are being cancelled: half an append would be half a truth."""
        return await trio.to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self._journal)

    async def encode(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Make parts. It may be left alone at any moment: the next start does it again, with the same result."""
        return await trio.to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self._encode, abandon_on_cancel=True)

    async def upload(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Talk to the store. It may be left alone at any moment: what it was shipping is still in the spool."""
        return await trio.to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self._upload, abandon_on_cancel=True)

    async def vouch(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Give the store a sign of life. A thread of its own: large files on a slow line must not make us look dead."""
        return await trio.to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self._vouch, abandon_on_cancel=True)
