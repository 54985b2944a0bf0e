"""Who may ask what, and with which headers it is answered."""

from __future__ import annotations

import logging
import re
import threading

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from quart_trio import QuartTrio

from quantlab_collector.runtime.health import Standing
from quantlab_collector.runtime.recent_trades import RecentTrades
from quantlab_collector.runtime.state import Snapshot
from quantlab_collector.status import trouble_views, views
from quantlab_collector.status.app import ENDPOINTS, HEADERS, create_app
from quantlab_collector.status.assets import PAGE_POLICY, page_files
from quantlab_collector.status.collectors import storage_stats
from quantlab_collector.status.hosts import HostList
from quantlab_collector.status.options import StatusOptions
from quantlab_collector.status.page_data import page

PATHS = (*ENDPOINTS, "/page.json", "/collectors/status/binance", "/collectors/status/binance/public-0")
FILES = tuple(path for path, _, _ in page_files())


@pytest.fixture
def app(snapshot: Snapshot, standing: Standing) -> QuartTrio:
    return create_app(
        lambda: snapshot,
        lambda: standing,
        StatusOptions(allowed_hosts=("collector.example", "Monitor.Example:8443")),
        trades=RecentTrades().newest,
    )


async def get(app: QuartTrio, path: str, *, method: str = "GET", **headers: str):
    return await app.test_client().open(path, method=method, headers=headers)


# ---------------------------------------------------------------------------------------------------------------- pages


async def test_the_pages_are_the_views(app: QuartTrio, snapshot: Snapshot, standing: Standing) -> None:
    expected = {
        "/health": views.health(snapshot),
        "/ready": views.ready(snapshot),
        "/streams": views.streams(snapshot),
        "/gaps": trouble_views.gaps(snapshot),
        "/metrics": views.metrics(snapshot),
        "/status": views.status(snapshot, standing),
        "/collectors/status": views.collectors(snapshot),
        "/collectors/storage/stats": storage_stats(snapshot),
        "/collectors/trades": {"symbol": None, "exchange": None, "trades": []},
        "/page.json": page(snapshot, standing, 0, ENDPOINTS),
        "/collectors/status/binance": views.collectors(snapshot, "binance"),
        "/collectors/status/binance/public-0": views.collectors(snapshot, "binance/public-0"),
    }
    assert set(expected) == set(PATHS)
    for path, shape in expected.items():
        response = await get(app, path)
        assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
        assert msgspec.json.decode(await response.get_data()) == msgspec.to_builtins(shape)


async def test_the_state_is_read_where_it_lives(snapshot: Snapshot, standing: Standing) -> None:
    """Quart calls plain functions in threads, where they could see a state in the middle of a move."""
    main = threading.current_thread()

    def look() -> Snapshot:
        assert threading.current_thread() is main
        return snapshot

    assert (await get(create_app(look, lambda: standing, StatusOptions()), "/metrics")).status_code == 200


async def test_every_request_sees_the_present(standing: Standing, snapshot: Snapshot, empty: Snapshot) -> None:
    snapshots = [snapshot, empty]
    app = create_app(lambda: snapshots.pop(), lambda: standing, StatusOptions())

    assert (await (await get(app, "/metrics")).get_json())["total_events"] == 0
    assert (await (await get(app, "/metrics")).get_json())["total_events"] == 110


async def test_not_ready_is_503_with_the_reason(empty: Snapshot, standing: Standing) -> None:
    response = await get(create_app(lambda: empty, lambda: standing, StatusOptions()), "/ready")

    assert response.status_code == 503
    assert await response.get_json() == {"ready": False, "reason": "no WebSocket is connected"}


async def test_metrics_for_prometheus(app: QuartTrio) -> None:
    accept = "application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    response = await get(app, "/metrics", accept=accept)

    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.headers["Vary"] == "Accept"
    assert list(text_string_to_metric_families((await response.get_data()).decode()))


async def test_metrics_as_openmetrics(app: QuartTrio) -> None:
    response = await get(app, "/metrics", accept="application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2")

    assert response.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert (await response.get_data()).endswith(b"# EOF\n")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html,*/*;q=0.8", "\x00;q=\xff"])
async def test_metrics_for_everyone_else(app: QuartTrio, accept: str) -> None:
    response = await get(app, "/metrics", accept=accept)

    assert (response.headers["Content-Type"], response.headers["Vary"]) == ("application/json", "Accept")


async def test_bodies_stay_small(app: QuartTrio) -> None:
    for path in PATHS:
        assert len(await (await get(app, path)).get_data()) < 10_000


# -------------------------------------------------------------------------------------------------------------- methods


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_get_without_the_body(app: QuartTrio, path: str) -> None:
    response, head = await get(app, path), await get(app, path, method="HEAD")

    assert head.status_code == 200
    assert head.headers == response.headers
    assert int(head.headers["Content-Length"]) == len(await response.get_data())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "OPTIONS", "PROPFIND", "get"])
@pytest.mark.parametrize("path", ["/metrics", "/collectors/status/binance", "/nowhere", "*"])
async def test_a4_nothing_but_get_and_head(app: QuartTrio, method: str, path: str) -> None:
    if method == "get":
        method = "GETS"
    response = await get(app, path, method=method)

    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")
    assert await response.get_json() == {"error": "this interface only reads"}
    assert all(response.headers[name] == value for name, value in HEADERS.items())


# ---------------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    "path",
    [
        "/metrics/",
        "/../metrics",
        "/./metrics",
        "/%2e%2e/metrics",
        "/Metrics",
        "/metrics%00",
        "/metrics%0d%0aX-Evil:%201",
        "/métrics",
        "/%ff%fe",
        "/collectors",
        "/collectors//status",
        "/collectors/status/",
        "/collectors/status//",
        "/collectors/status/kraken",
        "/collectors/status/binance/",
        "/collectors/status/../../health",
        "/static/app.py",
        "/healthz;x=1",
        "/" + "x" * 8192,
        "/favicon.ico",
    ],
)
async def test_a7_a_path_is_right_to_the_letter_or_not_there(app: QuartTrio, path: str) -> None:
    response = await get(app, path)

    assert response.status_code == 404
    assert await response.get_json() == {"error": "not found"}
    assert response.headers["Content-Type"] == "application/json"
    assert all(response.headers[name] == value for name, value in HEADERS.items())


@pytest.mark.parametrize("path", FILES)
async def test_the_files_of_the_page_have_their_types_and_a_policy_of_their_own(app: QuartTrio, path: str) -> None:
    response, head = await get(app, path), await get(app, path, method="HEAD")

    suffix = "html" if path == "/" else path.rpartition(".")[2]
    types = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert response.status_code == 200
    assert response.headers["Content-Type"].split(";")[0] == types[suffix]
    assert response.headers["Content-Security-Policy"] == PAGE_POLICY
    assert {name: response.headers[name] for name in HEADERS} == {**HEADERS, "Content-Security-Policy": PAGE_POLICY}
    assert head.headers == response.headers
    assert not re.search(r"unsafe|https?:|data:|\*", PAGE_POLICY), "the page loads and asks nothing but this service"


@pytest.mark.parametrize("path", ["/page", "/page/", "/page/index.html", "/page/..", "/page/page.js/", "/page.js", "/index.html"])
async def test_of_the_page_nothing_but_its_files(app: QuartTrio, path: str) -> None:
    assert (await get(app, path)).status_code == 404


async def test_a_query_changes_nothing(app: QuartTrio) -> None:
    plain, asked = await get(app, "/status"), await get(app, "/status?state=READY&name[]=x")

    assert await plain.get_data() == await asked.get_data()


# -------------------------------------------------------------------------------------------------------------- headers


@pytest.mark.parametrize("path", [*PATHS, "/nowhere"])
async def test_a6_headers_on_every_answer(app: QuartTrio, path: str) -> None:
    response = await get(app, path)

    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Server" not in response.headers
    assert not [name for name, _ in response.headers if name.lower().startswith("access-control-")]
    assert "Set-Cookie" not in response.headers


async def test_a6_a_page_of_another_origin_gets_no_permission(app: QuartTrio) -> None:
    response = await get(app, "/metrics", origin="https://evil.example")

    assert not [name for name, _ in response.headers if name.lower().startswith("access-control-")]


# ----------------------------------------------------------------------------------------------------------------- host


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("localhost:9100", True),
        ("LOCALHOST:1", True),
        ("localhost.", True),
        ("127.0.0.1", True),
        ("127.0.0.1:9100", True),
        ("127.8.8.8:9100", True),
        ("[::1]:9100", True),
        ("[::1]", True),
        ("[0:0:0:0:0:0:0:1]", True),
        ("collector.example:9100", True),
        ("Collector.Example", True),
        ("monitor.example", True),
        ("evil.example", False),
        ("evil.example:9100", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("sub.collector.example", False),
        ("10.0.0.5:9100", False),
        ("[::2]:9100", False),
        ("0.0.0.0:9100", False),
        ("2130706433", False),
        ("", False),
        ("localhost:", False),
        ("localhost:port", False),
        ("localhost:9100:9100", False),
        ("localhost, evil.example", False),
        ("user@localhost", False),
        ("localhost/metrics", False),
        ("::1", False),
    ],
)
async def test_a5_the_host_must_be_ours(app: QuartTrio, host: str, allowed: bool) -> None:
    response = await get(app, "/health", host=host)

    assert response.status_code == (200 if allowed else 421)
    if not allowed:
        assert await response.get_json() == {"error": "this service does not go by that name"}
        assert all(response.headers[name] == value for name, value in HEADERS.items())


async def test_a5_the_host_is_looked_at_before_anything_else(app: QuartTrio) -> None:
    assert (await get(app, "/nowhere", method="POST", host="evil.example")).status_code == 421


async def test_a5_forwarded_headers_are_not_believed(app: QuartTrio) -> None:
    forwarded = {"X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"}

    assert (await get(app, "/health", host="evil.example", **forwarded)).status_code == 421
    assert (await get(app, "/health", host="localhost", **{"X-Forwarded-Host": "evil.example"})).status_code == 200


def test_brackets_are_for_addresses() -> None:
    assert not HostList([]).allows("[localhost]", None)


def test_the_bound_host_is_ours() -> None:
    assert HostList(["collector.internal"]).allows("collector.internal:9100", None)
    assert HostList(["fd00::7"]).allows("[fd00::7]:9100", None)


def test_listening_everywhere_the_address_that_was_reached_is_ours() -> None:
    """A probe inside a cluster asks by the address of the pod, which nobody can write into a configuration."""
    hosts = HostList(["0.0.0.0"])

    assert hosts.allows("10.0.0.5:9100", arrived_at="10.0.0.5")
    assert not hosts.allows("10.0.0.6:9100", arrived_at="10.0.0.5")
    assert not hosts.allows("evil.example", arrived_at="10.0.0.5")


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/collectors/trades"])
async def test_an_error_tells_the_log_and_not_the_client(standing: Standing, caplog, path: str) -> None:
    def broken() -> Snapshot:
        raise RuntimeError("s3://secret-bucket")

    response = await get(create_app(broken, lambda: standing, StatusOptions()), path)

    assert response.status_code == 500
    assert await response.get_json() == {"error": "internal server error"}
    assert all(response.headers[name] == value for name, value in HEADERS.items())
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("quantlab_collector.status.app", logging.ERROR)
    assert "secret-bucket" in caplog.text
