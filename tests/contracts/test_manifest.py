import json
import subprocess
import sys

import pytest

from quantlab_collector.contracts.manifest import (
    Counters,
    Gap,
    Identity,
    Loss,
    Manifest,
    Part,
    Previous,
    decode_manifest,
    encode_manifest,
)

MANIFEST = Manifest(
    instance="a",
    segment="1767280498692-000007",
    opened=1,
    sealed=2,
    previous=Previous("_manifests/x.json", "ab"),
    collector="0.1.0",
    parts=(Part("k.parquet", 3, 100, "cd", (1, 2), (3, 4), ("7", "9")),),
    counters=Counters(received=5, written=1, dropped=1, pending=2, rejected=1, by_stream={"binance/bbo": Identity(received=5)}),
    connections=(),
    gaps=(Gap("binance", "public-0", 1, None, "closed"),),
    mutes=(),
    silences=(),
    drops=(Loss("binance", "bbo", "queue_full", 1),),
    rejects=(Loss("binance", None, "not_json", 1),),
    downtime=None,
    complete=True,
)


def test_the_keys_of_the_design_are_there():
    told = json.loads(encode_manifest(MANIFEST))
    assert {
        "version", "instance", "segment", "previous", "collector", "schema_version", "parts", "counters",
        "connections", "gaps", "mutes", "silences", "drops", "downtime", "complete",
    } <= told.keys()  # fmt: skip
    assert told["version"] == 1
    assert told["schema_version"] == 1
    assert told["previous"] == {"key": "_manifests/x.json", "sha256": "ab"}
    assert told["parts"] == [
        {
            "key": "k.parquet",
            "rows": 3,
            "bytes": 100,
            "sha256": "cd",
            "ts_event": [1, 2],
            "ts_recv": [3, 4],
            "trade_id": ["7", "9"],
        }
    ]
    assert told["counters"]["by_stream"]["binance/bbo"]["received"] == 5


def test_a_manifest_reads_back():
    assert decode_manifest(encode_manifest(MANIFEST)) == MANIFEST
    assert MANIFEST.rows == 3


def test_unknown_keys_are_passed_over_and_unknown_versions_are_not():
    told = json.loads(encode_manifest(MANIFEST))
    told["weather"] = "fine"
    assert decode_manifest(json.dumps(told).encode()) == MANIFEST
    told["version"] = 2
    with pytest.raises(ValueError, match="version 2"):
        decode_manifest(json.dumps(told).encode())


@pytest.mark.parametrize(("received", "holds"), [(5, True), (4, False), (6, False)])
def test_the_identity(received, holds):
    assert Identity(received=received, written=1, dropped=1, pending=2, rejected=1).holds is holds


def test_types_are_known_before_the_first_manifest_is_read():
    """To look at them in two threads at once ended the process."""
    code = """
import sys
from quantlab_collector.contracts.manifest import MANIFEST_VERSION, decode_manifest
called = []
sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_filename) if event == "call" else None)
try:
    decode_manifest(b'{"version": %d}' % MANIFEST_VERSION)
except ValueError:
    pass
sys.setprofile(None)
assert called, "nothing was seen"
print([name for name in called if "msgspec" in name or "typing" in name])
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "[]"
