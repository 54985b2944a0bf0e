"""The whole service against a simulated exchange that numbers every event: what was accepted by the kernel is what is in the files."""

from __future__ import annotations

import os
import ssl

import pytest
import trio
import trustme

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import NOTHING, collector, config_for, differences, manifests, owed, recorded, run_cli

pytestmark = pytest.mark.long

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT")
RATE = 5_000
SECONDS = float(os.environ.get("QUANTLAB_TEST_SECONDS", "20"))


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls(request, authority, tmp_path):
    """A server context and the file that a client trusts; nothing for plain."""
    if request.param == "plain":
        return None, None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return context, ca_file


async def scrape_until(service, end, scrapes):
    """Scrape until a time; the books must balance at every scrape."""
    while trio.current_time() < end:
        _, metrics = await service.get("/metrics")
        identity = metrics["identity"]
        assert identity["received"] == sum(identity[term] for term in ("written", "dropped", "pending", "rejected")), identity
        assert identity["holds"] is True
        assert (await service.get("/health"))[1]["status"] == "ok"
        scrapes.append(identity)
        await trio.sleep(0.2)


@pytest.mark.parametrize("tls", ["plain", "tls"], indirect=True)
async def test_what_was_accepted_before_the_stop_is_in_the_files(tls, tmp_path, nursery):
    context, ca_file = tls
    options = BinanceOptions(symbols=SYMBOLS, rate=RATE, seed=7, ssl_context=context)
    simulator = await nursery.start(serve_binance, options)
    scrapes = []
    async with collector(tmp_path / "run", config_for(simulator, symbols=SYMBOLS, ca_file=ca_file)) as service:
        await scrape_until(service, trio.current_time() + SECONDS, scrapes)
        # In full flow: the simulator never pauses.
        assert await service.stop() == 0
        assert service.errors == ""
        (stop,) = service.told("collector_stop")
    nursery.cancel_scope.cancel()

    data = tmp_path / "run" / "data"
    got, expected = recorded(data), owed(simulator)
    assert differences(got, expected) == NOTHING
    rows = sum(map(len, got.values()))
    assert rows == stop["received"] == stop["written"]
    assert (stop["dropped"], stop["pending"], stop["rejected"], stop["exit_code"]) == (0, 0, 0, 0)
    # A test that saw too little proves nothing.
    assert rows >= 0.8 * RATE * SECONDS
    assert len(scrapes) >= SECONDS
    assert scrapes[-1]["written"] > 0
    assert len(manifests(data)) >= SECONDS // 5
    assert all(manifest["complete"] for manifest in manifests(data))
    assert run_cli("inspect", "--verify", "data", cwd=tmp_path / "run").returncode == 0
    assert not [path for path in (tmp_path / "run" / "spool").rglob("*") if path.suffix in {".journal", ".pack"}]
