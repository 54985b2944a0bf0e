"""A writer that stands still: the queue fills, the newest events are dropped and counted, and the sockets do not notice."""

from __future__ import annotations

import pytest
import trio

from quantlab_collector.exchanges.protocol import Endpoints, Wanted
from quantlab_collector.exchanges.registry import EXCHANGES
from quantlab_collector.intake import wire, wire_trio_websocket
from quantlab_collector.intake.connection import Connecting
from quantlab_collector.intake.options import IntakeOptions, ReconnectOptions
from quantlab_collector.intake.supervisor import run_exchange
from quantlab_collector.intake.transport import WireOptions
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import MESSAGE_STREAMS, owed, recorded
from writer.workbench import Bench, until

SYMBOLS = ("BTCUSDT", "ETHUSDT")
CAPACITY = 2_000
PINGS_EVERY = 0.15


@pytest.mark.parametrize("open_wire", [wire.open_wire, wire_trio_websocket.open_wire], ids=["fast", "trio-websocket"])
async def test_stored_and_counted_dropped_is_what_was_sent(open_wire, tmp_path, nursery):
    options = BinanceOptions(symbols=SYMBOLS, rate=4_000, seed=11, ping_interval=PINGS_EVERY, pong_timeout=1.0)
    simulator = await nursery.start(serve_binance, options)
    binance = EXCHANGES["binance"]
    plans = binance.plan(Wanted(SYMBOLS, binance.streams, Endpoints(simulator.ws_url, simulator.rest_url)))
    bench, moves = Bench(tmp_path, capacity=CAPACITY), trio.Event()
    async with bench.writing(moves) as outlet, trio.open_nursery() as intake:
        tools = Connecting(binance, IntakeOptions(), WireOptions(), open_wire, outlet.clone(), bench.notices)
        intake.start_soon(run_exchange, plans, tools, ReconnectOptions())
        # Long enough for several pings beyond the pong's time limit: a socket that is not read would be closed.
        await until(lambda: bench.state.books.counters().dropped > 2 * CAPACITY)
        stalled_until = trio.current_time() + 1.5
        while trio.current_time() < stalled_until:
            assert bench.state.books.queued <= CAPACITY
            assert bench.identity.pending <= CAPACITY
            await trio.sleep(0.05)
        moves.set()
        await until(lambda: bench.state.books.queued < CAPACITY // 2)
        simulator.pause()
        await simulator.wait_quiet()
        await until(lambda: bench.identity.received == events_in(simulator))
        intake.cancel_scope.cancel()
    assert [(c.lifecycle.state, c.connects, c.reconnects) for c in bench.state.connections] == [(State.STOPPED, 1, 0)] * 2
    assert [info.close_code for info in simulator.connections] == [1000, 1000]

    got, sent = recorded(tmp_path / "data"), owed(simulator)
    stored = bench.identity
    assert stored.written + stored.dropped == stored.received == sum(map(len, sent.values()))
    in_manifests = {loss.stream: loss.count for loss in bench.stored().drops}
    for stream, rows in sent.items():
        if stream == "open_interest":
            assert not rows  # Binance has none
            continue
        account = bench.state.books.account("binance", stream)
        assert got[stream].keys() <= rows.keys()
        assert len(got[stream]) + account.dropped["queue_full"] == len(rows), stream
        assert in_manifests[stream] == account.dropped["queue_full"] > 0
    # The newest were dropped: what the queue held when it filled up is the beginning of what was sent.
    first = sorted(simulator.ledger.entries(), key=lambda entry: entry.accepted_ns)[: CAPACITY // 2]
    kept = owed(simulator, first)
    assert all(kept[stream].keys() <= got[stream].keys() for stream in kept)
    nursery.cancel_scope.cancel()


def events_in(simulator):
    return sum(len(MESSAGE_STREAMS[kind]) * count for (kind, _), count in simulator.ledger.totals.items())
