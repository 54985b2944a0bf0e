"""What looks like a secret, and how it is covered."""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"

_UP_TO_SCHEME = re.compile(r"[^@?#]*?://")
_USER_AND_PASSWORD = re.compile(r"[^/@:]*:[^/]*@")
_QUERY_OR_FRAGMENT = re.compile(r"([?#]).*", re.DOTALL)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
_SMELLS = ("secret", "token", "password", "passwd", "passphrase", "credential", "key", "signature")


def mask_text(text: str) -> str:
    """A text with the user, the query and the fragment of an address covered. Other texts stay as they are."""
    scheme = _UP_TO_SCHEME.match(text)
    if scheme is None and _USER_AND_PASSWORD.match(text) is None:
        return text
    start, rest = ("", text) if scheme is None else (scheme[0], text[scheme.end() :])
    user, at, place = rest.rpartition("@")
    if "?" in user or "#" in user:
        # A password with a question mark, or a query with an at sign: nobody can tell, so nothing of it is safe to show.
        return start + MASK
    place = _QUERY_OR_FRAGMENT.sub(rf"\1{MASK}", place)
    return f"{start}{MASK}@{place}" if at else start + place


def mask_addresses(text: str) -> str:
    """Running text with every address in it covered in the same way."""
    return _ADDRESS.sub(lambda found: mask_text(found[0]), text) if "://" in text else text


def masked_repr(text: str) -> str:
    """The repr of a text that may be an address."""
    return repr(mask_text(text))


def smells_of_secret(key: str) -> bool:
    """Whether a key is named like one that holds a secret. ``access_key`` is, the symbol ``KEYUSDT`` is not."""
    words = re.split(r"[^a-z0-9]+", key.lower())
    return any(word.removesuffix("s").endswith(_SMELLS) for word in words)
