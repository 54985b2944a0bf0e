"""Who ships as an instance: claims in the store, numbered, of which the highest counts.

    _owners/instance=a/000001.json     a claim: which spool, on which host, since when
    _owners/instance=a/newest.json     with which number to begin looking for the highest

A claim is made with ``put_new``, so that of two who want the same number one gets it. Its holder puts it again from time to time;
that is its sign of life, and the store's own clock says how old it is. Whoever finds the highest claim quiet for too long, or
released, makes the next one. Nothing here lists: reading, writing and asking for single objects is all that is needed.

It is the spool that holds a claim, not the process: a collector that is started again goes on without waiting.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Final

import attrs
import msgspec

from quantlab_collector.contracts.layout import newest_owner_key, owner_key
from quantlab_collector.storage import files
from quantlab_collector.storage.objects import KeyTakenError, Objects, StoreFault
from quantlab_collector.storage.spool import Spool

OWNER_FILE: Final = "owner.json"


class Claim(msgspec.Struct, frozen=True):
    """What a claim says of its holder."""

    instance: str
    spool: str
    """The random name of the spool: 128 bits."""
    process: str
    """The random name of the process. A copy of a spool has its name, but is filled by another process."""
    host: str
    claimed: str
    """On the holder's clock, as ``alive``. For people: no decision is made with them."""
    alive: str
    after: str | None = None
    """The host of the claim before, if there was one."""
    released: bool = False
    """The holder has shipped everything and is gone: the next one need not wait."""


UNREADABLE: Final = Claim(instance="?", spool="?", process="?", host="unknown", claimed="?", alive="?")
"""What somebody else has put in the place of a claim. It may be a newer version's, so it is respected like one."""


class _Newest(msgspec.Struct, frozen=True):
    number: Annotated[int, msgspec.Meta(ge=0)]


class _Owner(msgspec.Struct, frozen=True):
    spool: str


# Claims are read in two threads: by who ships, and by who vouches. See ``contracts.manifest`` for why types are looked at here.
_CLAIMS: Final = msgspec.json.Decoder(Claim)
_NUMBERS: Final = msgspec.json.Decoder(_Newest)


@attrs.define(eq=False)
class Claims:
    """The claims to one instance, as one process sees them. A method that raised a ``StoreFault`` may be called again."""

    objects: Objects
    spool: Spool
    instance: str
    takeover_after: float
    """Seconds."""
    number: int = 0
    """Of the claim that is ours, or was."""
    after: str | None = None
    """The host that held the claim before ours."""
    _ours: Claim = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        now = _now()
        self._ours = Claim(self.instance, _spool_name(self.spool), secrets.token_hex(8), socket.gethostname(), now, now)

    def acquire(self) -> Claim | None:
        """Become the owner if that is possible; else whoever is in the way."""
        number, newest = self._highest()
        if newest is not None and newest.spool == self._ours.spool:
            # Ours since before this process began, or since an attempt whose answer was lost.
            self._ours = msgspec.structs.replace(self._ours, claimed=newest.claimed, after=newest.after)
            self._hold(number)
            return None
        if newest is not None and not newest.released and self._silence(number) < self.takeover_after:
            return newest
        number, before = number + 1, newest and newest.host
        now = _now()
        self._ours = msgspec.structs.replace(self._ours, claimed=now, alive=now, after=before)
        with suppress(KeyTakenError):
            self.objects.put_new(self._key(number), msgspec.json.encode(self._ours))
        # Taken perhaps by ourselves, a moment ago; and some stores overwrite although they were told not to. What stands there
        # decides, in any case.
        winner = self._read(number)
        if winner is None:
            raise StoreFault(f"{self._key(number)} was made or taken, and is not there")
        if winner.process != self._ours.process:
            return winner
        self._hold(number)
        return None

    def overtaken(self) -> Claim | None:
        """Who has made the claim after ours, if anybody has. One question to the store."""
        if self.objects.head(self._key(self.number + 1)) is None:
            return None
        return self._read(self.number + 1) or UNREADABLE

    def vouch(self) -> Claim | None:
        """Give a sign of life; or whoever took over from us."""
        if (other := self.overtaken()) is not None:
            return other
        there = self._read(self.number)
        if there is not None and there.process != self._ours.process:
            if there.spool == self._ours.spool:
                # Somebody has copied our spool and goes on with the copy. From here on it is another one.
                self._ours = msgspec.structs.replace(self._ours, spool=_new_name())
                with suppress(OSError):  # a disk that refuses: then it is noticed again after the next start
                    _keep_name(self.spool, self._ours.spool)
            return there
        self._hold(self.number)
        return None

    def release(self) -> None:
        """Leave: everything is in the store, and who comes next need not wait."""
        if self.vouch() is None:
            self._put(self.number, msgspec.structs.replace(self._ours, alive=_now(), released=True))

    # ------------------------------------------------------------------------------------------------------ small steps

    def _highest(self) -> tuple[int, Claim | None]:
        """The highest claim there is. Its number is 0 where there is none."""
        try:
            number = _NUMBERS.decode(self.objects.get(newest_owner_key(self.instance))).number
        except (FileNotFoundError, msgspec.MsgspecError):
            number = 0
        while self.objects.head(self._key(number + 1)) is not None:
            number += 1
        return number, self._read(number) if number else None

    def _silence(self, number: int) -> float:
        """For how many seconds a claim's holder gave no sign of life. Both times are the store's, so no clock can be wrong."""
        self._note(number)
        now, then = self.objects.head(newest_owner_key(self.instance)), self.objects.head(self._key(number))
        if now is None or then is None:
            raise StoreFault(f"{self._key(number)} comes and goes")
        return (now.modified_ns - then.modified_ns) / 1e9

    def _hold(self, number: int) -> None:
        self._ours = msgspec.structs.replace(self._ours, alive=_now())
        self._put(number, self._ours)
        self._note(number)
        self.number, self.after = number, self._ours.after

    def _note(self, number: int) -> None:
        self.objects.put(newest_owner_key(self.instance), msgspec.json.encode(_Newest(number)))

    def _put(self, number: int, claim: Claim) -> None:
        self.objects.put(self._key(number), msgspec.json.encode(claim))

    def _read(self, number: int) -> Claim | None:
        try:
            return _CLAIMS.decode(self.objects.get(self._key(number)))
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            return UNREADABLE

    def _key(self, number: int) -> str:
        return owner_key(self.instance, number)


def _spool_name(spool: Spool) -> str:
    """The name that a spool got when it was new."""
    try:
        return msgspec.json.decode(files.read(spool.root / OWNER_FILE), type=_Owner).spool
    except (FileNotFoundError, msgspec.MsgspecError):
        name = _new_name()
        _keep_name(spool, name)
        return name


def _new_name() -> str:
    return secrets.token_hex(16)


def _keep_name(spool: Spool, name: str) -> None:
    files.replace_synced(spool.root / OWNER_FILE, msgspec.json.encode(_Owner(name)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
