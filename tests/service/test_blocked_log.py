"""R11: a log that nobody reads, or that has nowhere to go, costs nothing but its lines."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import socket
import sys
import urllib.error
import urllib.request

import pytest
import trio

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import NOTHING, config_for, differences, environment, owed, recorded

LISTED = ("BTCUSDT", "ETHUSDT")
UNLISTED = tuple(f"NOSUCH{number}USDT" for number in range(300))
"""A line of the log for each of them."""
RATE, SECONDS = 5_000, 3
PIPE_BYTES = 4096


class Fate:
    """What becomes of stdout and stderr."""

    def __init__(self, kind):
        self.kind = kind
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def command(self, words):
        return ["sh", "-c", f"exec {shlex.join(words)} >&- 2>&-"] if self.kind == "closed" else words

    def started(self):
        os.close(self.writer)
        if self.kind == "gone":
            os.close(self.reader)

    async def read_on(self):
        """All that comes from now on."""
        if self.kind == "gone":
            return b""
        async with trio.lowlevel.FdStream(self.reader) as stream:
            return b"".join([chunk async for chunk in stream])


@pytest.mark.parametrize("kind", ["blocked", "gone", "closed"])
async def test_r11_the_recording_does_not_depend_on_the_log(kind, tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=LISTED, rate=RATE, seed=11))
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    config = config_for(simulator, symbols=LISTED + UNLISTED, flush="1s").replace("port = 0", f"port = {port}")
    (tmp_path / "collector.toml").write_text(config)
    fate = Fate(kind)
    words = fate.command([sys.executable, "-m", "quantlab_collector", "run", "--config", "collector.toml"])
    process = await trio.lowlevel.open_process(words, cwd=tmp_path, stdout=fate.writer, stderr=fate.writer, env=environment())
    fate.started()
    try:
        metrics = await get_until(port, lambda answer: answer["identity"]["received"] > RATE * SECONDS)
        assert metrics["dropped_events_total"] == 0
        assert metrics["ws_reconnect_total"] == {"binance": 0}
        assert metrics["identity"]["holds"] is True
        assert (metrics["log_lines_dropped_total"] > len(UNLISTED)) == (kind == "gone")
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(30):
            if kind == "blocked":
                # Nobody has read a line so far, and yet it takes in no more, and ships; the log gets its last second.
                output = await fate.read_on()
                lines = [json.loads(line) for line in output.splitlines()]
                assert len(output) > PIPE_BYTES
                assert {"collector_start", "collector_stop"} <= {line["event"] for line in lines}
                assert len([line for line in lines if line["event"] == "symbol_unlisted"]) == len(UNLISTED)
            assert await process.wait() == 0
        if kind == "closed":
            assert await fate.read_on() == b""
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
    nursery.cancel_scope.cancel()
    got = recorded(tmp_path / "data")
    assert differences(got, owed(simulator)) == NOTHING
    assert sum(map(len, got.values())) > RATE * SECONDS


async def test_r11_who_never_reads_does_not_hold_up_the_stop(tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=LISTED, rate=200))
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    config = config_for(simulator, symbols=LISTED + UNLISTED).replace("port = 0", f"port = {port}")
    (tmp_path / "collector.toml").write_text(config)
    fate = Fate("blocked")
    words = [sys.executable, "-m", "quantlab_collector", "run", "--config", "collector.toml"]
    process = await trio.lowlevel.open_process(words, cwd=tmp_path, stdout=fate.writer, stderr=fate.writer, env=environment())
    fate.started()
    try:
        await get_until(port, lambda answer: answer["identity"]["received"] > 200)
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(20):
            assert await process.wait() == 0
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        os.close(fate.reader)
    nursery.cancel_scope.cancel()
    assert differences(recorded(tmp_path / "data"), owed(simulator)) == NOTHING


async def get_until(port, enough):
    def get():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            return None

    with trio.fail_after(40):
        while True:
            metrics = await trio.to_thread.run_sync(get)
            if metrics is not None and enough(metrics):
                return metrics
            await trio.sleep(0.1)
