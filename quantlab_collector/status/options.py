"""What can be set about the HTTP interface."""

from __future__ import annotations

import attrs


@attrs.frozen
class StatusOptions:
    """Table ``[status]``."""

    enabled: bool = True
    host: str = "127.0.0.1"
    """Anything but a loopback address shows the state to everyone who reaches it."""
    port: int = 9100
    """0 lets the system choose; the log says which."""
    allowed_hosts: tuple[str, ...] = ()
    """Names besides ``localhost`` and the bound address that a ``Host`` header may carry."""
    recent_trades: bool = True
    """Whether the newest trades are kept in memory for ``/collectors/trades``."""
    debug: bool = False
    """Whether ``/debug`` shows the inside of the process."""
    debug_exposed: bool = False
    """Whether it may do so to everyone who reaches an address that is not this machine's alone."""
