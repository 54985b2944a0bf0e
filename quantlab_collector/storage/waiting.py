"""What a process leaves in the spool when it goes: looked up on the disk, because the next one will go by that."""

from __future__ import annotations

import attrs

from quantlab_collector.storage.spool import Spool


@attrs.frozen
class Waiting:
    """Segments that are not in the store, in whatever form, and their bytes."""

    segments: int
    bytes: int

    @classmethod
    def in_spool(cls, spool: Spool) -> Waiting:
        """Nothing is touched: a thread that was left alone may still be at work there."""
        names = {path.name.split(".", 1)[0] for folder in (spool.journal, spool.packs) for path in folder.iterdir()}
        return cls(len(names), spool.usage())
