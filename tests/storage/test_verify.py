"""What ``inspect --verify`` finds: everything that was planted, by its name, and nothing in a sound recording."""

from __future__ import annotations

import json
import shutil

import pytest
import trio

from quantlab_collector.contracts.events import Burst, StreamType
from quantlab_collector.storage import recording
from quantlab_collector.storage.objects import LocalObjects
from service.harness import run_cli
from storage.samples import bbo, trade
from writer.workbench import Bench, options_with, until


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A recording of three segments."""
    folder = tmp_path_factory.mktemp("recorded")
    trio.run(record, folder)
    return folder / "data"


@pytest.fixture
def data(recorded, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(recorded, tmp_path / "data")


async def record(tmp_path):
    bench = Bench(tmp_path, options=options_with(flush=0.05))
    async with bench.writing() as outlet:
        for n in range(3):
            outlet.offer(
                [
                    Burst("x", StreamType.BBO, [bbo(i) for i in range(50 * n, 50 * n + 50)]),
                    Burst("x", StreamType.TRADE, [trade(i) for i in range(20 * n, 20 * n + 20)]),
                ]
            )
            await until(lambda n=n: bench.state.writer.segments_committed == n + 1)


def parts(data):
    return sorted(data.glob("exchange=*/**/*.parquet"))


def manifests(data):
    return sorted(data.glob("_manifests/**/*.json"))


def missing_part(data):
    path = parts(data)[0]
    path.unlink()
    return path, "missing"


def altered_part(data):
    path = parts(data)[2]
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    return path, "SHA-256"


def shortened_part(data):
    path = parts(data)[0]
    path.write_bytes(path.read_bytes()[:-10])
    return path, "bytes instead of"


def exchanged_part(data):
    path, other = parts(data)[0], parts(data)[1]
    path.write_bytes(other.read_bytes())
    return path, "instead of"


def extra_file(data):
    path = parts(data)[0].with_name("part-a-1-000001.parquet")
    path.write_bytes(parts(data)[0].read_bytes())
    return path, "named by no manifest"


def missing_manifest(data):
    path = manifests(data)[1]
    path.unlink()
    return path, "missing"


def missing_first_manifest(data):
    path = manifests(data)[0]
    path.unlink()
    return path, "missing"


def altered_manifest(data):
    path = manifests(data)[0]
    told = json.loads(path.read_bytes())
    told["counters"]["received"] += 1
    path.write_text(json.dumps(told))
    return path, "not what it was"


def unreadable_manifest(data):
    path = manifests(data)[2]
    path.write_bytes(path.read_bytes()[:-40])
    return path, "not a readable manifest"


def twice_named_part(data):
    first, second = manifests(data)[0], manifests(data)[2]
    told, other = json.loads(first.read_bytes()), json.loads(second.read_bytes())
    other["parts"].append(told["parts"][0])
    second.write_text(json.dumps(other))
    return data / told["parts"][0]["key"], "two manifests"


def wrong_count(data):
    path = manifests(data)[2]
    told = json.loads(path.read_bytes())
    told["parts"][0]["rows"] += 1
    path.write_text(json.dumps(told))
    return data / told["parts"][0]["key"], "rows instead of"


PLANTED = [
    missing_part,
    altered_part,
    shortened_part,
    exchanged_part,
    extra_file,
    missing_manifest,
    missing_first_manifest,
    altered_manifest,
    unreadable_manifest,
    twice_named_part,
    wrong_count,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_what_was_planted_is_named(data, plant):
    path, words = plant(data)
    objects = LocalObjects(data)
    committed, problems = recording.manifests(objects)
    problems += recording.verify(objects, committed)
    assert any(path.relative_to(data).as_posix() in problem and words in problem for problem in problems), problems


def test_all_at_once_are_all_named(data):
    planted = [missing_part(data), altered_part(data), extra_file(data), missing_manifest(data)]
    ended = run_cli("inspect", "--verify", str(data), cwd=data.parent)
    assert ended.returncode == 1
    for path, words in planted:
        assert f"wrong: {path.relative_to(data).as_posix()}: " in ended.stderr
        assert words in ended.stderr


def test_a_sound_recording_has_nothing_wrong(data):
    ended = run_cli("inspect", "--verify", "--json", str(data), cwd=data.parent)
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["problems"], told["rows"]) == (0, [], 210)
    assert (len(parts(data)), len(manifests(data))) == (6, 3)
