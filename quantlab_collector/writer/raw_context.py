"""What both halves of the raw-frame archive work with."""

from __future__ import annotations

import attrs

from quantlab_collector.runtime.notices import Notices
from quantlab_collector.runtime.raw_state import RawArchiveState
from quantlab_collector.storage.objects import Objects
from quantlab_collector.storage.raw_spool import RawSpool, WaitingFile
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer.raw_options import RawArchiveOptions
from quantlab_collector.writer.threads import RawThreads


@attrs.frozen(eq=False)
class RawContext:
    """Made once, when the archive starts."""

    spool: Spool
    folder: RawSpool
    objects: Objects
    notices: Notices
    options: RawArchiveOptions
    first_wait: float
    """Seconds after the first failure of an upload."""
    threads: RawThreads = attrs.field(factory=RawThreads)

    @property
    def shown(self) -> RawArchiveState:
        """What the rest of the process sees of it."""
        return self.notices.state.raw_archive

    def keep(self, file: WaitingFile) -> None:
        """A file is on the local disk."""
        self.shown.kept_files += 1
        self.shown.kept_bytes += file.size

    def let_go(self, file: WaitingFile) -> None:
        """It is there no more."""
        self.shown.kept_files -= 1
        self.shown.kept_bytes -= file.size
