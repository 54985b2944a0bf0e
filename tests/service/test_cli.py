"""The commands as a user types them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import collector, config_for, environment, manifests, recorded, run_cli

WRONG = """
[collector]
instance_id = "No Good"
symbol = ["BTCUSDT"]
[exchanges.binance]
streams = ["bbo", "bboo"]
ws_url = "ftp://user:hunter2@example.com"
[flush]
interval = "soon"
[status]
port = 99999
"""
PLACES = [
    "collector.instance_id",
    "collector.symbol",
    "exchanges.binance.streams[1]",
    "exchanges.binance.ws_url",
    "flush.interval",
    "status.port",
]


@pytest.mark.parametrize("command", ["run", "check"])
def test_every_mistake_is_told_at_once_with_its_place(command, tmp_path):
    (tmp_path / "bad.toml").write_text(WRONG)
    ended = run_cli(command, "--config", "bad.toml", cwd=tmp_path, environ={"QUANTLAB_QUEUE__MAX_EVENTS": "many"})
    assert ended.returncode == 2
    assert ended.stdout == ""
    for place in PLACES:
        assert f"bad.toml: {place}: " in ended.stderr
    assert "QUANTLAB_QUEUE__MAX_EVENTS" in ended.stderr
    assert len(ended.stderr.splitlines()) == len(PLACES) + 1
    assert "hunter2" not in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.toml"]


def test_a_config_that_is_not_there(tmp_path):
    ended = run_cli("run", "--config", "nowhere.toml", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "nowhere.toml" in ended.stderr
    ended = run_cli("check", cwd=tmp_path, environ={"QUANTLAB_CONFIG": "elsewhere.toml"})
    assert ended.returncode == 2
    assert "elsewhere.toml" in ended.stderr


def test_check_shows_the_plan_and_probes_the_store(tmp_path):
    ended = run_cli("check", "--symbols", "BTCUSDT,ETHUSDT", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "public-0" in ended.stdout
    assert "market-0" in ended.stdout
    assert "takes data" in ended.stdout
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_check_says_when_the_store_takes_nothing(tmp_path):
    (tmp_path / "data").write_text("a file")
    ended = run_cli("check", cwd=tmp_path)
    assert ended.returncode in {1, 2}
    assert "data" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_check_never_shows_a_secret(tmp_path):
    (tmp_path / "c.toml").write_text('[exchanges.binance]\nws_url = "wss://user:hunter2@example.com"\n')
    ended = run_cli("check", "--config", "c.toml", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "hunter2" not in ended.stdout + ended.stderr
    assert "example.com" in ended.stdout


async def test_a_secret_in_an_address_is_nowhere_to_be_found(tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=("BTCUSDT",), rate=200))
    config = config_for(simulator, symbols=["BTCUSDT"]).replace("ws://", "ws://canary-user:canary-word@")
    async with collector(tmp_path / "run", config) as service:
        await service.wait_received(50)
        pages = [
            json.dumps((await service.get(path))[1])
            for path in ("/health", "/ready", "/streams", "/metrics", "/status", "/collectors/status")
        ]
        (tmp_path / "run" / "collector.toml").unlink()
        service.process.send_signal(signal.SIGTERM)
        assert await service.process.wait() == 0
        assert service.told("ws_connect")
    nursery.cancel_scope.cancel()
    written = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not [text for text in pages if "canary" in text]
    assert not [data for data in written if b"canary" in data]


async def test_the_first_command_of_the_readme(tmp_path):
    """``run --simulate``: real files fill up without a network, and Ctrl-C ends it."""
    log = tmp_path / "log"
    with log.open("wb") as out:
        command = [
            sys.executable,
            "-m",
            "quantlab_collector",
            "run",
            "--simulate",
            "--rate",
            "500",
            "--symbols",
            "BTCUSDT,ETHUSDT",
        ]
        environ = environment({"QUANTLAB_STATUS__PORT": "0", "QUANTLAB_LOG__FORMAT": "json"})
        process = await trio.lowlevel.open_process(command, cwd=tmp_path, stdout=out, stderr=out, env=environ)
    try:
        with trio.fail_after(30):
            while b'"READY"' not in log.read_bytes():
                assert process.poll() is None, log.read_text()
                await trio.sleep(0.05)
            await trio.sleep(1)
            (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
    rows = recorded(tmp_path / "data-simulated")
    assert all(sum(counts.values()) > 0 for counts in rows.values())
    assert not (tmp_path / "data").exists()
    assert not Path("/proc", child).exists()
    ended = run_cli("inspect", "--verify", "data-simulated", cwd=tmp_path)
    assert ended.returncode == 0
    assert "verified" in ended.stdout


async def test_the_simulators_stop_when_the_recorder_is_killed(tmp_path):
    command = [sys.executable, "-m", "quantlab_collector", "simulate", "--json", "--until-stdin-closes"]
    process = await trio.lowlevel.open_process(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    )
    told = json.loads(await process.stdout.receive_some())
    assert told["exchange"] == "binance"
    assert told["ws_url"].startswith("ws://127.0.0.1:")
    await process.stdin.aclose()
    with trio.fail_after(10):
        assert await process.wait() == 0
    await process.stdout.aclose()


# ----------------------------------------------------------------------------------------------------------- inspect


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A recording of three segments."""
    folder = tmp_path_factory.mktemp("recording")

    async def record():
        async with trio.open_nursery() as nursery:
            simulator = await nursery.start(serve_binance, BinanceOptions(symbols=("BTCUSDT",), rate=300))
            config = config_for(simulator, symbols=["BTCUSDT"], flush="700ms")
            async with collector(folder / "run", config) as service:
                with trio.fail_after(20):
                    while len(service.told("segment_committed")) < 3:
                        await trio.sleep(0.05)
                await service.stop()
            nursery.cancel_scope.cancel()

    trio.run(record)
    return folder / "run" / "data"


@pytest.fixture
def copy(recording, tmp_path):
    import shutil

    return shutil.copytree(recording, tmp_path / "data")


def inspect(data):
    ended = run_cli("inspect", "--verify", "--json", str(data), cwd=data.parent)
    answer = json.loads(ended.stdout)
    assert ended.returncode == (1 if answer["problems"] else 0)
    return answer


def test_inspect_adds_up_what_the_manifests_say(copy):
    answer = inspect(copy)
    assert (answer["problems"], answer["verified"]) == ([], True)
    assert answer["rows"] == sum(holding["rows"] for holding in answer["holdings"]) == sum(map(len, recorded(copy).values()))
    assert answer["manifests"] == len(manifests(copy)) >= 3
    assert {holding["stream"] for holding in answer["holdings"]} == {"bbo", "trade", "mark_price", "funding"}


def part_of(data):
    return min(data.rglob("*.parquet"))


def test_inspect_names_a_missing_part(copy):
    part = part_of(copy)
    part.unlink()
    assert inspect(copy)["problems"] == [f"{part.relative_to(copy)}: missing"]


def test_inspect_names_an_altered_part(copy):
    part = part_of(copy)
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    assert inspect(copy)["problems"] == [f"{part.relative_to(copy)}: its SHA-256 is not the one in the manifest"]


def test_inspect_names_a_missing_manifest(copy):
    missing = sorted(copy.glob("_manifests/**/*.json"))[1]
    parts = [part["key"] for part in json.loads(missing.read_bytes())["parts"]]
    missing.unlink()
    problems = inspect(copy)["problems"]
    assert problems[0].startswith(f"{missing.relative_to(copy)}: missing; ")
    assert problems[1:] == [f"{key}: named by no manifest" for key in sorted(parts)]


def test_inspect_names_an_altered_manifest_and_an_extra_file(copy):
    altered = min(copy.glob("_manifests/**/*.json"))
    altered.write_bytes(altered.read_bytes().replace(b'"collector": "', b'"collector": "9'))
    extra = part_of(copy).with_name("part-b-1-000001.parquet")
    extra.write_bytes(b"PAR1")
    problems = inspect(copy)["problems"]
    assert [problem.split(": ", 1)[0] for problem in problems] == [str(altered.relative_to(copy)), str(extra.relative_to(copy))]


def test_inspect_of_nothing_says_so(tmp_path):
    ended = run_cli("inspect", "nowhere", cwd=tmp_path)
    assert ended.returncode == 1
    assert "there is no recording at nowhere" in ended.stderr
    assert not (tmp_path / "nowhere").exists()
