"""Which folders a local store syncs: as few as it can, and never one too few."""

from __future__ import annotations

import shutil
import threading

import pytest

from quantlab_collector.storage import files
from quantlab_collector.storage.objects import LocalObjects, StoreFault, unsynced

AROUND = {"symbol=A", "stream=bbo", "exchange=x", "data"}


class Synced:
    """Notes the names of folders, and fails when told to."""

    def __init__(self):
        self.names = []
        self.fails = False
        self._sync = files.sync_dir

    def __call__(self, path):
        if self.fails:
            raise OSError(5, "Input/output error")
        self._sync(path)
        self.names.append(str(path).rpartition("/")[2])

    def taken(self):
        names, self.names = self.names, []
        assert len(names) == len(set(names))
        return set(names)


@pytest.fixture
def synced(monkeypatch):
    seen = Synced()
    monkeypatch.setattr(files, "sync_dir", seen)
    return seen


@pytest.fixture
def objects(tmp_path, synced):
    store = LocalObjects(tmp_path / "data")
    synced.taken()
    return store


def put(objects, *dates, symbol="A"):
    for date in dates:
        objects.put(f"exchange=x/stream=bbo/symbol={symbol}/date={date}/part", b"rows")


def test_what_is_around_a_folder_is_synced_until_it_was_once(objects, synced):
    put(objects, 1)
    objects.settle()
    assert synced.taken() == AROUND | {"date=1"}
    put(objects, 1, 1)
    objects.settle()
    assert synced.taken() == {"date=1"}
    put(objects, 1, 2)
    objects.settle()
    assert synced.taken() == AROUND | {"date=1", "date=2"}
    objects.settle()
    assert synced.taken() == set()


def test_what_failed_is_synced_again_with_all_around_it(objects, synced):
    put(objects, 1)
    synced.fails = True
    with pytest.raises(StoreFault):
        objects.settle()
    synced.fails = False
    objects.settle()
    assert synced.taken() == AROUND | {"date=1"}


def test_a_folder_that_somebody_removes_is_made_again_and_new_again(objects, synced):
    put(objects, 1)
    objects.settle()
    synced.taken()
    shutil.rmtree(objects.root / "exchange=x")
    put(objects, 1)
    objects.settle()
    assert synced.taken() == AROUND | {"date=1"}
    assert [key for key, _ in objects.list("exchange=x")] == ["exchange=x/stream=bbo/symbol=A/date=1/part"]


def test_what_is_known_to_be_safe_is_bounded(objects, synced, monkeypatch):
    monkeypatch.setattr(unsynced, "MOST", 2)
    for date in (1, 2, 3):
        put(objects, date)
        objects.settle()
        assert synced.taken() == AROUND | {f"date={date}"}
    put(objects, 1)
    objects.settle()
    assert synced.taken() == AROUND | {"date=1"}
    put(objects, 3)
    objects.settle()
    assert synced.taken() == {"date=3"}


def test_nobody_is_told_that_it_is_safe_while_another_thread_still_syncs_it(objects, monkeypatch):
    order, goes_on, waits = [], threading.Event(), threading.Event()
    sync = files.sync_dir

    def slowly(path):
        waits.set()
        goes_on.wait()
        sync(path)

    def settle(name):
        objects.settle()
        order.append(name)

    put(objects, 1)
    monkeypatch.setattr(files, "sync_dir", slowly)
    first, second = (threading.Thread(target=settle, args=[name]) for name in ("first", "second"))
    first.start()
    waits.wait()
    second.start()
    second.join(0.1)  # it had every chance
    goes_on.set()
    first.join()
    second.join()
    assert sorted(order) == ["first", "second"]
    assert order[0] == "first"
