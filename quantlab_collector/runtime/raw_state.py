"""What the process knows about the archive of raw frames. It has books of its own: a frame is no event."""

from __future__ import annotations

import attrs


@attrs.define(eq=False)
class RawAccount:
    """The frames of one exchange: received = archived + dropped + those on their way in memory."""

    received: int = 0
    archived: int = 0
    """In a file on the local disk, or in the store already."""
    dropped: int = 0


@attrs.define(eq=False)
class RawArchiveState:
    """The archive as a whole."""

    enabled: bool = False
    accounts: dict[str, RawAccount] = attrs.field(factory=dict)
    """By exchange."""
    queued_bytes: int = 0
    files: int = 0
    """In the store, with their manifests."""
    kept_files: int = 0
    """On the local disk only."""
    kept_bytes: int = 0
    upload_failures: int = 0
    fault: str | None = None
    """Why files stay on the local disk, or why there are none, at present."""

    def account(self, exchange: str) -> RawAccount:
        """The account of an exchange; opened at its first use."""
        account = self.accounts.get(exchange)
        if account is None:
            account = self.accounts[exchange] = RawAccount()
        return account

    def copy(self) -> RawArchiveState:
        """The same at this instant, sharing nothing that changes."""
        return attrs.evolve(self, accounts={name: attrs.evolve(account) for name, account in self.accounts.items()})
