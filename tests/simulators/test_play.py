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
from quantlab_collector.simulators.play import SIMULATORS, Playing, PlayOptions, simulate
from simulators.support import KINDS, frame_client, status_of


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


PATHS = {
    "binance": ("/public/ws/btcusdt@bookTicker", None),
    "binance-spot": ("/ws/btcusdt@bookTicker", None),
    "bybit": ("/v5/public/linear", {"op": "subscribe", "args": ["orderbook.1.BTCUSDT"]}),
    "bybit-spot": ("/v5/public/spot", {"op": "subscribe", "args": ["orderbook.1.BTCUSDT"]}),
    "okx": ("/ws/v5/public", {"op": "subscribe", "args": [{"channel": "bbo-tbt", "instId": "BTC-USDT-SWAP"}]}),
}


async def test_all_of_them_play_and_obey_a_script(tmp_path):
    assert PATHS.keys() == SIMULATORS.keys()
    script = tmp_path / "one.script"
    script.write_text('at 1500ms close 1012 "second" connection=2\nat 1600ms close 1001 "first" connection=1\n')
    told: list[Playing] = []
    ends: dict[str, list[tuple[int, str]]] = {}

    async def listen(playing: Playing) -> None:
        path, request = PATHS[playing.exchange]
        assert await status_of(playing, "/nowhere") >= 400  # whoever is refused has no number
        async with frame_client(playing, path) as first, frame_client(playing, path) as second:
            for client in (first, second):
                if request:
                    client.protocol.send_text(json.dumps(request).encode())
                    await client._write(client.protocol.data_to_send())
                await client.read_until(3)
            for client in (second, first):
                await client.read_all()
                ends.setdefault(playing.exchange, []).append((client.protocol.close_code, client.protocol.close_reason))

    options = PlayOptions(exchanges=tuple(SIMULATORS), symbols=("BTCUSDT",), rate=500.0, script=script)
    async with trio.open_nursery() as playing:
        await playing.start(simulate, options, told.append)
        async with trio.open_nursery() as listening:
            for each in told:
                listening.start_soon(listen, each)
        playing.cancel_scope.cancel()
    assert ends == {name: [(1012, "second"), (1001, "first")] for name in SIMULATORS}


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
