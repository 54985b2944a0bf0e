"""Where files of the raw-frame archive wait until the store has them: the folder ``raw`` of the spool.

    raw/1767280498692-000007.raw    the manifest in one line, and behind it the file as it will be in the store
    raw/epoch                       the start of the newest process that wrote here, ms

A file and its manifest are one file here, so that one rename makes both exist.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import attrs
import msgspec

from quantlab_collector.contracts.layout import SegmentId
from quantlab_collector.storage import files
from quantlab_collector.storage.rawlog import RawManifest, decode_raw_manifest

_WAITING, _TMP, _EPOCH = ".raw", ".tmp", "epoch"
_LONGEST_EPOCH: Final = 15


class SpoiledRawFileError(ValueError):
    """A file in the spool is not what was written there."""


@attrs.frozen(order=True)
class WaitingFile:
    """A file that waits to be shipped."""

    segment: SegmentId
    path: Path
    size: int


class RawSpool:
    """The folder. Every method may raise ``OSError``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, now_ms: int) -> int:
        """The epoch of this process: later than any before, whatever the clock says, so that no two files get one name."""
        place = self._folder / _EPOCH
        before = max((file.segment.epoch_ms for file in self.waiting()), default=0)
        if place.exists():
            text = files.read(place)[:_LONGEST_EPOCH]
            before = max(before, int(text) if text.isdigit() else 0)
        epoch_ms = max(now_ms, before + 1)
        files.replace_synced(place, b"%d" % epoch_ms)
        return epoch_ms

    def waiting(self) -> list[WaitingFile]:
        """What is here to be shipped, oldest first."""
        found = ((_segment(path), path) for path in self._folder.iterdir())
        return sorted(WaitingFile(segment, path, os.lstat(path).st_size) for segment, path in found if segment is not None)

    def tidy(self) -> list[Path]:
        """Throw our own unfinished files away; what is left and does not belong here."""
        strangers = []
        for path in sorted(self._folder.iterdir()):
            if path.name.endswith(_TMP) and files.is_plain_file(path):
                files.remove(path)
            elif path.name != _EPOCH and _segment(path) is None:
                strangers.append(path)
        return strangers

    def store(self, segment: SegmentId, manifest: RawManifest, data: bytes) -> WaitingFile:
        """Make a file wait here; when this returns it survives a power cut."""
        path = self._folder / f"{segment}{_WAITING}"
        beside = path.with_name(path.name + _TMP)
        content = msgspec.json.encode(manifest) + b"\n" + data
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
        line, _, data = files.read(path).partition(b"\n")
        try:
            manifest = decode_raw_manifest(line)
        except ValueError as fault:
            raise SpoiledRawFileError(f"its manifest cannot be read: {fault}") from fault
        if hashlib.sha256(data).hexdigest() != manifest.sha256:
            raise SpoiledRawFileError("its SHA-256 is not the one in its manifest")
        return manifest, data

    def forget(self, path: Path) -> None:
        """Let go of a file that the store has."""
        files.remove(path, missing_ok=True)


def _segment(path: Path) -> SegmentId | None:
    try:
        segment = SegmentId.parse(path.stem)
    except ValueError:
        return None
    return segment if path.suffix == _WAITING and files.is_plain_file(path) else None
