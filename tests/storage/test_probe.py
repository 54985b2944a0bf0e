"""What ``check`` finds out about a store."""

from __future__ import annotations

import pytest

from quantlab_collector.storage.objects import FaultKind, LocalObjects, StoreFault, probe
from quantlab_collector.storage.objects import remote as remote_module
from storage.fault_store import answer, deletes, gets


def test_the_probe_does_without_the_right_to_delete(fault_store):
    fault_store.inject(answer(403, "AccessDenied"), on=deletes(), times=None)
    for _ in range(2):  # what the first one left does not disturb the second
        (remark,) = probe(fault_store.open(), "a")
        assert "_probe/a" in remark
        assert "not permitted" in remark
    assert list(fault_store.objects) == ["_probe/a"]


def test_the_probe_finds_a_store_that_overwrites(fault_store, monkeypatch):
    class Overwriting(type(fault_store.open())):
        put_new = remote_module.RemoteObjects.put

    objects = fault_store.open()
    objects.__class__ = Overwriting
    with pytest.raises(StoreFault, match="If-None-Match") as caught:
        probe(objects, "a")
    assert caught.value.kind is FaultKind.CONFIG


def test_the_probe_reads_what_it_put(fault_store):
    fault_store.inject(
        answer(200, body="something else", headers={"ETag": '"x"', "Last-Modified": "Fri, 20 Nov 2026 00:00:00 GMT"}), on=gets()
    )
    with pytest.raises(StoreFault, match="comes back as something else"):
        probe(fault_store.open(), "a")


def test_the_probe_of_a_folder(tmp_path):
    assert probe(LocalObjects(tmp_path / "data"), "a") == []
