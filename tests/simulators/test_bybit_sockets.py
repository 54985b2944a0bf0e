"""A client of the simulated Bybit finds what the exchange does, and the ledger says what it was sent."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest
import trio
from trio_websocket import ConnectionClosed

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.exchanges.bybit import LINEAR, SPOT
from quantlab_collector.exchanges.protocol import Endpoints, Refused, Wanted
from quantlab_collector.simulators.bybit import BybitOptions, serve_bybit
from simulators.bybit_client import client_of, owed, topics
from simulators.support import connect, status_of

MARKETS = pytest.mark.parametrize("market", ["linear", "spot"])


@pytest.fixture
def play(nursery):
    async def start(**options):
        options = {"symbols": ("BTCUSDT", "ETHUSDT", "XRPUSDT"), "rate": 5000.0} | options
        return await nursery.start(serve_bybit, BybitOptions(**options))

    return start


async def subscribe(client, names):
    """In requests of ten, which both markets take."""
    for start in range(0, len(names), 10):
        assert (await client.ask("subscribe", *names[start : start + 10]))["success"]


# ------------------------------------------------------------------------------------------------- ledger and oracle


@pytest.mark.parametrize("echo", [True, False])
@MARKETS
async def test_what_a_collector_records_is_what_the_ledger_says(play, market, echo):
    simulator = await play(market=market, limit=3000, echo_req_id=echo, trades_per_message=3)
    simulator.pause()
    async with client_of(simulator) as client:
        await subscribe(client, topics(simulator))
        simulator.resume()
        await client.read_all_that_was_sent()
    harvest = client.recorded()
    assert harvest.rejects == []
    assert Counter(map(repr, harvest.events)) == owed(simulator)
    assert simulator.ledger.total > 3000
    for event in harvest.events:
        again = simulator.messages.raw(_stream_of(event), event.symbol, simulator.messages.number(event), event.ts_event // 10**6)
        assert again == event
    for (kind, symbol), count in simulator.ledger.totals.items():  # without a hole
        assert [number for number, _, _ in simulator.ledger.sent(kind, symbol)] == list(range(count))


def _stream_of(event):
    names = {"Bbo": "bbo", "Trade": "trade", "MarkPrice": "mark_price", "Funding": "funding", "OpenInterest": "open_interest"}
    return StreamType(names[type(event).__name__])


async def test_who_comes_later_is_told_the_state_first_and_nothing_twice(play):
    simulator = await play(rate=4000.0)
    async with client_of(simulator) as first, client_of(simulator) as second:
        await subscribe(first, topics(simulator))
        await first.read_for(0.2)
        await subscribe(second, topics(simulator))
        await second.read_for(0.2)
        simulator.pause()
        async with trio.open_nursery() as reading:
            reading.start_soon(first.read_all_that_was_sent)
            reading.start_soon(second.read_all_that_was_sent)
    for number, client in enumerate((first, second), start=1):
        harvest = client.recorded()
        assert harvest.rejects == []
        assert Counter(map(repr, harvest.events)) == owed(simulator, number)
    for symbol in simulator.options.symbols:
        for kind in StreamType:
            numbers = [number for number, _, _ in simulator.ledger.sent(kind, symbol, 2)]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert numbers[0] > 0


async def test_a_hole_in_the_events_is_no_hole_in_the_values(play):
    """A delta after a muted stretch tells everything, as the exchange's own view of what a client knows is never wrong."""
    simulator = await play(symbols=("BTCUSDT",))
    async with client_of(simulator) as client:
        await subscribe(client, topics(simulator))
        await client.read_for(0.1)
        simulator.faults.mute(StreamType.MARK_PRICE, "BTCUSDT")
        await client.read_for(0.1)
        simulator.faults.unmute(StreamType.MARK_PRICE, "BTCUSDT")
        simulator.faults.duplicate(20)
        await client.read_for(0.1)
        simulator.pause()
        await client.read_all_that_was_sent()
    harvest = client.recorded()
    assert harvest.rejects == []
    assert Counter(map(repr, harvest.events)) == owed(simulator)
    numbers = [number for number, _, _ in simulator.ledger.sent(StreamType.MARK_PRICE, "BTCUSDT")]
    assert max(after - before for before, after in pairwise(numbers)) > 5


# -------------------------------------------------------------------------------------------------------------- data


@MARKETS
async def test_the_state_comes_before_the_acknowledgement_on_linear_and_after_it_on_spot(play, market):
    simulator = await play(market=market, rate=1.0, symbols=("BTCUSDT",))
    async with client_of(simulator) as client:
        await client.send(op="subscribe", args=topics(simulator, "orderbook.1", "publicTrade"))
        two = [await client.read(), await client.read()]
    assert ["op" if "op" in message else message["topic"] for message in two] == (
        ["orderbook.1.BTCUSDT", "op"] if market == "linear" else ["op", "orderbook.1.BTCUSDT"]
    )


async def test_a_ticker_is_a_snapshot_and_then_deltas(play):
    simulator = await play(symbols=("BTCUSDT",))
    async with client_of(simulator) as client:
        await subscribe(client, ["tickers.BTCUSDT"])
        await client.read_for(0.2)
    first, *rest = client.data()
    assert first["type"] == "snapshot"
    assert first["data"]["preQty"] == ""
    assert {message["type"] for message in rest} == {"delta"}
    told = Counter(
        tuple(sorted(message["data"].keys() - {"symbol", "openInterestValue", "singleOpenInterest"})) for message in rest
    )
    assert told.keys() == {
        ("indexPrice", "markPrice"),
        ("markPrice",),
        ("indexPrice",),
        ("fundingRate",),
        ("openInterest",),
        ("bid1Price", "bid1Size"),
    }


@MARKETS
async def test_trades_of_one_order_come_together_up_to_a_limit(play, market):
    simulator = await play(market=market, symbols=("BTCUSDT",), rate=8000.0, trades_per_message=3)
    async with client_of(simulator) as client:
        await subscribe(client, ["publicTrade.BTCUSDT"])
        await client.read_for(0.2)
    messages = [message["data"] for message in client.data()]
    assert {len(items) for items in messages} >= {3}
    assert max(map(len, messages)) == 3
    assert all(len({item["seq"] for item in items}) == 1 for items in messages)
    assert any(before[-1]["seq"] == after[0]["seq"] for before, after in pairwise(messages))  # the rest of a split
    ids = [item["i"] for items in messages for item in items]
    assert len(set(ids)) == len(ids)
    assert all(id_.count("-") == 4 for id_ in ids) if market == "linear" else all(id_.isdecimal() for id_ in ids)


@MARKETS
async def test_a_book_that_does_not_change_is_told_again(play, market):
    simulator = await play(market=market, rate=50.0, symbols=("BTCUSDT",), idle_symbols=("BTCUSDT",), time_scale=30.0)
    async with client_of(simulator) as client:
        await subscribe(client, ["orderbook.1.BTCUSDT"])
        with trio.fail_after(5):
            while len(client.data()) < 4:
                await client.read()
        await client.ask("ping")  # the simulator's books are complete behind this
    books = client.data()
    assert len({book["data"]["u"] for book in books}) == 1
    assert len({book["cts"] for book in books}) == len(books)
    assert Counter(map(repr, client.recorded().events)) == owed(simulator)


async def test_the_count_of_updates_begins_anew_now_and_then(play):
    simulator = await play()
    updates = [json.loads(simulator.messages.book("BTCUSDT", number, 0))["data"]["u"] for number in range(990, 1010)]
    assert updates.count(1) == 1
    assert sorted(set(updates)) != updates


async def test_what_is_unsubscribed_is_silent(play):
    simulator = await play()
    async with client_of(simulator) as client:
        await subscribe(client, ["orderbook.1.BTCUSDT", "publicTrade.BTCUSDT"])
        await client.ask("unsubscribe", "orderbook.1.BTCUSDT")
        assert {message["topic"] for message in await client.read_for(0.1)} == {"publicTrade.BTCUSDT"}


# ------------------------------------------------------------------------------------------------------------- rules


@MARKETS
async def test_one_bad_topic_gives_no_data_to_the_others(play, market):
    simulator = await play(market=market)
    async with client_of(simulator) as client:
        answer = await client.ask("subscribe", "orderbook.1.BTCUSDT", "orderbook.1.MATICUSDT", "publicTrade.ETHUSDT")
        assert not answer["success"]
        assert await client.read_for(0.1) == []
        assert (await client.ask("subscribe", "orderbook.1.BTCUSDT"))["success"]
        again = await client.ask("subscribe", "publicTrade.ETHUSDT", "orderbook.1.BTCUSDT")
        assert again["ret_msg"] == "error:already subscribed,topic:orderbook.1.BTCUSDT"
        assert {message["topic"] for message in await client.read_for(0.1)} == {"orderbook.1.BTCUSDT"}
        assert simulator.connections[0].streams == ("orderbook.1.BTCUSDT",)
        simulator.faults.delist("XRPUSDT")
        assert not (await client.ask("subscribe", "publicTrade.XRPUSDT"))["success"]


@pytest.mark.parametrize("echo", [True, False])
@MARKETS
async def test_a_collector_gets_everything_but_what_does_not_exist(play, market, echo):
    simulator = await play(market=market, rate=500.0, echo_req_id=echo)
    exchange = LINEAR if market == "linear" else SPOT
    symbols = ("MATICUSDT", *simulator.options.symbols, "LUNAUSDT")
    (plan,) = exchange.plan(Wanted(symbols, tuple(StreamType), Endpoints(simulator.ws_url, "")))
    session = exchange.session(plan)
    refused = set()
    async with connect(simulator, plan.url.removeprefix(simulator.ws_url)) as websocket:
        for request in plan.requests:
            await websocket.send_message(request.decode())
        with trio.fail_after(5):
            while any(topic.symbol not in session.seen[topic.stream] for topic in plan.topics if str(topic) not in refused):
                harvest = session.decode([(await websocket.get_message()).encode()], 1)
                refused |= {outcome.topic for outcome in harvest.outcomes if isinstance(outcome, Refused)}
                for reply in harvest.replies:
                    await websocket.send_message(reply.decode())
    assert refused == {str(topic) for topic in plan.topics if topic.symbol not in simulator.options.symbols}


@pytest.mark.parametrize("path", ["/", "/v5/public/linears", "/v5/public/spot", "/v5/private"])
async def test_a_wrong_address_is_refused(play, path):
    assert await status_of(await play(), path) == 404


async def test_who_is_silent_and_told_nothing_is_cut_off_without_a_word(play):
    simulator = await play(rate=1.0, time_scale=600.0, unsubscribed_timeout=240.0, book_repeat=10**6)
    async with client_of(simulator) as never_subscribed, client_of(simulator) as subscribed, client_of(simulator) as pinging:
        await subscribe(subscribed, ["publicTrade.BTCUSDT"])
        simulator.pause()
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(never_subscribed.read_to_the_end)
            while trio.current_time() - start < 0.6:
                await pinging.ask("ping")
                await trio.sleep(0.03)
        assert never_subscribed.websocket.closed.code == 1006
        assert subscribed.websocket.closed is None
        with trio.fail_after(2):
            await subscribed.read_to_the_end()
        assert subscribed.websocket.closed.code == 1006
        assert trio.current_time() - start > 0.9
    assert [info.closed_ns is not None for info in simulator.connections[:2]] == [True, True]


async def test_faults_reach_its_connections(play):
    simulator = await play()
    async with client_of(simulator) as client:
        await subscribe(client, ["orderbook.1.BTCUSDT"])
        simulator.faults.close(1012, "maintenance")
        await client.read_to_the_end()
    assert (client.websocket.closed.code, client.websocket.closed.reason) == (1012, "maintenance")
    simulator.faults.ban(60)
    assert await status_of(simulator, "/v5/public/linear") == 418


async def test_a_connection_closed_in_the_middle_got_what_stands_in_the_ledger(play):
    simulator = await play()
    async with client_of(simulator) as client:
        await subscribe(client, topics(simulator))
        await client.read_for(0.1)
        simulator.faults.close()
        await client.read_to_the_end()
    assert Counter(map(repr, client.recorded().events)) == owed(simulator)


async def test_it_can_be_left_at_any_time(play):
    simulator = await play()
    for _ in range(3):
        async with client_of(simulator) as client:
            await client.send(op="subscribe", args=topics(simulator))
    with pytest.raises(ConnectionClosed):
        await client.read()
