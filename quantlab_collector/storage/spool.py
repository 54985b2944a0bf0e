"""The spool: the local folder in which everything waits until the store has it.

    LOCK                              held by the process that records (flock: a crash lets go of it); holds its last sign of life
    chain.json                        the manifest that the next one follows
    journal/1767280498692-000007.journal   a segment: being written, or complete and not encoded yet
    parts/1767280498692-000007/       00000.parquet, 00001.parquet, … and manifest.json with its SHA-256: not yet in the store
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

MANIFEST: Final = "manifest.json"
MANIFEST_SUM: Final = "manifest.sha256"
_CHAIN: Final = "chain.json"
_LONGEST_NAME: Final = 200
_JOURNAL, _TMP = ".journal", ".tmp"


class SpoolInUseError(Exception):
    """Another process records into this spool."""


@attrs.frozen
class Leftovers:
    """What an earlier process left behind, oldest first."""

    journals: tuple[Path, ...]
    """Segments, sealed or not, that are not encoded yet."""
    encoded: tuple[Path, ...]
    """Folders of parts whose manifest is not committed yet."""
    strangers: tuple[tuple[Path, str], ...]
    """What does not belong here, and why it is thought so."""
    unreadable: tuple[tuple[Path, str], ...]
    """What the disk does not let us look at, and what it says."""
    last_epoch_ms: int
    """The newest process that left anything: a new one must be later."""


class Spool:
    """The folder, locked."""

    def __init__(self, folder: str | Path) -> None:
        root = self.root = Path(folder).expanduser()
        self.journal = root / "journal"
        self.parts = root / "parts"
        self.quarantined = root / "quarantine"
        files.make_dirs_synced(root, 0o700)
        self._lock = os.open(root / "LOCK", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SpoolInUseError(f"another collector records into {root}") from None
        try:
            for place in (self.journal, self.parts, self.quarantined):
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

    def encoded_path(self, segment: SegmentId) -> Path:
        """The folder in which a segment's parts wait for the store."""
        return self.parts / str(segment)

    def unfinished_path(self, segment: SegmentId) -> Path:
        """The same folder while it is being filled; an older attempt in it is thrown away."""
        path = self.parts / f"{segment}{_TMP}"
        with suppress(FileNotFoundError):
            files.remove_dir(path)
        files.make_dir(path)
        return path

    # ---------------------------------------------------------------------------------------------------------- chain

    def previous(self, instance: str) -> Previous | None:
        """The manifest that the next one of this instance follows."""
        return self._chain().get(instance)

    def follow(self, instance: str, manifest: Previous) -> None:
        """Note the newest manifest of an instance."""
        files.replace_synced(self.root / _CHAIN, msgspec.json.encode({**self._chain(), instance: manifest}))

    def _chain(self) -> dict[str, Previous]:
        try:
            return msgspec.json.decode(files.read(self.root / _CHAIN), type=dict[str, Previous])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}  # a new chain begins

    # ------------------------------------------------------------------------------------------------------- leftovers

    def leftovers(self) -> Leftovers:
        """Look at everything that is here. Links are never followed; nothing is deleted but our own unfinished folders."""
        journals: dict[SegmentId, Path] = {}
        encoded: dict[SegmentId, Path] = {}
        strangers: list[tuple[Path, str]] = []
        unreadable: list[tuple[Path, str]] = []
        for place, find, known in ((self.journal, _find_journal, journals), (self.parts, _find_parts, encoded)):
            for path in files.entries(place):
                try:
                    found = find(path)
                except OSError as fault:
                    unreadable.append((path, str(fault)))
                    continue
                if isinstance(found, str):
                    strangers.append((path, found))
                elif found is not None:
                    known[found] = path
        ours = (self.root / _CHAIN, files.beside(self.root / _CHAIN))
        strangers += [(path, "not a file") for path in ours if files.exists(path) and not files.is_plain_file(path)]
        # Where there is both, the crash came before the last step of encoding: the encoder takes that step.
        for segment in journals.keys() & encoded.keys():
            del encoded[segment]
        return Leftovers(
            journals=tuple(journals[segment] for segment in sorted(journals)),
            encoded=tuple(encoded[segment] for segment in sorted(encoded)),
            strangers=tuple(strangers),
            unreadable=tuple(unreadable),
            last_epoch_ms=max((segment.epoch_ms for segment in (*journals, *encoded)), default=0),
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
        """Bytes in the journal and in parts."""
        total = 0
        for folder in (self.journal, self.parts):
            for path, _, names in os.walk(folder):
                for name in names:
                    try:
                        total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118 (a plain join: there may be thousands)
                    except OSError:
                        continue  # shipped and removed meanwhile, or a disk that says nothing
        return total


def _find_journal(path: Path) -> SegmentId | str:
    """The segment, or why there is none."""
    segment = _segment(path.stem) if path.suffix == _JOURNAL else None
    if segment is None or not files.is_plain_file(path):
        return "not a segment"
    return segment


def _find_parts(path: Path) -> SegmentId | str | None:
    """The segment, or why there is none; ``None`` when it was unfinished, and is removed."""
    segment = _segment(path.name.removesuffix(_TMP))
    if segment is None or not files.is_plain_dir(path):
        return "not a folder of parts"
    if path.name.endswith(_TMP):
        if any(files.is_plain_dir(entry) for entry in files.entries(path)):
            return "not a folder of ours: there is another one in it"
        files.remove_dir(path)
        return None
    if not files.exists(path / MANIFEST):
        return "parts without a manifest"
    return segment if files.is_plain_file(path / MANIFEST) else "its manifest is not a file"


def _segment(text: str) -> SegmentId | None:
    try:
        return SegmentId.parse(text)
    except ValueError:
        return None
