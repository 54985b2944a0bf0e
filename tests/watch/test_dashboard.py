"""Alerts and dashboard speak of metrics that exist, and say so in words that Prometheus understands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from quantlab_collector.contracts.events import Burst, StreamType, Trade
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.health import Health
from quantlab_collector.runtime.state import ConnectionState, ServiceState
from quantlab_collector.status import prometheus

CONF = Path(__file__).parents[2] / "conf"
DASHBOARD = json.loads((CONF / "grafana" / "quantlab.json").read_bytes())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = (CONF / "prometheus" / "alerts.yml").read_text()
RULE_TESTS = (CONF / "prometheus" / "alerts_test.yml").read_text()
NAME = re.compile(r"\bquantlab_[a-z_]+\b")
WITH_LABELS = re.compile(r"\b(quantlab_[a-z_]+)\{([^}]*)\}")
LABEL = re.compile(r"(\w+)=~?\"")


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The samples that a busy collector exports, with their labels."""
    state = ServiceState("a", "0.1.0", started_ns=0, started=0.0, queue_capacity=10)
    trade, event = StreamType.TRADE, Trade(0, 10**7, "okx", "BTCUSDT", 1.0, 1.0, 1, "1")
    connection = ConnectionState("okx", "public-0", "wss://localhost", (Topic("okx", trade, "BTCUSDT"),))
    connection.last_frame_ns = 1
    state.connections.append(connection)
    state.books.receive("okx", trade, 1, 1, "queue_full")
    state.books.reject("okx", trade, "not_json")
    state.latencies.received(Burst("okx", trade, [event]))
    state.latencies.synced("okx", trade, 1)
    state.unknown["okx", "news"] = 1
    state.raw_archive.enabled = True
    state.raw_archive.account("okx")
    writer = state.writer
    writer.last_commit_ns = writer.last_sync_ns = writer.disk_free = writer.spool_max_bytes = 1
    state.sample(0.0, 1)
    samples: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(prometheus.as_text(state.snapshot(1.0), Health(0).standing).decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, set()).update(sample.labels)
    return samples


def expressions() -> list[str]:
    variables = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    return [target["expr"] for panel in PANELS for target in panel["targets"]] + variables


@pytest.mark.parametrize("text", [*expressions(), RULES, RULE_TESTS], ids=lambda text: text[:40].replace("\n", " "))
def test_every_metric_exists(text: str, exported: dict[str, set[str]]) -> None:
    names = set(NAME.findall(text))
    assert names
    assert names <= exported.keys()
    for name, selector in WITH_LABELS.findall(text):
        assert set(LABEL.findall(selector)) <= exported[name] | {"instance", "job"}, name


def test_every_panel_can_be_told_from_the_others() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)


def test_every_alert_is_seen_firing() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES)
    assert len(alerts) == len(set(alerts)) > 10
    assert set(alerts) == set(re.findall(r'alertname="(\w+)"', RULE_TESTS))
