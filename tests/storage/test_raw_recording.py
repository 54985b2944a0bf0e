"""``inspect`` of an archive of raw frames: what is wrong with it is found, and named."""

from __future__ import annotations

import hashlib

import pytest

from quantlab_collector.contracts.layout import RawCompression, RawFile, SegmentId
from quantlab_collector.contracts.raw_frames import RawRead
from quantlab_collector.storage.objects import LocalObjects
from quantlab_collector.storage.raw_drafts import Drafts
from quantlab_collector.storage.raw_recording import RawHolding, find_raw, summarise_raw, verify_raw
from quantlab_collector.storage.rawlog import compress, decode_raw_manifest, encode_raw_manifest
from quantlab_collector.storage.recording import manifests, verify
from storage.samples import T0


@pytest.fixture
def objects(tmp_path):
    """Three files of one exchange, one of another."""
    objects, drafts = LocalObjects(tmp_path), Drafts(1, 1.0)
    for n in range(3):
        drafts.add(RawRead("x", "c#1", T0 + n, [b"frame %d" % n, b"frame"], [], 0), 0.0)
    drafts.add(RawRead("y", "c#1", T0 + 9, [b"frame"], [], 0), 0.0)
    for seq, draft in enumerate(drafts.full):
        manifest, data = draft.finish("a", SegmentId(1000, seq), "0.1.0", RawCompression.ZSTD, seq)
        objects.put(manifest.key, data)
        objects.put(RawFile.parse(manifest.key)[0].manifest_key, encode_raw_manifest(manifest))
    return objects


KEY = "_raw/exchange=x/date=20260101/part-a-1000-000001.jsonl.zst"


def problems_of(objects):
    found, problems = find_raw(objects)
    return problems + verify_raw(objects, found)


def test_what_it_holds(objects):
    found, problems = find_raw(objects)
    looked_at = []
    assert problems == verify_raw(objects, found, looked_at.append) == []
    assert len(looked_at) == 4
    x, y = summarise_raw(found)
    assert (x.exchange, x.files, x.frames, x.dropped, x.ts_recv) == ("x", 3, 6, 3, (T0, T0 + 2))
    assert y == RawHolding("y", 1, 1, 3, y.bytes, (T0 + 9, T0 + 9))
    assert x.bytes == sum(size for key, size in objects.list("_raw/exchange=x") if not key.endswith(".json"))


def test_the_recording_does_not_mind_it(objects):
    committed, problems = manifests(objects)
    assert (committed, problems, verify(objects, committed)) == ([], [], [])


WRONG = {
    "missing": (lambda o: o.delete(KEY), [f"{KEY}: missing"]),
    "no manifest": (lambda o: o.delete(f"{KEY}.json"), [f"{KEY}: it has no manifest"]),
    "cut": (lambda o: o.put(KEY, o.get(KEY)[:-1]), [f"{KEY}: ", "bytes instead of"]),
    "altered": (lambda o: o.put(KEY, o.get(KEY)[:-1] + b"x"), [f"{KEY}: its SHA-256 is not the one in the manifest"]),
    "no file of the archive": (
        lambda o: o.put("_raw/notes.txt", b""),
        ["_raw/notes.txt: not readable: not a file of raw frames"],
    ),
    "a manifest that is none": (lambda o: o.put(f"{KEY}.json", b"{}"), [f"{KEY}.json: not readable"]),
    "another's manifest": (
        lambda o: o.put(f"{KEY}.json", o.get(KEY.replace("000001", "000002") + ".json")),
        [f"{KEY}.json: not readable: it is the manifest of {KEY.replace('000001', '000002')}"],
    ),
    "another count": (
        lambda o: o.put(f"{KEY}.json", o.get(f"{KEY}.json").replace(b'"frames": 2', b'"frames": 3')),
        [f"{KEY}: 2 frames instead of 3"],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(objects, name):
    spoil, told = WRONG[name]
    spoil(objects)
    problem = problems_of(objects)[0]
    assert all(words in problem for words in told), problem


def test_a_file_of_something_else_is_told_with_its_line(objects):
    data = compress(b"frame\n", RawCompression.ZSTD)
    manifest = decode_raw_manifest(objects.get(f"{KEY}.json"))
    changed = encode_raw_manifest(manifest).replace(manifest.sha256.encode(), hashlib.sha256(data).hexdigest().encode())
    objects.put(f"{KEY}.json", changed.replace(b'"bytes": %d' % manifest.bytes, b'"bytes": %d' % len(data)))
    objects.put(KEY, data)
    (problem,) = problems_of(objects)
    assert problem.startswith(f"{KEY}: raw frames, line 1: not a frame")
