"""Which ``Host`` headers are answered.

A web page may point a name of its own at this machine (DNS rebinding); the browser then takes our answers for that page's own.
What it cannot forge is the ``Host`` header: it still says the page's name. So only names that are known to be ours are answered.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")


class HostList:
    """The names under which the service may be addressed; the port does not matter."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {"localhost", *(_name(name) or name.lower() for name in names)}

    def allows(self, header: str, arrived_at: str | None) -> bool:
        """Whether to answer; ``arrived_at`` is the address of ours that the request came to."""
        name = _name(header)
        if name is None:
            return False
        if name in self._names:
            return True
        # An address cannot be rebound. Ours is the one the client has really reached, which matters when we listen on all.
        address = _address(name)
        return address is not None and (address.is_loopback or address == _address(arrived_at))


def _name(header: str) -> str | None:
    """The name or address without the port, as it is compared; ``None`` if it is no such thing."""
    found = _HOST.fullmatch(header.strip().lower())
    return found[1].strip("[]").removesuffix(".") if found else None


def _address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text or "")
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a bound host can be reached from this machine alone."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback
