"""What goes into the journal besides events: the account, from which a manifest is made."""

from __future__ import annotations

from quantlab_collector.contracts.manifest import Account, ConnectionWindow
from quantlab_collector.runtime.lifecycle import UP
from quantlab_collector.runtime.state import ServiceState, open_gaps


def account(state: ServiceState) -> Account:
    """What is known now, since the last sealed segment."""
    drops, rejects = state.books.losses()
    open_windows = (
        ConnectionWindow(c.exchange, c.name, c.connected_ns, None)
        for c in state.connections
        if c.lifecycle.state in UP and c.connected_ns is not None
    )
    return Account(
        counters=state.books.counters(),
        connections=(*state.windows_closed, *open_windows),
        gaps=(*state.signals.gaps.untold, *open_gaps(state)),
        mutes=state.signals.mutes.known,
        silences=state.signals.silences.known,
        drops=drops,
        rejects=rejects,
        downtime=state.downtime,
    )


def account_told(state: ServiceState, told: Account) -> None:
    """An account stands in a sealed segment, safe: the next one tells only what came after it."""
    del state.windows_closed[: sum(window.to is not None for window in told.connections)]
    state.signals.gaps.told(told.gaps)
    state.signals.mutes.told(told.mutes)
    state.signals.silences.told(told.silences)
    state.books.losses_told(told.drops, told.rejects)
    state.downtime = None
