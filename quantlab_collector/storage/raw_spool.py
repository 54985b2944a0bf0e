"""Where files of the raw-frame archive wait until the store has them: the folder ``raw`` of the spool.

    raw/1767280498692-000007.raw    a SHA-256 of the rest, the manifest in one line, and the file as it will be in the store
    raw/epoch                       the start of the newest process that wrote here, ms

A file and its manifest are one file here, so that one rename makes both exist.
"""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs
import msgspec

from quantlab_collector.contracts.layout import SegmentId
from quantlab_collector.storage import files
from quantlab_collector.storage.rawlog import RawManifest, decode_raw_manifest

_WAITING, _TMP, _EPOCH = ".raw", ".tmp", "epoch"
_LONGEST_EPOCH: Final = 15


_CHECKSUM_BYTES: Final = len(hashlib.sha256().hexdigest()) + 1


class SpoiledRawFileError(Exception):
    """A file in the spool is not what was written there."""


@attrs.frozen(order=True)
class WaitingFile:
    """A file that waits to be shipped."""

    segment: SegmentId
    path: Path
    size: int


class RawSpool:
    """The folder. Every method may raise ``OSError``."""

    def __init__(self, folder: Path, keep_free: int) -> None:
        self._folder = folder
        self._keep_free = keep_free

    def check_room(self) -> None:
        """An ``OSError`` when the disk has less room than is kept for others."""
        free = files.free_bytes(self._folder)
        if free < self._keep_free:
            raise OSError(errno.ENOSPC, f"{free} bytes are free, and {self._keep_free} are kept for the recording")

    def begin(self, now_ms: int) -> int:
        """The epoch of this process: later than any before, whatever the clock says, so that no two files get one name."""
        place = self._folder / _EPOCH
        before = max((file.segment.epoch_ms for file in self.waiting()), default=0)
        with suppress(FileNotFoundError):
            text = files.read(place)[:_LONGEST_EPOCH]
            before = max(before, int(text) if text.isdigit() else 0)
        epoch_ms = max(now_ms, before + 1)
        files.replace_synced(place, b"%d" % epoch_ms)
        return epoch_ms

    def waiting(self) -> list[WaitingFile]:
        """What is here to be shipped, oldest first."""
        found = ((_segment(path), path) for path in files.entries(self._folder))
        return sorted(WaitingFile(segment, path, os.lstat(path).st_size) for segment, path in found if segment is not None)

    def tidy(self) -> list[Path]:
        """Throw our own unfinished files away; what is left and does not belong here."""
        strangers = []
        for path in files.entries(self._folder):
            if path.name.endswith(_TMP) and files.is_plain_file(path):
                files.remove(path)
            elif path.name != _EPOCH and _segment(path) is None:
                strangers.append(path)
        return strangers

    def store(self, segment: SegmentId, manifest: RawManifest, data: bytes) -> WaitingFile:
        """Make a file wait here; when this returns it survives a power cut."""
        path = self._folder / f"{segment}{_WAITING}"
        beside = path.with_name(path.name + _TMP)
        both = msgspec.json.encode(manifest) + b"\n" + data
        content = _checksum(both) + both
        try:
            files.remove(beside, missing_ok=True)
            files.write_synced(beside, content)
            files.rename_synced(beside, path)
        except OSError:
            # Whoever calls counts its frames as dropped: they must not turn up after all.
            files.remove_quietly(beside)
            files.remove_quietly(path)
            raise
        return WaitingFile(segment, path, len(content))

    def load(self, path: Path) -> tuple[RawManifest, bytes]:
        """A file that waits here, and its manifest; a ``SpoiledRawFileError`` when it is not what was written."""
        content = files.read(path)
        both = content[_CHECKSUM_BYTES:]
        if content[:_CHECKSUM_BYTES] != _checksum(both):
            raise SpoiledRawFileError("it is not what its checksum says")
        line, _, data = both.partition(b"\n")
        return decode_raw_manifest(line), data

    def forget(self, path: Path) -> None:
        """Let go of a file that the store has."""
        files.remove(path, missing_ok=True)


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode() + b"\n"


def _segment(path: Path) -> SegmentId | None:
    try:
        segment = SegmentId.parse(path.stem)
    except ValueError:
        return None
    return segment if path.suffix == _WAITING and files.is_plain_file(path) else None
