"""What all parts of the writer work with."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from quantlab_collector.runtime.notices import Notices
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.storage.objects import Objects
from quantlab_collector.storage.spool import Spool
from quantlab_collector.writer.options import FlushOptions, JournalOptions, SpoolOptions, StorageOptions
from quantlab_collector.writer.threads import Threads


@attrs.frozen
class WriterOptions:
    """All that can be set about the writer."""

    journal: JournalOptions = JournalOptions()
    flush: FlushOptions = FlushOptions()
    storage: StorageOptions = StorageOptions()
    spool: SpoolOptions = SpoolOptions()


@attrs.frozen(eq=False)
class WriterContext:
    """Made once, when the writer starts."""

    spool: Spool
    objects: Objects
    state: ServiceState
    notices: Notices
    options: WriterOptions
    threads: Threads
    units: Mapping[str, str]
    """The unit of quantities, by ``"exchange/stream"``."""
    epoch_ms: int
    """The process, as it stands in the name of every segment it writes."""

    @property
    def spool_is_full(self) -> bool:
        """Whether the spool has reached its limit."""
        shown = self.state.writer
        return shown.spool_bytes + shown.segment_bytes > self.options.spool.max_bytes
