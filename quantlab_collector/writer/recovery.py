"""What an earlier process left in the spool is put at the head of the line. No error here keeps the recorder from recording."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import attrs
import msgspec

from quantlab_collector.runtime.notices import Notice, Quarantined, RecoveryFailed
from quantlab_collector.storage.journal import JournalError
from quantlab_collector.storage.journal_reading import abandoned_by
from quantlab_collector.storage.pack import NewerPackError, PackError, load_pack
from quantlab_collector.storage.shipment import Shipment
from quantlab_collector.storage.spool import Leftovers, Spool
from quantlab_collector.writer.segments import Filled

LOOKS: Final = 3

_P = ParamSpec("_P")
_R = TypeVar("_R")


@attrs.frozen
class Recovered:
    """What is to be done with what was found."""

    shipments: tuple[Shipment, ...] = ()
    """Only needs shipping."""
    filled: tuple[Filled, ...] = ()
    """Has to be encoded."""
    notices: tuple[Notice, ...] = ()
    last_epoch_ms: int = 0
    """The newest process that left anything."""


def recover(spool: Spool) -> Recovered:
    """Look through the spool. What does not belong there is put aside, never deleted."""
    try:
        left = _insist(spool.leftovers)
        if left.unreadable:
            left = _insist(spool.leftovers)
    except OSError as fault:
        return Recovered(notices=(RecoveryFailed(str(spool.root), str(fault)),))
    notices: list[Notice] = [RecoveryFailed(str(path), text) for path, text in left.unreadable]
    notices += [_put_aside(spool, path, reason) for path, reason in left.strangers]
    return Recovered(
        shipments=tuple(_load(spool, left, notices)),
        filled=tuple(_filled(left, notices)),
        notices=tuple(notices),
        last_epoch_ms=left.last_epoch_ms,
    )


def _insist(look: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Look again when the disk does not let us: what is not found now has to wait for the next start."""
    for _ in range(LOOKS - 1):
        with suppress(OSError):
            return look(*args, **kwargs)
    return look(*args, **kwargs)


def _load(spool: Spool, left: Leftovers, notices: list[Notice]) -> list[Shipment]:
    found = []
    for path in left.packs:
        try:
            found.append(Shipment.of(_insist(load_pack, path)))
        except NewerPackError as fault:
            notices.append(Quarantined(str(path), f"left where it is: {fault}"))
        except PackError as fault:
            notices.append(_put_aside(spool, path, str(fault)))
        except OSError as fault:
            notices.append(RecoveryFailed(str(path), str(fault)))
    return found


def _put_aside(spool: Spool, path: Path, reason: str) -> Notice:
    try:
        return Quarantined(str(spool.quarantine(path)), reason)
    except OSError as fault:
        return RecoveryFailed(str(path), str(fault))


def _filled(left: Leftovers, notices: list[Notice]) -> list[Filled]:
    """Each with the number of bytes that count, which the segment after it tells.

    When that one cannot be read now, both stay for the next start: the end of one may be in the other again.
    """
    limits: dict[str, int] = {}
    in_doubt: set[Path] = set()
    for number, path in enumerate(left.journals):
        try:
            given_up = _insist(abandoned_by, path)
        except (JournalError, msgspec.MsgspecError):
            continue  # the encoder will meet it again, and tell
        except OSError as fault:
            notices.append(RecoveryFailed(str(path), str(fault)))
            in_doubt.update(left.journals[max(number - 1, 0) : number + 1])
            continue
        if given_up is not None:
            limits[given_up.segment] = given_up.bytes
    return [Filled(path, limits.get(path.stem)) for path in left.journals if path not in in_doubt]
