"""Commands and a whole collector with a store behind a socket, which fails now and then."""

from __future__ import annotations

import json
import signal

import pytest
import trio

from quantlab_collector.contracts.layout import RAW_FRAMES
from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import NOTHING, collector, config_for, differences, manifests, owed, recorded, run_cli
from storage.fault_store import SECRET, FaultStore, answer, hang_up, puts, reset_mid_body

pytestmark = pytest.mark.long

PREFIX = "v1"
RAW_ARCHIVE = "[raw_archive]\nenabled = true\n"
OFFLINE = "".join(f'[exchanges.{name}]\nrest_url = "http://127.0.0.1:9"\n' for name in ("binance", "bybit", "okx"))


def write_down(store, folder):
    """What the store holds, as files."""
    for key, data in store.objects.items():
        path = folder / key.removeprefix(f"{PREFIX}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


async def test_what_was_sent_is_in_the_store_whatever_it_did_meanwhile(tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=("BTCUSDT", "ETHUSDT"), rate=500, seed=5))
    with FaultStore(page_size=3) as store:
        # Not those that a person has to mend: they are asked about every half minute, which is tested on another clock.
        faults = [
            store.inject(fault, times=4, on=lambda request: puts()(request) and RAW_FRAMES not in request.key)
            for fault in (
                answer(503, "SlowDown"),
                answer(409, "ConditionalRequestConflict"),
                answer(500, applied=True),
                answer(200, "InternalError"),
                reset_mid_body(),
                hang_up(),
                hang_up(applied=True),
            )
        ]
        config = config_for(simulator, symbols=("BTCUSDT", "ETHUSDT"), flush="700ms", more=store.config(PREFIX) + RAW_ARCHIVE)
        async with collector(tmp_path / "run", config, environ=store.environ) as service:
            with trio.fail_after(60):
                while len(service.told("segment_committed")) < 3 or any(rule.served < rule.times for rule in faults):
                    await trio.sleep(0.05)
            assert await service.stop(signal.SIGTERM) == 0
            assert service.errors == ""
            (stop,) = service.told("collector_stop")
            assert service.told("upload_failed")
            assert SECRET not in service.log_path.read_text()
        nursery.cancel_scope.cancel()
        assert store.served == 28

        data = write_down(store, tmp_path / "copy")
        got = recorded(data)
        assert differences(got, owed(simulator)) == NOTHING
        assert sum(map(len, got.values())) == stop["received"] == stop["written"] > 500
        assert all(manifest["complete"] for manifest in manifests(data))

        url = f"{store.url}/{PREFIX}"
        run = tmp_path / "run"
        ended = run_cli("inspect", "--verify", "--json", "--config", "collector.toml", url, cwd=run, environ=store.environ)
        told = json.loads(ended.stdout)
        assert (ended.returncode, told["problems"]) == (0, [])
        assert told["raw_archive"]
        part = min(key for key in store.objects if key.endswith(".parquet"))
        store.objects[part] = store.objects[part][:-1] + b"?"
        ended = run_cli("inspect", "--verify", "--config", "collector.toml", url, cwd=run, environ=store.environ)
        assert ended.returncode == 1
        assert f"wrong: {part.removeprefix('v1/')}: its SHA-256 is not the one in the manifest" in ended.stderr


def commanded(tmp_path, store, *words, **environ):
    (tmp_path / "c.toml").write_text(store.config(PREFIX) + OFFLINE)
    ended = run_cli(*words, "--config", "c.toml", cwd=tmp_path, environ={**store.environ, **environ})
    assert SECRET not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


def test_check_tries_the_store_out(tmp_path):
    with FaultStore() as store:
        ended = commanded(tmp_path, store, "check", "--symbols", "BTCUSDT")
        assert ended.returncode == 0, ended.stderr
        assert "takes data" in ended.stdout
        assert store.objects == {}
        assert {attempt.request.method for attempt in store.attempts} == {"PUT", "GET", "DELETE"}
        assert {attempt.key for attempt in store.attempts} == {"v1/_probe/a"}


def test_check_says_what_is_wrong_and_what_to_do(tmp_path):
    with FaultStore() as store:
        ended = commanded(tmp_path, store, "check", "--symbols", "BTCUSDT", AWS_ACCESS_KEY_ID="nobody")
        assert ended.returncode == 1
        assert "the store does not take data (auth): 403 InvalidAccessKeyId" in ended.stderr
        assert "look at the credentials" in ended.stderr
        store.inject(answer(404, "NoSuchBucket"), times=None)
        ended = commanded(tmp_path, store, "check", "--symbols", "BTCUSDT")
        assert ended.returncode == 1
        assert "(config): 404 NoSuchBucket" in ended.stderr
        assert "look at storage.url" in ended.stderr


def test_inspect_of_nothing_says_so(tmp_path):
    with FaultStore() as store:
        ended = commanded(tmp_path, store, "inspect", f"{store.url}/empty")
        assert ended.returncode == 1
        assert f"there is no recording at {store.url}/empty" in ended.stderr
        ended = commanded(tmp_path, store, "inspect", f"{store.url}?secret=canary")
        assert ended.returncode == 2
        assert "must end after bucket and prefix" in ended.stderr
        assert "canary" not in ended.stderr
