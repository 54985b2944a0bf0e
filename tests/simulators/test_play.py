"""Simulators to look at, in this process and in one that is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import pytest
import trio
from trio_websocket import open_websocket_url

from quantlab_collector.simulators.ledger import read_ledger
from quantlab_collector.simulators.market import Market
from quantlab_collector.simulators.play import Playing, PlayOptions, simulate
from simulators.support import KINDS


async def test_it_tells_where_it_is_and_what_it_sent(tmp_path, nursery):
    told: list[Playing] = []
    file = tmp_path / "sent.csv"
    received = []
    async with trio.open_nursery() as playing:
        await playing.start(simulate, PlayOptions(symbols=("BTCUSDT",), rate=2000.0, seed=3, ledger=file), told.append)
        assert [each.exchange for each in told] == ["binance"]
        assert told[0].rest_url.startswith("http://127.0.0.1:")
        async with open_websocket_url(told[0].ws_url + "/market/ws/btcusdt@aggTrade", message_queue_size=10_000) as websocket:
            received += [json.loads(await websocket.get_message()) for _ in range(300)]
        playing.cancel_scope.cancel()
    first = Market(3, ["BTCUSDT"])["BTCUSDT"].first_trade
    sent = [(entry.symbol, entry.number, entry.exchange_ms) for entry in read_ledger(file).entries()]
    assert sent[:300] == [(trade["s"], trade["a"] - first, trade["T"]) for trade in received]


async def test_an_exchange_that_nobody_plays():
    with pytest.raises(ValueError, match="no simulator for nasdaq"):
        await simulate(PlayOptions(exchanges=("nasdaq",)), print)


PLAY = """
import sys, trio
from pathlib import Path
from quantlab_collector.simulators.play import PlayOptions, simulate
options = PlayOptions(symbols=("BTCUSDT", "ETHUSDT"), rate=1500.0, ledger=Path(sys.argv[1]))
trio.run(simulate, options, lambda playing: print(playing.ws_url, flush=True))
"""


async def test_the_ledger_of_a_killed_process_lacks_its_last_moment_only(tmp_path):
    file = tmp_path / "sent.csv"
    received = []
    async with trio.open_nursery() as nursery:
        command = [sys.executable, "-c", PLAY, str(file)]
        process = await nursery.start(
            partial(trio.run_process, command, stdout=subprocess.PIPE, check=False, capture_stdout=False)
        )
        with trio.fail_after(10):
            url = (await process.stdout.receive_some()).decode().strip()
            path = "/public/ws/btcusdt@bookTicker/ethusdt@bookTicker"
            async with open_websocket_url(url + path, message_queue_size=10_000, disconnect_timeout=0.1) as websocket:
                received += [json.loads(await websocket.get_message()) for _ in range(1500)]
                process.kill()
    ledger = read_ledger(file)
    received = [(KINDS[message["e"]], message["s"], message["T"], round(float(message["B"]) * 1000) - 1) for message in received]
    sent = [(entry.kind, entry.symbol, entry.exchange_ms, entry.number) for entry in ledger.entries()]
    assert len(set(sent)) == len(sent)
    last = received[-1][2]
    early = {event for event in received if event[2] < last - 500}
    assert len(early) > 100
    assert early <= set(sent)
