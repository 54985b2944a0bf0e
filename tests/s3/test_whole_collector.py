"""A whole collector that records into a real S3 server, read back by tools that have nothing in common with it."""

from __future__ import annotations

import json
from urllib.parse import quote

import trio

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import NOTHING, collector, config_for, differences, manifests, owed, recorded, run_cli

SYMBOLS = ("BTCUSDT", "ETHUSDT")


def storage(real):
    return f"""
[storage]
url = "{real.url}"
retry_first = "50ms"
retry_cap = "200ms"
[storage.options]
endpoint = "{real.endpoint}"
region = "us-east-1"
"""


def download(real, folder):
    """Everything below the prefix, listed by the server's tool and fetched by curl."""
    for key in real.server.keys(f"{real.prefix}/"):
        path = folder / key.removeprefix(f"{real.prefix}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(real.server.curl(f"{real.bucket}/{quote(key, safe='/')}"))
    return folder


async def test_what_was_sent_is_in_the_bucket_also_after_an_outage(real, tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=1000, seed=3))
    config = config_for(simulator, symbols=SYMBOLS, flush="1s", more=storage(real))
    async with collector(tmp_path / "run", config, environ=real.environ) as service:
        await committed(service, 2)
        await trio.to_thread.run_sync(real.server.kill_gateway)
        with trio.fail_after(30):
            while not service.told("upload_failed"):
                await trio.sleep(0.05)
        await trio.to_thread.run_sync(real.server.start_gateway)
        await committed(service, 4)
        # In full flow: the simulator never pauses.
        assert await service.stop() == 0
        assert service.errors == ""
        (stop,) = service.told("collector_stop")
        assert real.environ["AWS_SECRET_ACCESS_KEY"] not in service.log_path.read_text()
    nursery.cancel_scope.cancel()

    data = download(real, tmp_path / "copy")
    got = recorded(data)
    assert differences(got, owed(simulator)) == NOTHING
    assert sum(map(len, got.values())) == stop["received"] == stop["written"] > 2000
    assert all(manifest["complete"] for manifest in manifests(data))
    assert not (tmp_path / "run" / "data").exists()

    ended = run_cli(
        "inspect", "--verify", "--json", "--config", "collector.toml", real.url, cwd=tmp_path / "run", environ=real.environ
    )
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    assert (answer["verified"], answer["problems"], answer["rows"]) == (True, [], stop["written"])


async def committed(service, count):
    with trio.fail_after(30):
        while len(service.told("segment_committed")) < count:
            await trio.sleep(0.05)


def test_the_older_names_lead_there(real, tmp_path):
    older = {
        "STORAGE_BACKEND": "minio",
        "S3_ENDPOINT": real.endpoint,
        "S3_BUCKET": real.bucket,
        "S3_PREFIX": real.prefix,
        "S3_ACCESS_KEY": real.environ["AWS_ACCESS_KEY_ID"],
        "S3_SECRET_KEY": real.environ["AWS_SECRET_ACCESS_KEY"],
        "AWS_ACCESS_KEY_ID": "of-something-else",
    }
    offline = {f"QUANTLAB_EXCHANGES__{name}__REST_URL": "http://127.0.0.1:9" for name in ("BINANCE", "BYBIT", "OKX")}
    ended = run_cli("check", "--symbols", "BTCUSDT", cwd=tmp_path, environ={**older, **offline})
    assert ended.returncode == 0, ended.stderr
    assert "takes data" in ended.stdout
    assert real.environ["AWS_SECRET_ACCESS_KEY"] not in ended.stdout + ended.stderr


def test_check_tells_what_is_wrong_and_what_to_do(real, tmp_path):
    (tmp_path / "c.toml").write_text(storage(real))
    ended = run_cli("check", "--config", "c.toml", cwd=tmp_path, environ={**real.environ, "AWS_SECRET_ACCESS_KEY": "canary"})
    assert ended.returncode == 1
    assert "the store does not take data (auth): 403 SignatureDoesNotMatch" in ended.stderr
    assert "look at the credentials" in ended.stderr
    assert "canary" not in ended.stdout + ended.stderr


def test_inspect_of_nothing_says_so(real, tmp_path):
    (tmp_path / "c.toml").write_text(storage(real))
    ended = run_cli("inspect", "--config", "c.toml", f"{real.url}/nothing", cwd=tmp_path, environ=real.environ)
    assert ended.returncode == 1
    assert f"there is no recording at {real.url}/nothing" in ended.stderr
