"""A thousand symbols on three exchanges at once: everything is planned, connected, subscribed and flowing within a minute."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
import trio

from quantlab_collector.exchanges.registry import EXCHANGES
from quantlab_collector.simulators.child import playing_in_child
from quantlab_collector.simulators.play import PlayOptions
from service.harness import PACKAGE_PARENT, collector

pytestmark = pytest.mark.long

SYMBOLS = tuple(f"S{number:04d}USDT" for number in range(1_000))
NAMES = ("binance", "bybit", "okx")
RATE = 1_000
"""Events a second of each exchange: enough for every connection to have data soon."""
ACTIVE_WITHIN = 60.0
GO_ON = 3.0
"""Seconds of recording after all connections are up."""
MOST_MEMORY_MB = 600


def config_of(simulators):
    tables = "".join(
        f'[exchanges.{one.exchange}]\nenabled = true\nws_url = "{one.ws_url}"\nrest_url = "{one.rest_url}"\n'
        for one in simulators
    )
    others = "".join(f"[exchanges.{name}]\nenabled = false\n" for name in EXCHANGES if name not in NAMES)
    return f"""
[collector]
symbols = {json.dumps(SYMBOLS)}
# Every topic with data becomes a file of its own, more than ten thousand of them: the usual 25 s may be too short for a slow disk.
stop_timeout = "60s"
{tables}{others}
[status]
port = 0
[log]
format = "json"
level = "debug"
"""


async def test_a_thousand_symbols_on_three_exchanges(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", PACKAGE_PARENT)
    with playing_in_child(PlayOptions(exchanges=NAMES, symbols=SYMBOLS, rate=RATE, seed=5)) as simulators:
        began = trio.current_time()
        async with collector(tmp_path / "run", config_of(simulators)) as service:
            started = trio.current_time() - began
            pages = Pages(service)
            with trio.fail_after(ACTIVE_WITHIN):
                while True:
                    connections = (await pages.get("/collectors/status"))["collectors"]
                    await balanced(pages)
                    planned = {each["exchange"] for each in connections} == set(NAMES)
                    if planned and all(each["state"] == "ACTIVE" for each in connections):
                        break
                    await trio.sleep(0.2)
            active = trio.current_time() - began
            end = trio.current_time() + GO_ON
            while trio.current_time() < end:
                identity = await balanced(pages)
                await trio.sleep(0.5)
            connections = (await pages.get("/collectors/status"))["collectors"]
            topics = (await pages.get("/streams"))["topics"]
            status = await pages.get("/status")
            stopping = trio.current_time()
            assert await service.stop() == 0
            stopped = trio.current_time() - stopping
            (stop,) = service.told("collector_stop")
            assert service.errors == ""
            for event in ("ws_disconnect", "gap_detected", "subscribe_refused", "symbol_unlisted", "frame_rejected"):
                assert not service.told(event), service.told(event)[:3]

    assert {(each["state"], each["connects"]) for each in connections} == {("ACTIVE", 1)}, connections
    by_exchange = Counter(each["exchange"] for each in connections)
    assert set(by_exchange) == set(NAMES)
    by_topic = Counter(topic["exchange"] for topic in topics)
    assert by_topic == {name: len(SYMBOLS) * len(EXCHANGES[name].streams) for name in NAMES}
    assert (stop["dropped"], stop["pending"], stop["rejected"]) == (0, 0, 0)
    assert stop["received"] >= identity["received"] >= RATE * GO_ON
    memory = status["metrics"]["rss_mb"]
    assert memory <= MOST_MEMORY_MB
    states = Counter(topic["state"] for topic in topics)
    print(
        f"{len(connections)} connections ({dict(by_exchange)}), {len(topics)} topics ({dict(states)});"
        f" started after {started:.1f} s, all ACTIVE after {active:.1f} s; {memory} MB;"
        f" {stop['received']} events; stopped within {stopped:.1f} s; slowest pages in s: {pages.slowest}"
    )


class Pages:
    """Asks for pages, and remembers how long each took at most."""

    def __init__(self, service):
        self._service = service
        self.slowest = {}

    async def get(self, path):
        began = time.monotonic()
        _, answer = await self._service.get(path)
        self.slowest[path] = round(max(self.slowest.get(path, 0.0), time.monotonic() - began), 3)
        return answer


async def balanced(pages):
    identity = (await pages.get("/metrics"))["identity"]
    assert identity["received"] == sum(identity[term] for term in ("written", "dropped", "pending", "rejected")), identity
    assert (identity["holds"], identity["dropped"]) == (True, 0), identity
    return identity
