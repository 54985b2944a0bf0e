"""What can keep the service from recording although everything else works. Each has a name, and each ends by itself.

Meanwhile the writer takes nothing from the queue; when that is full, events are dropped and counted under the obstacle's name.
"""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import Final


class Obstacle(StrEnum):
    """Why nothing can be written to the local disk."""

    SPOOL_FULL = "spool_full"
    """The spool has reached ``spool.max_bytes``: the store has not taken anything for long."""
    DISK_FULL = "disk_full"
    """No space or no inodes; or less than ``spool.min_free``, which is kept for making and shipping parts."""
    READ_ONLY = "read_only"
    """The file system was remounted, often by the kernel after an error."""
    QUOTA = "quota"
    """A quota, or a limit of file size."""
    DISK_ERROR = "disk_error"
    """Anything else: a failing disk."""


_BY_ERRNO: Final = {
    errno.ENOSPC: Obstacle.DISK_FULL,
    errno.EROFS: Obstacle.READ_ONLY,
    errno.EDQUOT: Obstacle.QUOTA,
    errno.EFBIG: Obstacle.QUOTA,
}


def obstacle_of(fault: OSError) -> Obstacle:
    """The name of what a failed file operation has met."""
    return _BY_ERRNO.get(fault.errno or 0, Obstacle.DISK_ERROR)
