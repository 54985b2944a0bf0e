"""``/collectors``: the newest trades and how they are asked for, and the way to the store."""

from __future__ import annotations

import time

import pytest

from quantlab_collector.contracts.events import BUY, SELL, StreamType, Trade
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.health import Standing
from quantlab_collector.runtime.obstacles import Obstacle
from quantlab_collector.runtime.recent_trades import RecentTrades
from quantlab_collector.runtime.state import ConnectionState, ServiceState
from quantlab_collector.status.app import create_app
from quantlab_collector.status.collectors import storage_stats
from quantlab_collector.status.options import StatusOptions


@pytest.fixture
def trades() -> RecentTrades:
    now = time.time_ns()
    trades = RecentTrades()
    for number in range(150):
        exchange = ("binance", "okx")[number % 2]
        trades.add([Trade(now - 10**9, now + number, exchange, "BTCUSDT", 100.5, 0.25, (BUY, SELL)[number % 2], str(number))])
    trades.add([Trade(now, now, "binance", "ETHUSDT", 1.0, 2.0, BUY, "\x1b[31m")])
    return trades


@pytest.fixture
def get(state: ServiceState, standing: Standing, trades: RecentTrades):
    state.connections.append(ConnectionState("binance", "x", "", (Topic("binance", StreamType.TRADE, "SOLUSDT"),)))
    app = create_app(lambda: state.snapshot(1147.82), lambda: standing, StatusOptions(), trades=trades.newest)

    async def get(query):
        response = await app.test_client().get(f"/collectors/trades{query}")
        return response.status_code, await response.get_json()

    return get


async def test_the_newest_come_first(get) -> None:
    status, answer = await get("?symbol=BTCUSDT&limit=3")

    assert status == 200
    assert (answer["symbol"], answer["exchange"]) == ("BTCUSDT", None)
    assert [trade["trade_id"] for trade in answer["trades"]] == ["149", "148", "147"]
    newest = answer["trades"][0]
    assert newest == {
        "exchange": "okx", "symbol": "BTCUSDT", "event_ts": newest["event_ts"], "recv_ts": newest["recv_ts"],
        "price": 100.5, "qty": 0.25, "side": "sell", "trade_id": "149",
    }  # fmt: skip
    assert abs(newest["recv_ts"] - newest["event_ts"] - 1000) <= 1, "milliseconds, as everywhere here"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 100),
        ("?limit=1000", 151),
        ("?limit=1", 1),
        ("?symbol=ETHUSDT", 1),
        ("?exchange=okx", 75),
        ("?exchange=okx&symbol=BTCUSDT&limit=74", 74),
        ("?exchange=okx&symbol=ETHUSDT", 0),
        ("?symbol=SOLUSDT", 0),
    ],
)
async def test_what_is_asked_for_is_what_comes(get, query: str, count: int) -> None:
    status, answer = await get(query)

    assert (status, len(answer["trades"])) == (200, count)


async def test_texts_of_a_peer_are_cleaned(get) -> None:
    assert (await get("?symbol=ETHUSDT"))[1]["trades"][0]["trade_id"] == "\\x1b[31m"


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("?limit=0", "limit must be between 1 and 1000"),
        ("?limit=1001", "limit must be between 1 and 1000"),
        ("?limit=-1", "limit must be a number"),
        ("?limit=ten", "limit must be a number"),
        ("?limit=1.5", "limit must be a number"),
        ("?limit=1_0", "limit must be a number"),
        ("?limit=%D9%A3", "limit must be a number"),
        ("?limit=" + "9" * 5000, "limit must be a number"),
        ("?limit=", "limit is empty"),
        ("?symbol=", "symbol is empty"),
        ("?symbol=BTCUSDT&symbol=ETHUSDT", "symbol is there twice"),
        ("?limit=1&limit=2", "limit is there twice"),
        ("?simbol=BTCUSDT", "no parameter simbol; there are symbol, exchange, limit"),
        ("?%1b=1", "no parameter \\x1b; there are symbol, exchange, limit"),
    ],
)
async def test_a_query_that_is_not_understood_is_refused(get, query: str, error: str) -> None:
    assert await get(query) == (400, {"error": error})


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("?symbol=NOPEUSDT", "NOPEUSDT is not recorded"),
        ("?exchange=kraken", "kraken is not recorded"),
        ("?symbol=btcusdt", "btcusdt is not recorded"),
        ("?symbol=%00%3Cscript%3E", "\\x00<script> is not recorded"),
    ],
)
async def test_what_is_not_recorded_is_said_to_be_so(get, query: str, error: str) -> None:
    assert await get(query) == (404, {"error": error})


async def test_trades_that_are_not_kept(state: ServiceState, standing: Standing) -> None:
    app = create_app(lambda: state.snapshot(0.0), lambda: standing, StatusOptions())

    response = await app.test_client().get("/collectors/trades")

    assert response.status_code == 404
    assert await response.get_json() == {"error": "recent trades are not kept: status.recent_trades is false"}


def test_the_way_to_the_store(state: ServiceState) -> None:
    state.writer.disk_free = 10**12

    assert storage_stats(state.snapshot(1147.82)) == {
        "reaches_store": True,
        "not_ready": None,
        "obstacle": None,
        "storage_fault": None,
        "shipping_blocked": None,
        "encode_fault": None,
        "queued_events": 45,
        "pending_events": 65,
        "written_events": 40,
        "segment": {"name": "1767280350872-000003", "rows": 10, "bytes": 2000},
        "sealed_segments": 1,
        "backlog": {"segments": 3, "bytes": 4000, "lag_seconds": 20.1},
        "spool": {"bytes": 5000, "disk_free": 10**12},
        "uploads": {"in_flight": 1, "slots": 16, "failures": 3, "shipped_bytes": 9000},
        "committed": {"segments": 2, "files": 4, "recovered_rows": 7},
        "last_sync_ts": 1767280498691,
        "last_commit_ts": 1767280470000,
    }


def test_what_is_in_the_way(state: ServiceState) -> None:
    writer = state.writer
    writer.obstacle, writer.obstacle_text = Obstacle.DISK_FULL, "no\nspace"
    writer.storage_fault, writer.shipping_blocked, writer.encode_fault = "auth: refused", "another one ships\x07", "EIO"

    shown = storage_stats(state.snapshot(1147.82))

    assert shown["reaches_store"] is False
    assert shown["not_ready"] == "another one ships\\x07"
    assert shown["obstacle"] == {"name": "disk_full", "text": "no\\nspace"}
    assert (shown["storage_fault"], shown["shipping_blocked"], shown["encode_fault"]) == (
        "auth: refused", "another one ships\\x07", "EIO",
    )  # fmt: skip
