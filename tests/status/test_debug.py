"""``/debug``: there only when it is asked for, and then it tells what the process is doing."""

from __future__ import annotations

import threading
from functools import partial

import pytest
import trio

from quantlab_collector.runtime.health import Standing
from quantlab_collector.runtime.state import ServiceState, Snapshot
from quantlab_collector.status import debug
from quantlab_collector.status.app import create_app
from quantlab_collector.status.options import StatusOptions
from quantlab_collector.storage.inventory import take_inventory


@pytest.mark.parametrize("path", debug.ENDPOINTS)
async def test_it_is_not_there_unless_asked_for(snapshot: Snapshot, standing: Standing, path: str) -> None:
    app = create_app(lambda: snapshot, lambda: standing, StatusOptions(), spool=dict)

    assert (await app.test_client().get(path)).status_code == 404


def inside(state: ServiceState, standing: Standing, spool=None):
    return create_app(lambda: state.snapshot(1147.82), lambda: standing, StatusOptions(debug=True), spool=spool).test_client()


def names(tree) -> set[str]:
    return {tree["name"]}.union(*(names(child) for nursery in tree["nurseries"] for child in nursery))


async def wait_here() -> None:
    await trio.sleep_forever()


async def test_the_tree_has_every_task_and_where_it_waits(state: ServiceState, standing: Standing) -> None:
    client = inside(state, standing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_here, name="the writer")
        await trio.testing.wait_all_tasks_blocked()
        response = await client.get("/debug/tasks")
        tree = await response.get_json()
        text = await (await client.get("/debug/tasks", headers={"Accept": "text/plain"})).get_data(as_text=True)
        nursery.cancel_scope.cancel()

    assert response.headers["Content-Type"] == "application/json"
    assert "the writer" in names(tree)
    (line,) = [line for line in text.splitlines() if "the writer" in line]
    assert line.startswith("  ")
    assert "trio._" in line, "where it waits; nothing of ours is in the way"
    assert "/" not in text, "names of modules, no paths"


async def test_what_is_in_the_spool_and_on_its_way(state: ServiceState, standing: Standing, tmp_path) -> None:
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "1-000001.pack").write_bytes(b"x" * 10)
    (tmp_path / "quarantine" / "deep").mkdir(parents=True)
    (tmp_path / "quarantine" / "deep" / "stranger").write_bytes(b"xyz")
    state.writer.uploading["exchange=okx/part-a-1-000001.parquet"] = 1_767_280_498_000_000_000

    shown = await (await inside(state, standing, partial(take_inventory, tmp_path)).get("/debug/storage")).get_json()

    assert shown["uploading"] == {"exchange=okx/part-a-1-000001.parquet": 1767280498000}
    assert shown["stats"]["backlog"]["segments"] == 3
    assert {name: (folder["files"], folder["bytes"]) for name, folder in shown["spool"].items()} == {
        "journal": (0, 0), "packs": (1, 10), "raw": (0, 0), "quarantine": (1, 3),
    }  # fmt: skip
    assert shown["spool"]["packs"]["oldest"][0]["name"] == "1-000001.pack"
    assert shown["spool"]["quarantine"]["oldest"][0]["name"] == "deep/stranger"


async def test_a_disk_that_hangs_holds_up_nobody(state: ServiceState, standing: Standing, monkeypatch) -> None:
    monkeypatch.setattr(debug, "DISK_LIMIT", 0.05)
    let_go = threading.Event()
    client = inside(state, standing, lambda: let_go.wait() and {})
    try:
        for _ in range(2):  # the one thread is still at it
            response = await client.get("/debug/storage")
            assert response.status_code == 503
            assert "did not answer" in (await response.get_json())["error"]
        assert (await client.get("/debug/tasks")).status_code == 200
    finally:
        let_go.set()


def test_many_files_are_counted_and_the_oldest_are_named(tmp_path) -> None:
    (tmp_path / "journal").mkdir()
    for number in range(150):
        (tmp_path / "journal" / f"{number:03d}").write_bytes(b"x")

    found = take_inventory(tmp_path)["journal"]

    assert (found.files, found.bytes, len(found.oldest)) == (150, 150, 100)
    assert list(found.oldest) == sorted(found.oldest)


def test_a_spool_that_is_not_there_is_empty(tmp_path) -> None:
    assert {folder.files for folder in take_inventory(tmp_path / "nowhere").values()} == {0}
