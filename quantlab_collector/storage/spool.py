"""The spool: the local folder in which everything waits until the store has it.

    LOCK                              held by the process that records (flock: a crash lets go of it); holds its last sign of life
    chain.json                        the manifest that was committed last, which the next one follows
    journal/1767280498692-000007.journal   a segment: being written, or complete and not encoded yet
    packs/1767280498692-000007.pack   its parts and their manifest: encoded, not yet in the store
    raw/                              files of raw frames, see raw_spool.py
    quarantine/                       what was found here and is not ours, or cannot be read

Every step from one name to the next is one rename, so that a crash leaves the step before or the step after. What a start finds
is put back on its way by the same functions that would have done it without a crash.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs
import msgspec

from quantlab_collector.contracts.layout import SegmentId
from quantlab_collector.contracts.manifest import Previous
from quantlab_collector.storage import files

_JOURNAL: Final = ".journal"
_PACK: Final = ".pack"
_UNFINISHED: Final = ".tmp"


class SpoolInUseError(Exception):
    """Another process records into this spool."""


@attrs.frozen
class Leftovers:
    """What an earlier process left behind, oldest first."""

    journals: tuple[Path, ...]
    """Segments, sealed or not, that are not encoded yet."""
    packs: tuple[Path, ...]
    """Encoded, and not committed as far as this spool knows."""
    strangers: tuple[tuple[Path, str], ...]
    """What does not belong here, and why it is thought so."""
    last_epoch_ms: int
    """The newest process that left anything: a new one must be later."""


class Spool:
    """The folder, locked."""

    def __init__(self, folder: str | Path) -> None:
        root = self.root = Path(folder).expanduser()
        self.journal = root / "journal"
        self.packs = root / "packs"
        self.quarantined = root / "quarantine"
        self.raw = root / "raw"
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(root / "LOCK", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SpoolInUseError(f"another collector records into {root}") from None
        for place in (self.journal, self.packs, self.quarantined, self.raw):
            place.mkdir(mode=0o700, exist_ok=True)
        files.sync_dir(root)

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self._lock)

    # -------------------------------------------------------------------------------------------------- signs of life

    def last_alive_ns(self) -> int | None:
        """When a process last wrote into this spool, on the wall clock; ``None`` when it is new."""
        text = os.pread(self._lock, 32, 0).strip()
        return int(text) if text.isdigit() else None

    def mark_alive(self, now_ns: int) -> None:
        """Note that we live. Not synced: after a power cut it may be half a minute old, and the gap too long."""
        with suppress(OSError):
            os.pwrite(self._lock, f"{now_ns:<20}\n".encode(), 0)

    # --------------------------------------------------------------------------------------------------------- names

    def journal_path(self, segment: SegmentId) -> Path:
        """Where a segment is written, and waits for being encoded."""
        return self.journal / f"{segment}{_JOURNAL}"

    def pack_path(self, segment: SegmentId) -> Path:
        """Where a segment's parts wait for the store."""
        return self.packs / f"{segment}{_PACK}"

    def unfinished_path(self, segment: SegmentId) -> Path:
        """The same while it is being written."""
        return self.packs / f"{segment}{_PACK}{_UNFINISHED}"

    # ---------------------------------------------------------------------------------------------------------- chain

    def previous(self, instance: str) -> Previous | None:
        """The manifest that the next one of this instance follows."""
        return self._chain().get(instance)

    def follow(self, instance: str, manifest: Previous) -> None:
        """Note the newest committed manifest of an instance."""
        files.replace_synced(self.root / "chain.json", msgspec.json.encode({**self._chain(), instance: manifest}))

    def _chain(self) -> dict[str, Previous]:
        try:
            return msgspec.json.decode(files.read(self.root / "chain.json"), type=dict[str, Previous])
        except FileNotFoundError:
            return {}

    # ------------------------------------------------------------------------------------------------------- leftovers

    def leftovers(self) -> Leftovers:
        """Look at everything that is here. Links are never followed; nothing is deleted but our own unfinished files."""
        strangers: list[tuple[Path, str]] = []
        for path in files.entries(self.packs):
            if path.name.endswith(_PACK + _UNFINISHED) and files.is_plain_file(path):
                files.remove(path)
        journals = _ours(self.journal, _JOURNAL, strangers)
        packs = _ours(self.packs, _PACK, strangers)
        for segment in journals.keys() & packs.keys():
            # The crash came between the last two steps of encoding: the parts are complete, the journal is done with.
            files.remove(journals.pop(segment))
        found = [*journals, *packs]
        return Leftovers(
            journals=tuple(journals[segment] for segment in sorted(journals)),
            packs=tuple(packs[segment] for segment in sorted(packs)),
            strangers=tuple(strangers),
            last_epoch_ms=max((segment.epoch_ms for segment in found), default=0),
        )

    def quarantine(self, path: Path) -> Path:
        """Put something aside under a name of its own."""
        target = self.quarantined / f"{time.time_ns()}-{path.name}"
        files.rename(path, target)
        files.sync_dir(self.quarantined)
        files.sync_dir(path.parent)
        return target

    def usage(self) -> int:
        """Bytes in the journal and in packs."""
        total = 0
        for folder in (self.journal, self.packs):
            for path, _, names in os.walk(folder):
                for name in names:
                    try:
                        total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118 (a plain join: there may be thousands)
                    except OSError:
                        continue  # shipped and removed meanwhile, or a disk that says nothing
        return total


def _ours(folder: Path, suffix: str, strangers: list[tuple[Path, str]]) -> dict[SegmentId, Path]:
    found = {}
    for path in files.entries(folder):
        try:
            segment = SegmentId.parse(path.name.removesuffix(suffix))
        except ValueError:
            segment = None
        if segment is not None and path.suffix == suffix and files.is_plain_file(path):
            found[segment] = path
        else:
            strangers.append((path, f"not one of our {suffix} files"))
    return found
