"""The books: where every event that was received is now.

    received = written + dropped + pending + rejected

Pending is not computed from the other four. It is the sum of the places where events wait (queue, buffers, journal), and each
move takes from one place and puts into the next in one call without a checkpoint: the identity is something that can fail, and
is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import Counters, Identity, Loss

UNREADABLE: Final = "unreadable"
"""The name under which messages are booked whose stream nobody can tell."""


@attrs.define(eq=False)
class Account:
    """The books of one stream of one exchange, in events."""

    received: int = 0
    queued: int = 0
    """In the channel."""
    buffered: int = 0
    """With the writer, in memory."""
    journaled: int = 0
    """On the local disk: in the journal, in parts, or on the way to the store."""
    written: int = 0
    """In parts that a committed manifest names."""
    dropped: Counter[str] = attrs.field(factory=Counter)
    rejected: Counter[str] = attrs.field(factory=Counter)

    @property
    def identity(self) -> Identity:
        """The five terms."""
        return Identity(
            received=self.received,
            written=self.written,
            dropped=self.dropped.total(),
            pending=self.queued + self.buffered + self.journaled,
            rejected=self.rejected.total(),
        )


class Books:
    """All accounts of the process."""

    def __init__(self) -> None:
        self.accounts: dict[tuple[str, str], Account] = {}
        self.queued = 0
        """Events in the channel, all accounts together: what its capacity counts."""
        self.recovered = 0
        """Rows of an earlier process that this one committed; they belong to that process's books."""
        self._told_drops: Counter[tuple[str, str, str]] = Counter()
        self._told_rejects: Counter[tuple[str, str, str]] = Counter()

    def account(self, exchange: str, stream: StreamType | str) -> Account:
        """The account of one stream; opened at its first use."""
        account = self.accounts.get((exchange, stream))  # a stream is equal to its name
        if account is None:
            account = self.accounts[exchange, str(stream)] = Account()
        return account

    def receive(self, exchange: str, stream: StreamType, kept: int, dropped: int, reason: str) -> None:
        """Events came from the wire; some went into the queue, the newest may not have fitted."""
        account = self.account(exchange, stream)
        account.received += kept + dropped
        account.queued += kept
        self.queued += kept
        if dropped:
            account.dropped[reason] += dropped

    def reject(self, exchange: str, stream: StreamType | None, reason: str, count: int = 1) -> None:
        """A message that should have been an event could not be read; it counts as one."""
        account = self.account(exchange, stream or UNREADABLE)
        account.received += count
        account.rejected[reason] += count

    def buffer(self, exchange: str, stream: StreamType, count: int) -> None:
        """From the queue into the writer's hands."""
        account = self.account(exchange, stream)
        account.queued -= count
        self.queued -= count
        account.buffered += count

    def discard(self, exchange: str, stream: StreamType, count: int, reason: str) -> None:
        """Dropped out of the writer's hands, by policy."""
        account = self.account(exchange, stream)
        account.buffered -= count
        account.dropped[reason] += count

    def journal(self, exchange: str, stream: StreamType, count: int) -> None:
        """From memory onto the disk."""
        account = self.account(exchange, stream)
        account.buffered -= count
        account.journaled += count

    def lose(self, exchange: str, stream: StreamType, count: int, reason: str) -> None:
        """They were on the disk, and it does not give them back."""
        account = self.account(exchange, stream)
        account.journaled -= count
        account.dropped[reason] += count

    def commit(self, exchange: str, stream: StreamType, count: int) -> None:
        """A manifest names them."""
        account = self.account(exchange, stream)
        account.journaled -= count
        account.written += count

    # ------------------------------------------------------------------------------------------------------- reading

    def counters(self) -> Counters:
        """The identity in total and by stream."""
        by_stream = {f"{exchange}/{stream}": account.identity for (exchange, stream), account in self.accounts.items()}
        total = by_stream.values()
        return Counters(
            received=sum(i.received for i in total),
            written=sum(i.written for i in total),
            dropped=sum(i.dropped for i in total),
            pending=sum(i.pending for i in total),
            rejected=sum(i.rejected for i in total),
            by_stream=by_stream,
        )

    def losses(self) -> tuple[tuple[Loss, ...], tuple[Loss, ...]]:
        """Drops and rejects since ``losses_told``."""
        return (
            _losses(self._all(lambda account: account.dropped) - self._told_drops),
            _losses(self._all(lambda account: account.rejected) - self._told_rejects),
        )

    def losses_told(self, drops: tuple[Loss, ...], rejects: tuple[Loss, ...]) -> None:
        """What ``losses`` gave stands in a sealed segment now."""
        for told, losses in ((self._told_drops, drops), (self._told_rejects, rejects)):
            for loss in losses:
                told[loss.exchange, loss.stream or UNREADABLE, loss.reason] += loss.count

    def _all(self, kind: Callable[[Account], Counter[str]]) -> Counter[tuple[str, str, str]]:
        return Counter(
            {
                (exchange, stream, reason): count
                for (exchange, stream), account in self.accounts.items()
                for reason, count in kind(account).items()
            }
        )


def _losses(counts: Counter[tuple[str, str, str]]) -> tuple[Loss, ...]:
    return tuple(
        Loss(exchange, None if stream == UNREADABLE else stream, reason, count)
        for (exchange, stream, reason), count in sorted(counts.items())
    )
