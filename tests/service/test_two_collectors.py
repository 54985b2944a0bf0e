"""Two whole collectors with one name and one store: one of them ships, the other one says so and loses nothing."""

from __future__ import annotations

import pytest
import trio

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import collector, config_for, manifests, run_cli

pytestmark = pytest.mark.long

SYMBOLS = ("BTCUSDT",)


async def test_the_second_one_is_in_error_and_leaves_with_3(nursery, tmp_path):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=500, seed=5))
    store = f'[storage]\nurl = "{tmp_path / "data"}"'
    config = config_for(simulator, symbols=SYMBOLS, flush="500ms", more=store)
    async with collector(tmp_path / "one", config) as one:
        with trio.fail_after(20):
            while not one.told("segment_committed"):
                await trio.sleep(0.05)
        async with collector(tmp_path / "two", config) as two:
            await two.wait_received(100)
            with trio.fail_after(20):
                while (await two.get("/status"))[1]["state"] != "ERROR":
                    await trio.sleep(0.05)
            (refused,) = two.told("shipping_refused")
            assert refused["text"].endswith("give each its own collector.instance_id")
            assert (await two.get("/status"))[1]["reasons"] == [refused["text"]]
            assert (await two.get("/ready")) == (503, {"ready": False, "reason": refused["text"]})
            assert (await two.get("/metrics"))[1]["writer"]["shipping_blocked"] == refused["text"]
            assert (await two.get("/health"))[0] == 200
            assert await two.stop() == 3
            (left,) = two.told("collector_stop")
            assert (left["reason"], left["written"]) == ("shipping is blocked", 0)
            assert left["received"] == left["pending"] >= 100
            assert left["waiting_segments"] > 0
            assert left["waiting_bytes"] > 0
        assert await one.stop() == 0
        assert one.told("collector_stop")[0]["waiting_segments"] == 0
    # The way out that the text tells: another name.
    async with collector(tmp_path / "two", config.replace("symbols =", 'instance_id = "b"\nsymbols =', 1)) as two:
        await two.wait_received(10)
        assert await two.stop() == 0
        recovered = [line["rows"] for line in two.told("segment_committed") if line["recovered"]]
        assert sum(recovered) == left["received"]
    assert {manifest["instance"] for manifest in manifests(tmp_path / "data")} == {"a", "b"}
    ended = run_cli("inspect", "--verify", str(tmp_path / "data"), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
