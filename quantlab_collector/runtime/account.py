"""What goes into the journal besides events: the account, from which a manifest is made."""

from __future__ import annotations

from quantlab_collector.contracts.manifest import Account, ConnectionWindow, Gap
from quantlab_collector.runtime.lifecycle import UP
from quantlab_collector.runtime.state import ServiceState


def account(state: ServiceState) -> Account:
    """What is known now, since the last sealed segment."""
    drops, rejects = state.books.losses()
    open_windows = (
        ConnectionWindow(c.exchange, c.name, c.connected_ns, None)
        for c in state.connections
        if c.lifecycle.state in UP and c.connected_ns is not None
    )
    open_gaps = (Gap(c.exchange, c.name, c.lost_ns, None, c.lifecycle.reason) for c in state.connections if c.lost_ns is not None)
    return Account(
        counters=state.books.counters(),
        connections=(*state.windows_closed, *open_windows),
        gaps=(*state.gaps, *open_gaps),
        drops=drops,
        rejects=rejects,
        downtime=state.downtime,
    )


def account_told(state: ServiceState, told: Account) -> None:
    """An account stands in a sealed segment, safe: the next one tells only what came after it."""
    del state.windows_closed[: sum(window.to is not None for window in told.connections)]
    del state.gaps[: sum(gap.to is not None for gap in told.gaps)]
    state.books.losses_told(told.drops, told.rejects)
    state.downtime = None
