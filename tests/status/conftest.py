"""One state of the service, built by hand, that the pages are read from."""

from __future__ import annotations

import attrs
import pytest

from quantlab_collector.contracts.events import Burst, StreamType, Trade
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.health import Health, Standing, assess
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.state import ConnectionState, ServiceState, Snapshot

MS = 1_000_000
STARTED_NS = 1_767_280_350_872_000_000
"""2026-01-01 15:12:30.872 UTC."""


@pytest.fixture
def state() -> ServiceState:
    """Two exchanges after two and a half minutes: one delivers, one has just been lost."""
    state = ServiceState("a", "0.1.0", started_ns=STARTED_NS, started=1000.0, queue_capacity=1000)
    bbo, trade = StreamType.BBO, StreamType.TRADE
    binance = ConnectionState(
        "binance",
        "public-0",
        "wss://fstream.binance.com/public/stream",
        (Topic("binance", bbo, "BTCUSDT"), Topic("binance", bbo, "ETHUSDT"), Topic("binance", bbo, "XYZUSDT")),
    )
    okx = ConnectionState("okx", "public-0", "wss://ws.okx.com/ws/v5/public", (Topic("okx", trade, "BTCUSDT"),))
    state.connections += [binance, okx]
    state.sample(1000.0, 90_000_000)

    for to in (State.CONNECTING, State.CONNECTED, State.SUBSCRIBING, State.ACTIVE):
        binance.lifecycle.move(to, STARTED_NS + 500 * MS)
    binance.connects, binance.frames, binance.received_bytes = 1, 102, 20_400
    binance.last_frame_ns = 1_767_280_498_692_000_000
    binance.seen = {bbo: {"BTCUSDT": 1_767_280_498_692_000_000}}
    binance.refused = {"binance/bbo/XYZUSDT": "Invalid symbol.\n"}

    okx.lifecycle.move(State.CONNECTING, STARTED_NS)
    okx.lifecycle.move(State.RECONNECTING, STARTED_NS + 2000 * MS, "closed by the peer: \x1b[31mgo away")
    okx.attempts, okx.connects, okx.reconnects, okx.frames, okx.received_bytes = 3, 2, 2, 5, 900
    okx.last_frame_ns = 1_767_280_352_000_000_000

    books = state.books
    books.receive("binance", bbo, kept=100, dropped=2, reason="queue_full")
    books.buffer("binance", bbo, 60)
    books.journal("binance", bbo, 50)
    books.commit("binance", bbo, 40)
    books.receive("okx", trade, kept=5, dropped=0, reason="queue_full")
    books.reject("okx", trade, "not_a_number")
    books.reject("okx", None, "not_json", 2)
    books.recovered = 7

    state.unknown.update({("okx", "maintenance"): 2, ("okx", "news"): 1})
    state.queue_peak, state.log_dropped = 99, lambda: 4
    writer = state.writer
    writer.segment, writer.segment_rows, writer.segment_bytes = "1767280350872-000003", 10, 2_000
    writer.active_buffers, writer.files_written, writer.segments_committed = 2, 4, 2
    writer.in_flight_uploads, writer.upload_failures, writer.sealed_segments, writer.spool_bytes = 1, 3, 1, 5_000
    writer.upload_slots, writer.backlog_segments, writer.backlog_bytes, writer.shipped_bytes = 16, 3, 4_000, 9_000
    writer.oldest_seal_ns = STARTED_NS + 127_720 * MS
    writer.last_commit_ns = 1_767_280_470_000_000_000
    writer.last_sync_ns = 1_767_280_498_691_000_000
    raw = state.raw_archive
    raw.enabled, raw.queued_bytes, raw.files, raw.kept_files, raw.kept_bytes, raw.upload_failures = True, 11, 12, 13, 14, 15
    raw.fault = "503\nSlow down"
    binance_frames = raw.account("binance")
    binance_frames.received, binance_frames.archived, binance_frames.dropped = 102, 90, 5
    writer.spool_max_bytes, writer.disk_free, writer.oldest_buffered_ns = 20_000, 700_000, STARTED_NS + 147_570 * MS
    for transit in (-2, 30, 70):
        event = Trade(STARTED_NS, STARTED_NS + transit * MS, "okx", "BTCUSDT", 1.0, 1.0, 1, "1")
        state.latencies.received(Burst("okx", trade, [event]))
    state.latencies.synced("okx", trade, 400 * MS)
    state.latencies.committed(61_000 * MS)
    state.latencies.woke_late(MS)
    state.sample(1008.0, 91_234_567)
    return state


@pytest.fixture
def snapshot(state: ServiceState) -> Snapshot:
    return state.snapshot(1147.82)


@pytest.fixture
def standing(snapshot: Snapshot) -> Standing:
    health = Health(STARTED_NS)
    health.judge(assess(snapshot), STARTED_NS + 18_602_000)
    return health.standing


@pytest.fixture
def empty() -> Snapshot:
    """A service that has just begun: nothing is connected, nothing was received."""
    return ServiceState("a", "0.1.0", started_ns=STARTED_NS, started=1000.0, queue_capacity=1000).snapshot(1000.0)


@pytest.fixture
def recording(snapshot: Snapshot) -> Snapshot:
    """The same with nothing to complain of."""
    return attrs.evolve(snapshot, drops_15m=0)
