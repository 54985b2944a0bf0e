"""Stores for tests."""

import pytest

from storage.fault_store import FaultStore


@pytest.fixture
def fault_store(monkeypatch):
    """A scripted S3 server, with its keys in the environment."""
    with FaultStore() as store:
        for name, value in store.environ.items():
            monkeypatch.setenv(name, value)
        yield store
