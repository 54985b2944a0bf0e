"""What every store promises, on every store that there is."""

from __future__ import annotations

import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from quantlab_collector.storage.objects import KeyTakenError, LocalObjects, Objects, open_objects, probe
from s3.reach import RealStore

ODD_KEYS = [
    "exchange=binance/stream=bbo/symbol=%E2%82%BF/date=20261120/part-a-1-000001.parquet",
    "exchange=x/symbol=%2F..%2F/a",
    "_manifests/instance=a/1.json",
    "a",
    "with space/and+plus/and&amp",
    "brackets[1]/tilde~/quote'",
]
BIG = os.urandom(5 * 1024 * 1024 + 1)


@pytest.fixture(params=["local", "memory", "fault server", "real server"])
def objects(request, tmp_path, monkeypatch) -> Objects:
    if request.param == "local":
        return LocalObjects(tmp_path / "data")
    if request.param == "memory":
        return open_objects(f"memory://{uuid.uuid4()}/prefix")
    if request.param == "fault server":
        store = request.getfixturevalue("fault_store")
        store.page_size = 2
        return store.open("prefix/deeper")
    real = RealStore()
    for name, value in real.environ.items():
        monkeypatch.setenv(name, value)
    return real.open()


@pytest.mark.parametrize("key", ODD_KEYS)
def test_what_was_put_comes_back_under_its_key(objects, key):
    objects.put(key, b"data")
    objects.settle()
    assert objects.get(key) == b"data"
    assert objects.head(key).size == 4
    assert list(objects.list("")) == [(key, 4)]


@pytest.mark.parametrize("data", [b"", b"x", BIG], ids=["nothing", "a byte", "5 MiB and a byte"])
def test_every_size(objects, data):
    objects.put("a/b", data)
    objects.put_new("a/c", data)
    assert objects.get("a/b") == objects.get("a/c") == data
    assert objects.head("a/b").size == len(data)


def test_putting_again_replaces(objects):
    objects.put("k", b"one")
    objects.put("k", b"one")
    assert objects.get("k") == b"one"
    objects.put("k", b"other")
    assert objects.get("k") == b"other"
    assert list(objects.list("")) == [("k", 5)]


def test_put_new_puts_only_where_there_is_nothing(objects):
    objects.put_new("a/k", b"first")
    with pytest.raises(KeyTakenError):
        objects.put_new("a/k", b"second")
    assert objects.get("a/k") == b"first"
    objects.put("a/l", b"put")
    with pytest.raises(KeyTakenError):
        objects.put_new("a/l", b"second")


def test_of_eight_at_once_one_gets_the_key(objects):
    barrier = threading.Barrier(8)

    def create(number):
        barrier.wait()
        try:
            objects.put_new("a/k", str(number).encode() * 1000)
        except KeyTakenError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        won = [number for number in pool.map(create, range(8)) if number is not None]
    assert len(won) == 1
    assert objects.get("a/k") == str(won[0]).encode() * 1000


def test_threads_share_a_store(objects):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: objects.put(f"a/{number:02d}", bytes([number])), range(40)))
        assert list(pool.map(lambda number: objects.get(f"a/{number:02d}"), range(40))) == [
            bytes([number]) for number in range(40)
        ]


def test_a_list_is_sorted_and_knows_whole_components_only(objects):
    for key in ("b/2", "ab/1", "a/b/1", "a-b/1", "a/1", "b/10", "a", "c=d/e=%41/x"):
        if key != "a" or not isinstance(objects, LocalObjects):  # there a name is a file or a folder
            objects.put(key, key.encode())
    assert list(objects.list("a")) == [("a/1", 3), ("a/b/1", 5)]
    assert list(objects.list("a/b")) == [("a/b/1", 5)]
    assert list(objects.list("c=d/e=%41")) == [("c=d/e=%41/x", 11)]
    assert list(objects.list("nothing")) == []
    keys = [key for key, _ in objects.list("")]
    assert keys == sorted(keys)
    assert set(keys) - {"a"} == {"b/2", "ab/1", "a/b/1", "a-b/1", "a/1", "b/10", "c=d/e=%41/x"}


def test_what_is_not_there(objects):
    with pytest.raises(FileNotFoundError):
        objects.get("a/b")
    assert objects.head("a/b") is None
    objects.delete("a/b")


def test_what_was_deleted_is_gone(objects):
    objects.put("a/b", b"x")
    objects.delete("a/b")
    assert objects.head("a/b") is None
    objects.put_new("a/b", b"y")
    assert objects.get("a/b") == b"y"


def test_the_time_of_an_object_is_the_stores(objects):
    objects.put("a/b", b"x")
    # One machine, so one clock; stores tell whole seconds.
    assert abs(objects.head("a/b").modified_ns - time.time_ns()) < 600e9


def test_renewing_changes_nothing_else(objects):
    objects.put("a/b", b"x")
    objects.renew()
    assert objects.get("a/b") == b"x"


def test_the_probe_is_content_and_leaves_nothing(objects):
    assert probe(objects, "a") == []
    assert list(objects.list("")) == []
