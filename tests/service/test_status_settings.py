"""What the settings of the HTTP interface come to in a service."""

from __future__ import annotations

import pytest

from quantlab_collector.config import load
from quantlab_collector.service import _new_state


@pytest.mark.parametrize(
    ("environment", "kept"),
    [({}, True), ({"QUANTLAB_STATUS__RECENT_TRADES": "false"}, False), ({"QUANTLAB_STATUS__ENABLED": "false"}, False)],
)
def test_recent_trades_are_kept_only_where_they_can_be_seen(environment: dict[str, str], kept: bool) -> None:
    assert (_new_state(load(None, environment)).trades is not None) is kept
