"""Accounts in a segment: whole where it begins and where it is sealed, and in between only what is new.

An account goes into the journal with each write, twice a second, and what has ended since the segment began may be thousands of
gaps. What has ended does not change any more, and stands before what has not: so it is enough to count what was told.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
import msgspec

from quantlab_collector.contracts.manifest import Account

_ENDING: Final = ("connections", "gaps", "mutes", "silences")
"""What an account has of each: all that has ended since the last sealed segment, and then all that has not."""


@attrs.define
class Told:
    """What a segment that is being written tells already."""

    _ended: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(_ENDING, 0))

    def news(self, account: Account) -> Account:
        """What is left of an account without that."""
        return msgspec.structs.replace(account, **{name: getattr(account, name)[self._ended[name] :] for name in _ENDING})

    def tell(self, news: Account) -> None:
        """The segment tells this as well."""
        for name in _ENDING:
            self._ended[name] += len(_ended(getattr(news, name)))


@attrs.define
class Heard:
    """What the accounts of a segment come to, one after the other."""

    _last: Account = Account()
    _ended: dict[str, list[Any]] = attrs.field(factory=lambda: {name: [] for name in _ENDING})

    def whole(self, account: Account) -> None:
        """An account that tells everything."""
        for ended in self._ended.values():
            ended.clear()
        self.news(account)

    def news(self, account: Account) -> None:
        """What is new since the account before this one."""
        self._last = account
        for name in _ENDING:
            self._ended[name] += _ended(getattr(account, name))

    @property
    def account(self) -> Account:
        """What was known in the end."""
        open_ = {name: tuple(one for one in getattr(self._last, name) if one.to is None) for name in _ENDING}
        return msgspec.structs.replace(self._last, **{name: (*self._ended[name], *open_[name]) for name in _ENDING})


def _ended(things: tuple[Any, ...]) -> list[Any]:
    return [one for one in things if one.to is not None]
