"""For all tests: which of them do not share the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

WHOLE_PROCESSES = Path(__file__).parent / "service"
"""Collectors, simulators and kills: with ``--dist loadgroup`` these take turns, whatever else runs beside them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(WHOLE_PROCESSES):
            item.add_marker(pytest.mark.xdist_group("whole processes"))
