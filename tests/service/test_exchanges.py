"""Every exchange with its connections interrupted again and again: what the ledger has is what is stored, and every hole is told.

An orderly close and a FIN come behind everything that was sent, so nothing may be missing. A reset may throw away what was on its
way: that, and nothing else, may be missing, and it must lie inside the gap that the recording declares.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from itertools import pairwise

import duckdb
import pytest
import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.exchanges.registry import EXCHANGES
from quantlab_collector.simulators.play import SIMULATORS, PlayOptions
from service.harness import (
    MESSAGE_STREAMS,
    ONE_EACH,
    collector,
    config_for,
    manifests,
    named_parts,
    owed,
    recorded,
    row,
    run_cli,
)

pytestmark = pytest.mark.long

SYMBOLS = tuple(f"S{number:02d}USDT" for number in range(50))
RATE = 2_000
SECONDS = float(os.environ.get("QUANTLAB_TEST_EXCHANGE_SECONDS", "8"))
BETWEEN = max(1.6, SECONDS / 12)
"""Seconds from one interruption to the next: the slowest exchange needs one to subscribe to everything again."""
STREAMS_OF = {"binance": MESSAGE_STREAMS}
GAP_BOUND_NS = 2_000_000_000
STAMP_NS = 500_000_000
"""On a busy machine a recorder may wait so long between a read and its time stamp."""

INTERRUPTIONS = (
    ("close 1001", lambda faults: faults.close(1001, "going away")),
    ("cut", lambda faults: faults.cut()),
    ("reset", lambda faults: faults.reset()),
    ("restart", lambda faults: faults.restart(0.3)),
)

# Back at once, every time: what is tested is the recording, not the patience.
RECONNECT = '[reconnect]\nfirst = "100ms"\ncap = "200ms"\nstable_after = "300ms"\n'


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_what_is_missing_was_declared(exchange, tmp_path, nursery):
    options = PlayOptions(exchanges=(exchange,), symbols=SYMBOLS, rate=RATE, seed=11)
    simulator = await SIMULATORS[exchange](options, 0, None, nursery)
    config = config_for(simulator, symbols=SYMBOLS, exchange=exchange, flush="2s", more=RECONNECT)
    async with collector(tmp_path / "run", config) as service:
        verbs = await interrupt(simulator, service, trio.current_time() + SECONDS)
        # In full flow, and with everything flowing again.
        assert await service.stop() == 0
        assert service.errors == ""
        (stop,) = service.told("collector_stop")
    nursery.cancel_scope.cancel()

    assert (stop["dropped"], stop["pending"], stop["rejected"], stop["exit_code"]) == (0, 0, 0, 0)
    data = tmp_path / "run" / "data"
    streams_of = STREAMS_OF.get(exchange, ONE_EACH)
    got, sent = recorded(data), owed(simulator, streams_of=streams_of)
    if exchange == "binance-spot":
        assert_quotes_are_dated_by_reception(data)
        got["bbo"] = Counter({(0, *rest): count for (_, *rest), count in got["bbo"].items()})
    assert {stream: len(rows) for stream, rows in got.items() if rows}.keys() == set(map(str, EXCHANGES[exchange].streams))

    # An exchange that tells its state at every subscription tells some things more than once; twice is what it did not tell.
    assert {stream: total(got[stream] - sent[stream]) for stream in sent} == dict.fromkeys(sent, 0), "foreign or twice"
    gaps, worst = check_gaps(simulator, exchange, manifests(data), verbs)
    missing = {stream: sent[stream] - got[stream] for stream in sent}
    in_gaps = lost_in_resets(simulator, streams_of, missing, gaps, verbs)
    assert {stream: total(missing[stream] - in_gaps[stream]) for stream in sent} == dict.fromkeys(sent, 0), "missing"

    rows = sum(map(total, got.values()))
    assert rows == stop["received"] == stop["written"]
    # A test that saw too little proves nothing.
    assert rows >= 0.5 * RATE * SECONDS
    assert run_cli("inspect", "--verify", "data", cwd=tmp_path / "run").returncode == 0
    print(
        f"{exchange}: {simulator.ledger.total} events sent, {sum(map(total, sent.values()))} rows owed, {rows} stored,"
        f" {sum(map(total, missing.values()))} lost by resets, {len(verbs)} interruptions, {len(gaps)} gaps,"
        f" bounds off by {worst / 1e6:.0f} ms at most"
    )


async def interrupt(simulator, service, end):
    """Interrupt all connections in every way, in turn, and let data flow again in between; the verbs in their order."""
    verbs = []
    await service.wait_received(RATE // 2)
    while trio.current_time() + BETWEEN < end:
        await trio.sleep(BETWEEN)
        name, order = INTERRUPTIONS[len(verbs) % len(INTERRUPTIONS)]
        before = len(simulator.connections)
        order(simulator.faults)
        verbs.append(name)
        await all_speak_again(simulator, before)
        identity = (await service.get("/metrics"))[1]["identity"]
        assert (identity["holds"], identity["dropped"]) == (True, 0), identity
    await trio.sleep_until(end)
    assert len(verbs) >= 3
    return verbs


async def all_speak_again(simulator, before):
    """Wait until every route has a new connection with data on it."""
    routes = {info.path for info in simulator.connections[:before]}
    with trio.fail_after(10):
        while routes - {info.path for info in simulator.connections[before:] if info.sent}:
            await trio.sleep(0.02)


def total(rows):
    return rows.total()


def check_gaps(simulator, exchange, found, verbs):
    """Every interruption of every connection is one gap whose bounds are those of the ledger.

    The result is what the recording declares, by the number of the connection that ended, and the worst error in ns.
    """
    bounds = {}
    for entry in simulator.ledger.entries():
        first, last = bounds.get(entry.connection, (entry.accepted_ns, entry.accepted_ns))
        bounds[entry.connection] = min(first, entry.accepted_ns), max(last, entry.accepted_ns)
    # With fifty symbols a route has one connection at a time, so the path tells which connection follows which.
    lives = defaultdict(list)
    for info in simulator.connections:
        if info.number in bounds:
            lives[info.path].append(info.number)
    declared = defaultdict(list)
    for manifest in found:
        for gap in manifest["gaps"]:
            assert gap["exchange"] == exchange
            if gap["to"] is not None and gap["symbol"] is None:  # the holes in numbers are told beside the outage
                declared[gap["connection"]].append((gap["since"], gap["to"]))
    assert len(declared) == len(lives), (dict(declared), dict(lives))
    by_connection, worst = {}, 0
    for name, gaps in declared.items():
        route = name.rpartition("-")[0]
        (numbers,) = [numbers for path, numbers in lives.items() if len(lives) == 1 or f"/{route}/" in path]
        assert len(gaps) == len(numbers) - 1 == len(verbs), (name, gaps, numbers, verbs)
        for (before, after), (since, to) in zip(pairwise(numbers), sorted(gaps), strict=True):
            error = max(abs(since - bounds[before][1]), abs(to - bounds[after][0]))
            assert error <= GAP_BOUND_NS, (name, before, after, error)
            worst = max(worst, error)
            by_connection[before] = since, to
    return by_connection, worst


def lost_in_resets(simulator, streams_of, missing, gaps, verbs):
    """Rows that are missing, were on their way when a reset came, and lie in the gap that tells of it."""
    order = defaultdict(list)
    for info in simulator.connections:
        if info.number in gaps:
            order[info.path].append(info.number)
    reset = {number for numbers in order.values() for number, verb in zip(numbers, verbs, strict=True) if verb == "reset"}
    lost = {stream: Counter() for stream in missing}
    if not any(missing.values()):
        return lost
    for entry in simulator.ledger.entries():
        if entry.connection not in reset:
            continue
        since, to = gaps[entry.connection]
        if not since - STAMP_NS <= entry.accepted_ns <= to:
            continue
        for stream in streams_of[entry.kind]:
            told = row(simulator.messages.raw(stream, entry.symbol, entry.number, entry.exchange_ms), stream.value)
            lost[stream.value][told] += 1
    return lost


def assert_quotes_are_dated_by_reception(data):
    """Quotes of Binance spot have no time of their own."""
    files = [str(data / key) for key in named_parts(data) if f"/stream={StreamType.BBO}/" in key]
    ((count,),) = duckdb.execute(
        "SELECT count(*) FROM read_parquet($files, hive_partitioning=false) WHERE ts_event <> ts_recv", {"files": files}
    ).fetchall()
    assert count == 0
