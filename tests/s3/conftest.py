"""The real server, if there is one."""

import pytest

from s3.reach import RealStore


@pytest.fixture
def real(monkeypatch):
    """A place of its own in the real server's bucket, with the keys in the environment. The server is well again afterwards."""
    store = RealStore()
    for name, value in store.environ.items():
        monkeypatch.setenv(name, value)
    yield store
    store.server.heal()
