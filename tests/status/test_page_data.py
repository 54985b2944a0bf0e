"""What the page is given: small for thousands of topics, and only what is new of the notices."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.health import Standing
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.notices import Notices, SubscribeRefused, UploadFailed
from quantlab_collector.runtime.state import ConnectionState, ServiceState
from quantlab_collector.status.app import create_app
from quantlab_collector.status.grid import grid
from quantlab_collector.status.options import StatusOptions
from quantlab_collector.status.page_data import page
from status.conftest import STARTED_NS

SECOND = 1_000_000_000


class NoLog:
    def log(self, level: int, event: str, **fields: Any) -> None:
        pass


def at(state: ServiceState, seconds: float):
    """The grid so many seconds after the start."""
    return grid(state.snapshot(1000.0 + seconds))


def test_a_cell_is_an_age_or_a_word(state: ServiceState) -> None:
    binance, okx = at(state, 150)

    assert binance == {
        "exchange": "binance",
        "symbols": ["BTCUSDT", "ETHUSDT", "XYZUSDT"],
        "streams": ["bbo"],
        "cells": [[2180], ["nothing"], ["refused"]],
    }
    assert okx == {"exchange": "okx", "symbols": ["BTCUSDT"], "streams": ["trade"], "cells": [["down"]]}


@pytest.mark.parametrize(("stream", "patience"), [(s, 900 if s is StreamType.TRADE else 45) for s in StreamType])
def test_waiting_becomes_nothing_when_patience_ends(state: ServiceState, stream: StreamType, patience: int) -> None:
    connection = state.connections[0]  # active since half a second
    connection.topics, connection.seen = (Topic("binance", stream, "BTCUSDT"),), {}

    assert at(state, 0.5 + patience)[0]["cells"] == [["waiting"]]
    assert at(state, 0.6 + patience)[0]["cells"] == [["nothing"]]


def test_an_exchange_on_several_connections_is_one_table(state: ServiceState) -> None:
    okx = state.connections[1]
    other = ConnectionState(
        "okx", "public-1", "", (Topic("okx", StreamType.BBO, "BTCUSDT"), Topic("okx", StreamType.BBO, "ETHUSDT"))
    )
    for to in (State.CONNECTING, State.CONNECTED, State.SUBSCRIBING):
        other.lifecycle.move(to, STARTED_NS + 100 * SECOND)
    state.connections = [okx, other]

    assert at(state, 101) == [
        {
            "exchange": "okx",
            "symbols": ["BTCUSDT", "ETHUSDT"],
            "streams": ["bbo", "trade"],
            "cells": [["waiting", "down"], ["waiting", None]],
        }
    ]


def test_a_clock_that_went_back_gives_no_age_below_zero(state: ServiceState) -> None:
    assert at(state, 1)[0]["cells"][0] == [0]


async def test_only_what_is_new_is_told_again(state: ServiceState, standing: Standing) -> None:
    app = create_app(lambda: state.snapshot(1150.0), lambda: standing, StatusOptions())
    notices = Notices(state, NoLog(), wall=lambda: 1_767_280_500_000_000_000)
    for number in range(3):
        notices.tell(SubscribeRefused("okx", "public-0", f"topic {number}", 60018, "no\nsuch"))

    async def told(query: str):
        return (await (await app.test_client().get(f"/page.json{query}")).get_json())["notices"]

    assert [notice["number"] for notice in await told("")] == [1, 2, 3]
    assert await told("?after=2") == [
        {
            "number": 3,
            "ts": 1767280500000,
            "level": "warning",
            "event": "subscribe_refused",
            "text": "exchange okx · connection public-0 · topic topic 2 · code 60018 · text no\\nsuch",
        }
    ]
    assert await told("?after=3") == await told("?after=99") == []


@pytest.mark.parametrize("query", ["?after=-1", "?after=x", "?after=", "?after=1&after=2", "?before=1"])
async def test_a_query_that_is_not_understood_is_refused(state: ServiceState, standing: Standing, query: str) -> None:
    app = create_app(lambda: state.snapshot(1150.0), lambda: standing, StatusOptions())

    assert (await app.test_client().get(f"/page.json{query}")).status_code == 400


def test_addresses_in_notices_are_covered(state: ServiceState, standing: Standing) -> None:
    Notices(state, NoLog()).tell(UploadFailed("k", "auth", "PUT https://user:pass@store.example/b?X-Amz-Signature=abc 403", 1.0))

    text = page(state.snapshot(1150.0), standing, 0, ())["notices"][0]["text"]
    assert "store.example" in text
    assert not [secret for secret in ("pass", "abc", "user:") if secret in text]


def test_it_stays_small(state: ServiceState, standing: Standing) -> None:
    """A thousand symbols on three exchanges, a full history, and notices as long as they can be."""
    symbols = [f"COIN{number:04d}USDT" for number in range(1000)]
    state.connections = [
        ConnectionState(
            exchange, "public-0", "", tuple(Topic(exchange, stream, symbol) for stream in StreamType for symbol in symbols)
        )
        for exchange in ("binance", "bybit", "okx")
    ]
    for seconds in range(0, 2000, 5):
        state.sample(1008.0 + seconds, 0)
    quiet = page(state.snapshot(3000.0), standing, 0, ())
    notices = Notices(state, NoLog())
    for number in range(500):
        notices.tell(SubscribeRefused("okx", "public-0", f"{number}" * 300, 1, "x" * 300))

    assert len(quiet["history"]["at"]) == 180
    assert len(msgspec.json.encode(quiet)) < 250_000
    full = page(state.snapshot(3000.0), standing, 0, ())
    assert len(full["notices"]) == 200
    assert len(msgspec.json.encode(full)) < 450_000
