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
from quantlab_collector.storage.aside import Aside

_JOURNAL: Final = ".journal"
_PACK: Final = ".pack"
_UNFINISHED: Final = ".tmp"
_ASIDE: Final = f"aside{_PACK}{_UNFINISHED}"
_AROUND_ASIDE: Final = 4
"""So many times what is put aside must be free, beyond what always must."""
_CHAIN: Final = "chain.json"
_LONGEST_NAME: Final = 200


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
    unreadable: tuple[tuple[Path, str], ...]
    """What the disk does not let us look at, and what it says."""
    last_epoch_ms: int
    """The newest process that left anything: a new one must be later."""


class Spool:
    """The folder, locked."""

    def __init__(self, folder: str | Path, min_free: int = 0) -> None:
        self._min_free = min_free
        root = self.root = Path(folder).expanduser()
        self.journal = root / "journal"
        self.packs = root / "packs"
        self.quarantined = root / "quarantine"
        self.raw = root / "raw"
        files.make_dirs_synced(root, 0o700)
        self._lock = os.open(root / "LOCK", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SpoolInUseError(f"another collector records into {root}") from None
        try:
            for place in (self.journal, self.packs, self.quarantined, self.raw):
                with suppress(FileExistsError):
                    files.make_dir(place)
            files.sync_dir(root)
        except OSError:
            self.close()
            raise

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

    def aside(self, size: int) -> Aside | None:
        """A place for so many bytes that wait for becoming parts.

        ``None`` where that would take the disk from the recorder, who goes on meanwhile, and from the parts.
        """
        if size * _AROUND_ASIDE > files.free_bytes(self.root) - self._min_free:
            return None
        try:
            return Aside(self.packs / _ASIDE)
        except OSError:
            return None  # the parts, which go to the same place, will tell

    # ---------------------------------------------------------------------------------------------------------- chain

    def previous(self, instance: str) -> Previous | None:
        """The manifest that the next one of this instance follows."""
        return self._chain().get(instance)

    def follow(self, instance: str, manifest: Previous) -> None:
        """Note the newest committed manifest of an instance. No older pack may come back now, and be taken for the newest."""
        files.sync_dir(self.packs)
        files.replace_synced(self.root / _CHAIN, msgspec.json.encode({**self._chain(), instance: manifest}))

    def _chain(self) -> dict[str, Previous]:
        try:
            return msgspec.json.decode(files.read(self.root / _CHAIN), type=dict[str, Previous])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}  # a new chain begins

    # ------------------------------------------------------------------------------------------------------- leftovers

    def leftovers(self) -> Leftovers:
        """Look at everything that is here. Links are never followed; nothing is deleted but our own unfinished files."""
        strangers: list[tuple[Path, str]] = []
        unreadable: list[tuple[Path, str]] = []
        journals: dict[SegmentId, Path] = {}
        packs: dict[SegmentId, Path] = {}
        for folder, suffix, ours in ((self.journal, _JOURNAL, journals), (self.packs, _PACK, packs)):
            for path in files.entries(folder):
                try:
                    found = _find(path, suffix)
                except OSError as fault:
                    unreadable.append((path, str(fault)))
                    continue
                if isinstance(found, str):
                    strangers.append((path, found))
                elif found is not None:
                    ours[found] = path
        for path in (self.root / _CHAIN, files.beside(self.root / _CHAIN)):
            strangers += [(path, "not a file")] if files.exists(path) and not files.is_plain_file(path) else []
        # Where there are both, the crash came before the last step of encoding: the encoder takes that step.
        for segment in journals.keys() & packs.keys():
            del packs[segment]
        return Leftovers(
            journals=tuple(journals[segment] for segment in sorted(journals)),
            packs=tuple(packs[segment] for segment in sorted(packs)),
            strangers=tuple(strangers),
            unreadable=tuple(unreadable),
            last_epoch_ms=max((segment.epoch_ms for segment in (*journals, *packs)), default=0),
        )

    def quarantine(self, path: Path) -> Path:
        """Put something aside under a name of its own, which must not become longer than a name can be."""
        name = os.fsdecode(os.fsencode(path.name)[:_LONGEST_NAME])
        target = self.quarantined / f"{time.time_ns()}-{name}"
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


def _find(path: Path, suffix: str) -> SegmentId | str | None:
    """Which segment it is, or why it is none of ours; ``None`` when it was never finished, and is removed."""
    if not files.is_plain_file(path):
        return "not a file"
    if suffix == _PACK and path.name.endswith(_PACK + _UNFINISHED):
        files.remove(path)
        return None
    try:
        segment = SegmentId.parse(path.name.removesuffix(suffix))
    except ValueError:
        segment = None
    return segment if segment is not None and path.suffix == suffix else f"not one of our {suffix} files"
