"""What a store can do to a recording, row by row, over sockets: in the end every row is there once, under the expected keys.

The numbers are those of the fault matrix: S1 failures of the server, S2 throttling, S3 a success that is none, S4 silence, S5 broken
connections, S6 a failure after the deed, S7 credentials, S8 the clock, S9 a wrong address, S10 conflicts, S11 a key that is taken,
S12 uploads in pieces, S13 bits that fall over, S14 the manifest alone fails, S16 a slow line, S17 lists that are late.
"""

from __future__ import annotations

import os
import threading

import pytest
import trio

from quantlab_collector.contracts.events import Burst, StreamType
from quantlab_collector.contracts.layout import parse_manifest_key, parse_part_key
from quantlab_collector.contracts.units import Seconds
from quantlab_collector.storage import recording
from storage.fault_store import FaultStore, answer, hang_up, puts, reset_before_body, reset_mid_body, silence, slowly
from storage.samples import bbo, trade
from writer.workbench import Bench, options_with, until

pytestmark = pytest.mark.long

FAULTS = {
    "S1 500": answer(500, "InternalError"),
    "S1 502": answer(502),
    "S1 504": answer(504),
    "S1 400 RequestTimeout": answer(400, "RequestTimeout"),
    "S2 503 SlowDown": answer(503, "SlowDown"),
    "S2 429": answer(429, "TooManyRequests", headers={"Retry-After": "1"}),
    "S2 503 applied": answer(503, "SlowDown", applied=True),
    "S3 200 with an error in it": answer(200, "InternalError"),
    "S4 silence": silence(),
    "S4 silence, applied": silence(applied=True),
    "S5 reset before the body": reset_before_body(),
    "S5 reset in the body": reset_mid_body(),
    "S5 closed after the body": hang_up(),
    "S5 closed after the body, applied": hang_up(applied=True),
    "S6 500 applied": answer(500, "InternalError", applied=True),
    "S7 403": answer(403, "AccessDenied"),
    "S7 expired": answer(403, "ExpiredToken"),
    "S8 clock": answer(403, "RequestTimeTooSkewed"),
    "S9 no such bucket": answer(404, "NoSuchBucket"),
    "S9 another region": answer(301, "PermanentRedirect"),
    "S10 409": answer(409, "ConditionalRequestConflict"),
    "S10 409 applied": answer(409, "ConditionalRequestConflict", applied=True),
    "S11 412, and nothing is there": answer(412, "PreconditionFailed"),
    "S11 412 for what is ours": answer(412, "PreconditionFailed", applied=True),
    "S16 slow": slowly(20_000),
}
PLACES = ("exchange=", "_manifests/", "_owners/")
"""Parts, manifests, claims."""
WHOLE_TABLE = bool(os.environ.get("QUANTLAB_TEST_STORE_TABLE"))
"""Set by the session with the real store: it takes a minute, and is not about any version of Python."""


@pytest.fixture
def store(monkeypatch):
    """A store that fails as told, and a collector that has no time."""
    monkeypatch.setattr("quantlab_collector.storage.objects.ladder.LOWEST", 0.3)
    monkeypatch.setattr("quantlab_collector.writer.patience.OPERATOR_WAIT", 0.02)
    with FaultStore() as store:
        for name, value in store.environ.items():
            monkeypatch.setenv(name, value)
        yield store


def bench_for(tmp_path, store, folder="one"):
    options = options_with(flush=0.1, retry_first=Seconds(0.01), retry_cap=Seconds(0.02))
    return Bench(tmp_path / folder, objects=store.open("v1", lanes=1), options=options)


def offer(outlet):
    outlet.offer(
        [
            Burst("x", StreamType.BBO, [bbo(n, ("BTCUSDT", "ETHUSDT")[n % 2]) for n in range(100)]),
            Burst("x", StreamType.TRADE, [trade(n) for n in range(40)]),
        ]
    )


def check(store, bench, rows=140):
    """Everything that was recorded is there once, under its keys, and nothing else is; hashes and counts by the manifests."""
    summary = bench.stored()
    assert summary.rows == rows
    data = [key.removeprefix("v1/") for key in store.objects if "/_owners/" not in key]
    parts = [key for key in data if key.startswith("exchange=")]
    assert sorted(parse_part_key(key)[0].symbol for key in parts) == ["BTCUSDT", "BTCUSDT", "ETHUSDT"]
    (manifest,) = (key for key in data if key not in parts)
    parse_manifest_key(manifest)
    # S12: an object is one request. S17: nobody looks at a list.
    assert {attempt.request.method for attempt in store.attempts} <= {"PUT", "GET", "HEAD"}


@pytest.mark.parametrize("times", [1, 5] if WHOLE_TABLE else [1])
@pytest.mark.parametrize("row", FAULTS)
async def test_a_fault_that_passes(tmp_path, store, row, times):
    rules = [store.inject(FAULTS[row], times=times, on=puts(f"v1/{place}")) for place in PLACES]
    bench = bench_for(tmp_path, store)
    with trio.fail_after(30):
        async with bench.writing() as outlet:
            offer(outlet)
    assert all(rule.served for rule in rules)
    assert bench.identity.written == bench.identity.received == 140
    assert not any(attempt.request.listing for attempt in store.attempts)
    check(store, bench)


@pytest.mark.parametrize("place", PLACES if WHOLE_TABLE else PLACES[1:2])
@pytest.mark.parametrize("row", [row for row in FAULTS if "S16" not in row])
async def test_a_fault_that_does_not_pass(tmp_path, store, row, place):
    """The process goes while the store still fails; the next one finds it well, and no row is missing or there twice."""
    rule = store.inject(FAULTS[row], times=None, on=puts(f"v1/{place}"))
    bench = bench_for(tmp_path, store)
    with trio.fail_after(30), trio.CancelScope() as scope:
        async with bench.writing() as outlet:
            offer(outlet)
            await until(lambda: rule.served >= 2 or bench.identity.written == 140)
            scope.cancel()
    assert rule.served
    store.heal()
    assert bench.identity.received == bench.identity.written + bench.identity.pending == 140
    again = bench_for(tmp_path, store)
    async with again.writing():
        pass
    assert bench.identity.written + again.state.books.recovered >= 140
    check(store, again)


async def test_s13_a_bit_that_fell_over_in_the_store_is_found(tmp_path, store):
    bench = bench_for(tmp_path, store)
    async with bench.writing() as outlet:
        offer(outlet)
    committed, _ = recording.manifests(bench.objects)
    keys = [key for key in store.objects if key.startswith("v1/exchange=")]
    for key in keys:
        whole = store.objects[key]
        for place in range(0, len(whole), 97):
            store.objects[key] = whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
            assert recording.verify(bench.objects, committed) == [
                f"{key.removeprefix('v1/')}: its SHA-256 is not the one in the manifest"
            ]
        store.objects[key] = whole
    assert recording.verify(bench.objects, committed) == []


async def test_s4_a_store_that_never_answers_holds_up_neither_the_journal_nor_the_stop(tmp_path, store, monkeypatch):
    monkeypatch.setattr("quantlab_collector.storage.objects.ladder.LOWEST", 3600.0)
    rule = store.inject(silence(), times=None)
    bench = bench_for(tmp_path, store)
    threads = threading.active_count()
    with trio.fail_after(20), trio.CancelScope() as scope:
        async with bench.writing() as outlet:
            offer(outlet)
            await until(lambda: rule.served)
            offer(outlet)
            await until(lambda: bench.state.books.account("x", "bbo").journaled == 200)
            scope.cancel()
    assert threading.active_count() <= threads + 24
    store.heal()
