"""Files of raw frames from the spool to the store: a file, then its manifest, then forget.

The store is asked three times for each. What fails then stays in the spool until another one got through: an outage costs a few
requests for each file, and no storm when it ends.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final

import trio

from quantlab_collector.contracts.layout import RawFile
from quantlab_collector.runtime.notices import Quarantined, RawDiskFailed, RawFileStored, RawUploadFailed
from quantlab_collector.storage.objects import FaultKind, StoreFault
from quantlab_collector.storage.raw_spool import SpoiledRawFileError, WaitingFile
from quantlab_collector.storage.rawlog import RawManifest, encode_raw_manifest
from quantlab_collector.writer.raw_context import RawContext

TRIES: Final = 3
LONGEST_WAIT: Final = 60.0
"""Of what a store may ask for, in seconds."""


class RawShipper:
    """Ships what is found, several files side by side."""

    def __init__(self, context: RawContext) -> None:
        self._context = context
        self._notices = context.notices
        self._upload = context.threads.upload
        self._failed: deque[WaitingFile] = deque()

    async def run(self, found: trio.MemoryReceiveChannel[WaitingFile]) -> None:
        """Ship what is found, until no more will be."""
        async for news in found:
            file: WaitingFile | None = news
            while file is not None:
                if not await self._ship(file):
                    self._failed.append(file)
                    break
                file = self._failed.popleft() if self._failed else None

    async def _ship(self, file: WaitingFile) -> bool:
        """Try it three times; whether the store did its part."""
        wait = self._context.first_wait
        for number in range(1, TRIES + 1):
            last = number == TRIES
            try:
                manifest = await self._upload(self._put, file.path)
            except FileNotFoundError:
                self._notices.tell(RawDiskFailed(f"{file.path} is gone"))
                self._context.let_go(file)
                return True
            except SpoiledRawFileError as fault:
                await self._put_aside(file, str(fault))
                return True
            except (StoreFault, OSError) as fault:
                asked = fault.retry_after if isinstance(fault, StoreFault) else None
                wait = max(wait, min(asked or 0.0, LONGEST_WAIT))
                self._notices.tell(RawUploadFailed(file.path.name, str(fault), None if last else wait))
            else:
                self._notices.tell(RawFileStored(manifest.key, manifest.frames, manifest.bytes))
                self._context.let_go(file)
                return True
            if not last:
                await trio.sleep(wait)
                wait *= 2
        return False

    def _put(self, path: Path) -> RawManifest:
        folder, objects = self._context.folder, self._context.objects
        manifest, data = folder.load(path)
        place, _ = RawFile.parse(manifest.key)
        try:
            objects.put(place.key, data)
            objects.settle()  # a manifest whose file a power cut took would be a lie
            objects.put(place.manifest_key, encode_raw_manifest(manifest))
            objects.settle()
        except StoreFault as fault:
            if fault.kind is FaultKind.AUTH:
                objects.renew()
            raise
        folder.forget(path)
        return manifest

    async def _put_aside(self, file: WaitingFile, reason: str) -> None:
        try:
            path = await self._context.threads.write(self._context.spool.quarantine, file.path)
        except OSError as fault:
            self._notices.tell(RawDiskFailed(str(fault)))
        else:
            self._notices.tell(Quarantined(str(path), reason))
            self._context.let_go(file)
