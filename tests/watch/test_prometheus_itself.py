"""A real Prometheus: it scrapes a collector that records, and its arithmetic agrees with the books."""

from __future__ import annotations

import os
import re
import socket
import time
import urllib.request
from urllib.parse import urlsplit

import pytest
import trio

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import collector, config_for
from watch.prometheus_server import Server, missing_programs, promtool
from watch.test_dashboard import CONF, expressions

# `nox -s watch` installs them, and sets this: there a test that cannot run is a failure.
if missing_programs() and "QUANTLAB_EXPECT_PROMETHEUS" not in os.environ:
    pytest.skip("Debian's package prometheus is not installed; `nox -s watch` installs it", allow_module_level=True)

SYMBOLS = ("BTCUSDT", "ETHUSDT")
IDENTITY = (
    "sum(quantlab_events_received_total) - sum(quantlab_events_written_total) - sum(quantlab_events_dropped_total)"
    " - sum(quantlab_events_pending) - sum(quantlab_events_rejected_total)"
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as place:
        return place.getsockname()[1]


def in_grafana(expression: str) -> str:
    """An expression as the dashboard sends it."""
    filled = re.sub(r"\$__(rate_interval|range)", "1m", expression).replace("$instance", ".*")
    return re.sub(r"label_values\((\w+), \w+\)", r"\1", filled)


def test_the_configuration_and_the_rules_are_sound() -> None:
    folder = CONF / "prometheus"
    assert "SUCCESS" in promtool("check", "config", folder / "prometheus.yml")
    assert "SUCCESS" in promtool("test", "rules", folder / "alerts_test.yml")


async def test_a_real_prometheus_scrapes_a_collector(tmp_path, nursery) -> None:
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=1000))
    async with collector(tmp_path / "run", config_for(simulator, symbols=SYMBOLS, flush="1s")) as service:
        with Server(tmp_path / "prometheus", free_port(), urlsplit(service.url).netloc) as server:
            await watch(server)
            await check_what_is_exposed(service)
        assert await service.stop() == 0
    nursery.cancel_scope.cancel()


async def watch(server: Server) -> None:
    async def value(expression: str) -> float:
        return await trio.to_thread.run_sync(server.value, expression) or 0.0

    with trio.fail_after(45):
        while await value("sum(quantlab_events_written_total)") < 2000 or await value("count_over_time(up[1m])") < 5:
            assert server.process.poll() is None, server.log.read_text()
            await trio.sleep(0.2)
    assert await value('up{job="quantlab"}') == 1
    assert await value(f"{IDENTITY} == bool 0") == 1
    # All samples of one scrape have one time, so the books must balance at every instant in between.
    now = time.time()
    (series,) = server.query(IDENTITY, start=str(now - 60), end=str(now), step="1s")
    assert len(series["values"]) >= 4
    assert {number for _, number in series["values"]} == {"0"}
    assert await value("sum(rate(quantlab_events_received_total[30s]))") > 100
    assert 0 < await value("histogram_quantile(0.99, sum by (le) (rate(quantlab_event_sync_seconds_bucket[30s])))") < 60
    for expression in expressions():
        server.query(in_grafana(expression))  # an expression that is not understood fails


async def check_what_is_exposed(service) -> None:
    def scrape(accept: str) -> tuple[str, bytes]:
        request = urllib.request.Request(f"{service.url}/metrics", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.headers["Content-Type"], answer.read()

    kind, text = await trio.to_thread.run_sync(scrape, "text/plain")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert promtool("check", "metrics", text=text) == ""
    kind, text = await trio.to_thread.run_sync(scrape, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert text.endswith(b"# EOF\n")
