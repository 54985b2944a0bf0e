"""The ledger says what was sent, and the oracle what a recorder owes for it: held against the collector's own decoder."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
import trio
from trio_websocket import open_websocket_url

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.exchanges.protocol import Pong, Refused, Subscribed
from quantlab_collector.simulators.ledger import read_ledger
from quantlab_collector.simulators.market import Market
from quantlab_collector.simulators.mix import FullMix
from quantlab_collector.simulators.okx_messages import OkxMessages
from quantlab_collector.simulators.play import Playing, PlayOptions, simulate
from simulators.okx_support import PATH, collector, play, request
from simulators.support import frame_client, server_tls

RECV = 1_800_000_000_000_000_001


async def subscribe(client, requests):
    for text in requests:
        client.protocol.send_text(text.encode())
        await client._write(client.protocol.data_to_send())


def owed(simulator, connection=None):
    """What a recorder should have of the ledger."""
    raw = simulator.messages.raw
    return [raw(e.kind, e.symbol, e.number, e.exchange_ms, RECV) for e in simulator.ledger.entries(connection)]


@pytest.mark.parametrize("tls", [False, True])
async def test_the_collector_records_what_the_ledger_holds(nursery, tls):
    simulator = await play(nursery, limit=4000, rate=20_000.0, ssl_context=server_tls() if tls else None)
    session, requests = collector(simulator)
    async with frame_client(simulator, PATH) as client:
        await subscribe(client, requests)
        await client.read_until(4015)
        await simulator.wait_quiet()  # the client knows a moment before the ledger does
        await client.close()
    harvest = session.decode(client.messages, RECV)
    assert Counter(map(repr, harvest.events)) == Counter(map(repr, owed(simulator)))
    assert harvest.rejects == []
    assert Counter(type(outcome) for outcome in harvest.outcomes) == {Subscribed: 15}
    assert {topic for outcome in harvest.outcomes for topic in outcome.topics} == {
        f"okx/{stream.value}/{symbol}" for stream in StreamType for symbol in simulator.options.symbols
    }
    assert len(harvest.events) == 4000
    for kind in StreamType:  # every number once, without a hole
        for symbol in simulator.options.symbols:
            numbers = [simulator.messages.number(event) for event in getattr(harvest, kind.value) if event.symbol == symbol]
            assert numbers == list(range(len(numbers)))
            assert len(numbers) > 5


async def test_one_refused_symbol_and_a_heartbeat_in_between(nursery):
    simulator = await play(nursery, limit=300)
    session, requests = collector(simulator, ("BTCUSDT", "MATICUSDT"))
    async with frame_client(simulator, PATH) as client:
        await subscribe(client, [*requests, "ping"])
        await client.read_until(311)
        await client.close()
    harvest = session.decode(client.messages, RECV)
    assert Counter(type(outcome) for outcome in harvest.outcomes) == {Subscribed: 5, Refused: 5, Pong: 1}
    assert {outcome.topic for outcome in harvest.outcomes if isinstance(outcome, Refused)} == {
        f"okx/{stream.value}/MATICUSDT" for stream in StreamType
    }
    assert Counter(map(repr, harvest.events)) == Counter(map(repr, owed(simulator)))


async def test_clients_that_come_and_go_have_what_stands_in_the_ledger(nursery):
    simulator = await play(nursery, rate=10_000.0)
    dice = random.Random(1)
    for number in range(1, 5):
        session, requests = collector(simulator)
        async with frame_client(simulator, PATH) as client:
            await subscribe(client, requests)
            await client.read_until(dice.randrange(20, 800))
            await client.close()  # reads on until the server's own close frame
            assert client.closed_by_server
        harvest = session.decode(client.messages, RECV)
        assert Counter(map(repr, harvest.events)) == Counter(map(repr, owed(simulator, number)))
        for symbol in simulator.options.symbols:  # who comes back finds a hole, and no disorder
            numbers = [simulator.messages.number(event) for event in harvest.trade if event.symbol == symbol]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
            quotes = [simulator.messages.number(event) for event in harvest.bbo if event.symbol == symbol]
            assert quotes == sorted(set(quotes))


async def test_two_connections_are_sent_the_same(nursery):
    simulator = await play(nursery, limit=1000, rate=10_000.0)
    simulator.pause()
    _, requests = collector(simulator)
    async with frame_client(simulator, PATH) as one, frame_client(simulator, PATH) as two:
        for client in (one, two):
            await subscribe(client, requests)
            await client.read_until(15)
        simulator.resume()
        async with trio.open_nursery() as reading:
            reading.start_soon(one.read_until, 1015)
            reading.start_soon(two.read_until, 1015)
        await simulator.wait_quiet()
    assert one.messages[15:] == two.messages[15:]
    assert list(map(repr, owed(simulator, 1))) == list(map(repr, owed(simulator, 2)))


async def test_repeats_stand_in_the_ledger_too(nursery):
    simulator = await play(nursery, limit=500, mark_repeat=5, quote_repeat=8, time_scale=100, quiet_timeout=1e6)
    session, requests = collector(simulator)
    async with frame_client(simulator, PATH) as client:
        await subscribe(client, requests)
        await client.read_until(540)
        await client.close()
    harvest = session.decode(client.messages, RECV)
    assert len(harvest.events) > 500
    assert Counter(map(repr, harvest.events)) == Counter(map(repr, owed(simulator)))


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ADAUSDT", "SOLUSDT", "XRPUSDT", "ANYUSDT", "ANYUSDC"])
def test_every_number_can_be_read_back(symbol):
    messages = OkxMessages(Market(7, [symbol]))
    numbers = [*range(50), 999, 123_456, 9_999_999, 99_999_999]
    for kind in StreamType:
        for number in numbers:
            event = messages.raw(kind, symbol, number, 1_790_757_203_016)
            assert messages.number(event) == number
            item = json.loads(messages.text(kind, symbol, number, 1_790_757_203_016))["data"][0]
            assert int(item["ts"]) == 1_790_757_203_016


def test_the_settlement_is_the_next_one():
    messages = OkxMessages(Market(1, ["BTCUSDT"]))
    for ms, settlement in ((1_790_784_000_000 - 1, 1_790_784_000_000), (1_790_784_000_000, 1_790_812_800_000)):
        item = json.loads(messages.text(StreamType.FUNDING, "BTCUSDT", 0, ms))["data"][0]
        assert int(item["fundingTime"]) == settlement
        assert int(item["nextFundingTime"]) - settlement == settlement - int(item["prevFundingTime"]) == 8 * 3_600_000
        assert messages.raw(StreamType.FUNDING, "BTCUSDT", 0, ms).next_funding_ts == settlement * 10**6


def test_a_mix_is_of_all_five():
    assert set(FullMix().weights()) == set(StreamType)
    assert FullMix(bbo=0, trade=0, mark_price=10, funding=20, open_interest=0).weights()[StreamType.FUNDING] == 2


async def test_it_can_be_played(tmp_path, nursery):
    told: list[Playing] = []
    file = tmp_path / "sent.csv"
    options = PlayOptions(exchanges=("okx",), symbols=("BTCUSDT",), rate=2000.0, seed=3, ledger=file)
    async with trio.open_nursery() as playing:
        await playing.start(simulate, options, told.append)
        (okx,) = told
        assert okx.exchange == "okx"
        async with open_websocket_url(okx.ws_url + PATH, message_queue_size=10_000) as websocket:
            await websocket.send_message(request(("trades", "BTC-USDT-SWAP")))
            received = [json.loads(await websocket.get_message()) for _ in range(301)][1:]
        playing.cancel_scope.cancel()
    messages = OkxMessages(Market(3, ["BTCUSDT"]))
    sent = [messages.text(entry.kind, entry.symbol, entry.number, entry.exchange_ms) for entry in read_ledger(file).entries()]
    assert [json.loads(text) for text in sent[:300]] == received
