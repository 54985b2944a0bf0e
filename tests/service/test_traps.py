"""The traps that others have fallen into: a row each, and the proof that the collector does not, or records what is there.

Numbers and names are those of the list that the issue asks for. Where a trap is about something that the collector leaves alone
(nothing is filled in, nothing is taken for a duplicate), the proof is that the recording is what was sent, row by row.
"""

from __future__ import annotations

import json
import re
import socket
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trio
from websockets.utils import accept_key

from quantlab_collector.contracts.events import Bbo, Funding, MarkPrice, StreamType, Trade
from quantlab_collector.contracts.schemas import journal_batch, journal_schema
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.protocol import Endpoints, Notice, Pong, Refused
from quantlab_collector.exchanges.registry import EXCHANGES
from quantlab_collector.intake import wire, wire_trio_websocket
from quantlab_collector.intake.instruments import NOT_LISTED, tell_unlisted, unlisted
from quantlab_collector.intake.rest import RestClient
from quantlab_collector.intake.transport import FaultKind, TransportFault, WireOptions
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from quantlab_collector.simulators.bybit import BybitOptions, serve_bybit
from quantlab_collector.simulators.okx import OkxOptions, serve_okx
from quantlab_collector.storage.encoder import encode_segment
from quantlab_collector.storage.journal import SegmentHeader
from quantlab_collector.storage.spool import Spool
from service.traps_support import (
    NOWHERE,
    adapted,
    asking,
    harvest,
    plans_of,
    recording,
    sent,
    session_of,
    timeless,
)
from storage.samples import write_segment
from writer.workbench import until

BINANCE, BYBIT, OKX, BYBIT_SPOT = (EXCHANGES[name] for name in ("binance", "bybit", "okx", "bybit-spot"))
BTC, TWO = ("BTCUSDT",), ("BTCUSDT", "ETHUSDT")
BBO, TRADE, MARK, FUNDING, INTEREST = StreamType
MS, HOUR = 1_000_000, 3_600_000
NOW = 1_791_000_000_000
DEFLATE = "permessage-deflate; client_max_window_bits"


def at(simulator):
    return Endpoints(simulator.ws_url, simulator.rest_url)


def plans_for(exchange, simulator, symbols, streams=None):
    return plans_of(exchange, symbols, streams=streams, endpoints=at(simulator))


def binance_frame(kind, **fields):
    return json.dumps({"stream": "x", "data": {"e": kind, "s": "BTCUSDT", **fields}})


def mark_price(event_ms, settlement_ms):
    return binance_frame("markPriceUpdate", E=event_ms, p="1.5", i="1.25", r="0.0001", T=settlement_ms, st=1)


def ticker(kind, ts, **fields):
    return json.dumps({"topic": "tickers.BTCUSDT", "type": kind, "data": {"symbol": "BTCUSDT", **fields}, "cs": 1, "ts": ts})


def okx_frame(channel, **fields):
    arg = {"channel": channel, "instId": "BTC-USDT-SWAP"}
    return json.dumps({"arg": arg, "data": [{"instId": "BTC-USDT-SWAP", **fields}]}, separators=(",", ":"))


def okx_funding(ts, *settlements):
    first, second = map(str, settlements)
    return okx_frame(
        "funding-rate", fundingRate="0.0001", fundingTime=first, nextFundingTime=second, nextFundingRate="", ts=str(ts)
    )


async def start_all(nursery, **options):
    """The three exchanges."""
    return {
        "binance": await nursery.start(serve_binance, BinanceOptions(**options)),
        "bybit": await nursery.start(serve_bybit, BybitOptions(**options)),
        "okx": await nursery.start(serve_okx, OkxOptions(**options)),
    }


async def each(proof, simulators):
    """The same proof for all exchanges at a time."""
    async with trio.open_nursery() as nursery:
        for name, simulator in simulators.items():
            nursery.start_soon(proof, EXCHANGES[name], simulator)


# ----------------------------------------------------------------------------------------------------------------- Binance


async def path_split(nursery, _folder):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=BTC, rate=500))
    plans = plans_for(BINANCE, simulator, BTC)
    async with recording(BINANCE, plans) as right:
        await until(lambda: right.topics == right.wanted)
    public, market = plans
    swapped = (attrs.evolve(public, url=market.url), attrs.evolve(market, url=public.url))
    async with recording(BINANCE, swapped, idle=0.5) as wrong:
        await until(lambda: len(wrong.faults) >= 2)
    # The wrong route takes it all and tells nothing: an acknowledgement each, and a socket that is taken for dead.
    assert all(info.streams for info in simulator.connections)
    assert {fault.split()[0] for fault in wrong.faults} == {"idle"}
    assert wrong.events == []
    assert all(connection.frames > 0 for connection in wrong.connections.values())
    assert wrong.refused == {}


async def ack_is_no_proof(nursery, _folder):
    wanted = ("BTCUSDT", "MATICUSDT", "NONESUCH")
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=BTC, dead_symbols=("MATICUSDT",), rate=500))
    async with recording(BINANCE, plans_for(BINANCE, simulator, wanted)) as run:
        await until(lambda: len(run.topics) == len(BINANCE.streams))
        assert run.refused == {}  # the exchange has said yes to all of them
        assert {topic.symbol for topic in run.wanted - run.topics} == {"MATICUSDT", "NONESUCH"}
        async with RestClient(simulator.rest_url, BINANCE.rest.limits) as client:
            await tell_unlisted("binance", run.plans, BINANCE.rest, client, run.notices)
        assert run.refused == {str(topic): NOT_LISTED for topic in run.wanted - run.topics}
        assert [line["symbol"] for line in run.log.told("symbol_unlisted")] == ["MATICUSDT", "NONESUCH"]
        before = len(run.events)
        await until(lambda: len(run.events) > before)
    assert {event.symbol for event in run.events} == {"BTCUSDT"}


async def undocumented_trades(nursery, _folder):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=BTC, rate=1_000))
    public, market = plans_for(BINANCE, simulator, BTC, (BBO, TRADE))
    assert not any(b'@trade"' in request for plan in (public, market) for request in plan.requests)
    # And if somebody had asked for it: the rows of price zero are no trades.
    greedy = asking(public, {"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker", "btcusdt@trade"], "id": 1})
    async with recording(BINANCE, (greedy, market)) as run:
        await until(lambda: len(run.of(TRADE)) > 50 and run.state.unknown["binance", "trade"] > 50)
        simulator.pause()
        await simulator.wait_quiet()  # a trade is three messages there, and the ledger knows only whole ones
    number = {urlsplit(info.path).path.split("/")[1]: info.number for info in simulator.connections}
    raw = [entry for entry in simulator.ledger.entries(number["public"]) if entry.kind is TRADE]
    fills = [text for entry in raw for text in simulator.messages.fills(entry.symbol, entry.number, entry.exchange_ms)]
    assert any('"X":"NA"' in text for text in fills)
    assert run.state.unknown["binance", "trade"] == len(fills)
    assert timeless(run.of(TRADE)) == Counter(
        {event: n for event, n in sent(simulator, connection=number["market"]).items() if isinstance(event, Trade)}
    )
    assert all(trade.price > 0 and trade.qty > 0 for trade in run.of(TRADE))


async def three_meanings_of_t(_nursery, _folder):
    settlement = NOW + 5 * HOUR
    events = harvest(
        BINANCE,
        BTC,
        binance_frame("bookTicker", u=1, b="1", B="1", a="2", A="1", T=NOW + 1, E=NOW + 9),
        binance_frame("aggTrade", a=5, p="1", q="1", f=1, l=1, m=True, T=NOW + 2, E=NOW + 9),
        mark_price(NOW + 3, settlement),
    ).events
    assert [(type(event), event.ts_event) for event in events] == [
        (Bbo, (NOW + 1) * MS), (Trade, (NOW + 2) * MS), (MarkPrice, (NOW + 3) * MS), (Funding, (NOW + 3) * MS)
    ]  # fmt: skip
    assert events[-1].next_funding_ts == settlement * MS


async def two_universes(_nursery, _folder):
    quote = {"u": 1, "b": "1", "B": "1", "a": "2", "A": "1", "T": NOW, "E": NOW}
    usdm = binance_frame("bookTicker", **quote, ps="BTCUSDT", st=1, brandNew={"deep": [1]}, another=None)
    coinm = json.dumps({"stream": "x", "data": {**quote, "e": "bookTicker", "s": "BTCUSD_PERP", "ps": "BTCUSD", "st": 2}})
    both = json.dumps({"stream": "!bookTicker", "data": [json.loads(text)["data"] for text in (usdm, coinm)]})
    found = harvest(BINANCE, BTC, usdm, coinm, both)
    assert [(event.symbol, event.ask_price) for event in found.events] == [("BTCUSDT", 2.0)] * 2
    assert [(reject.reason, reject.frame) for reject in found.rejects] == [
        ("not_subscribed", coinm.encode()), ("not_subscribed", both.encode())
    ]  # fmt: skip


async def cut_after_a_day(nursery, _folder):
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    # A day is a second here.
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=symbols, rate=600, max_lifetime=1.0))
    plans = [
        attrs.evolve(plan, name=f"{plan.name}-{symbol}")
        for symbol in symbols
        for plan in plans_for(BINANCE, simulator, (symbol,))
    ]
    async with recording(BINANCE, tuple(plans)) as run:
        await until(lambda: len({line["connection"] for line in run.log.told("gap_detected")}) == len(plans))
    assert set(run.faults) == {"closed code 1001"}
    first = {line["connection"]: line["retry_in"] for line in reversed(run.log.told("ws_disconnect"))}
    # They were opened together and cut together, and do not come back together.
    assert first.keys() == {plan.name for plan in plans}
    assert len(set(first.values())) > 1
    assert len(run.state.signals.gaps.untold) >= len(plans)
    assert timeless(run.events) == sent(simulator)


async def quotes_out_of_order(nursery, _folder):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=BTC, rate=500))
    async with recording(BINANCE, plans_for(BINANCE, simulator, BTC, (BBO,))) as run:
        await until(lambda: len(run.events) > 20)
        simulator.faults.old(60_000, n=3, kind=BBO)
        before = len(run.events)
        await until(lambda: len(run.events) > before + 30)
    times = [event.ts_event for event in run.events]
    assert times != sorted(times)
    told = simulator.ledger.sent(BBO, "BTCUSDT")
    assert [(simulator.messages.number(event), event.ts_event) for event in run.events] == [(n, ms * MS) for n, ms, _ in told]
    received = [event.ts_recv for event in run.events]
    assert received == sorted(received)


# ------------------------------------------------------------------------------------------------------------------- Bybit


async def all_or_nothing(nursery, _folder):
    simulator = await nursery.start(serve_bybit, BybitOptions(symbols=TWO, rate=500))
    symbols = ("BTCUSDT", "MATICUSDT", "ETHUSDT")
    (plan,) = plans_for(BYBIT, simulator, symbols)
    assert len(plan.requests) == 1
    async with recording(BYBIT, (plan,)) as run:
        await until(lambda: len(run.topics) == 2 * len(BYBIT.streams))
    assert {topic.symbol for topic in run.topics} == set(TWO)
    assert run.refused.keys() == {str(topic) for topic in run.wanted if topic.symbol == "MATICUSDT"}
    assert all("handler not found" in text for text in run.refused.values())
    # What is subscribed already refuses its companions just the same.
    (plan,) = plans_for(BYBIT, simulator, BTC, (BBO, TRADE))
    again = asking(
        plan,
        {"req_id": "1", "op": "subscribe", "args": ["orderbook.1.BTCUSDT"]},
        {"req_id": "2", "op": "subscribe", "args": ["publicTrade.BTCUSDT", "orderbook.1.BTCUSDT"]},
    )
    async with recording(BYBIT, (again,)) as run:
        await until(lambda: run.topics == run.wanted)
    assert run.refused == {}


async def ten_arguments(nursery, _folder):
    symbols = tuple(f"C{number}USDT" for number in range(11)) + BTC
    spot = await nursery.start(serve_bybit, BybitOptions(market="spot", symbols=symbols, rate=2_000))
    linear = await nursery.start(serve_bybit, BybitOptions(symbols=BTC, rate=500))
    (plan,) = plans_for(BYBIT_SPOT, spot, symbols)
    assert [len(json.loads(request)["args"]) for request in plan.requests] == [10, 10, 4]
    args = [topic for request in plan.requests for topic in json.loads(request)["args"]]
    async with recording(BYBIT_SPOT, (plan,)) as run, recording(BYBIT, plans_for(BYBIT, linear, BTC)) as other:
        await until(lambda: run.topics == run.wanted and other.topics == other.wanted)
    assert run.refused == {}
    # The same symbol on both: the socket tells them apart, and so does every row.
    assert urlsplit(plan.url).path == "/v5/public/spot"
    assert {urlsplit(each.url).path for each in other.plans} == {"/v5/public/linear"}
    assert {event.exchange for event in run.of(TRADE, "BTCUSDT")} == {"bybit-spot"}
    assert {event.exchange for event in other.of(TRADE, "BTCUSDT")} == {"bybit"}
    # And one that is too long after all is cut up until it fits.
    async with recording(BYBIT_SPOT, (asking(plan, {"req_id": "1", "op": "subscribe", "args": args}),)) as run:
        await until(lambda: run.topics == run.wanted)
    assert run.refused == {}


async def sparse_tickers(nursery, _folder):
    full = {"markPrice": "10", "indexPrice": "11", "openInterest": "5", "fundingRate": "0.1", "nextFundingTime": str(NOW)}
    session = session_of(BYBIT, BTC)

    def take(text):
        found = session.decode([text.encode()], 77)
        return found.events, {reject.reason for reject in found.rejects}

    early, why = take(ticker("delta", 1, markPrice="9"))
    assert (early, why) == ([], {"delta_before_snapshot"})
    take(ticker("snapshot", 2, **full, preOpenPrice="", preQty=""))
    changed, why = take(ticker("delta", 3, indexPrice="12"))
    assert (changed, why) == ([MarkPrice(3 * MS, 77, "bybit", "BTCUSDT", 10.0, 12.0)], set())
    # An empty string says nothing: it is neither a zero nor the end of the value before.
    emptied, why = take(ticker("delta", 4, markPrice="13", indexPrice="", fundingRate="", openInterest=""))
    assert (emptied, why) == ([MarkPrice(4 * MS, 77, "bybit", "BTCUSDT", 13.0, 12.0)], set())
    assert take(ticker("delta", 5, bid1Price="9", bid1Size="1")) == ([], set())
    # A new connection knows nothing.
    session = session_of(BYBIT, BTC)
    assert take(ticker("delta", 6, indexPrice="12")) == ([], {"delta_before_snapshot"})

    simulator = await nursery.start(serve_bybit, BybitOptions(symbols=TWO, rate=1_000))
    streams = (MARK, FUNDING, INTEREST)
    async with recording(BYBIT, plans_for(BYBIT, simulator, TWO, streams)) as run:
        await until(lambda: run.topics == run.wanted and len(run.of(MARK)) > 50)
        simulator.faults.close()
        await until(lambda: run.reconnects == 1)
        before = len(run.of(MARK))
        await until(lambda: len(run.of(MARK)) > before + 50)
    assert run.rejects == []
    assert timeless(run.events) == sent(simulator)


async def repeated_books(nursery, _folder):
    # Three seconds are a tenth of one here.
    simulator = await nursery.start(serve_bybit, BybitOptions(symbols=BTC, idle_symbols=BTC, rate=100, time_scale=30))
    async with recording(BYBIT, plans_for(BYBIT, simulator, BTC, (BBO,))) as run:
        await until(lambda: len(run.events) >= 6)
    assert len({(event.bid_price, event.bid_qty, event.ask_price, event.ask_qty) for event in run.events}) == 1
    assert len({event.ts_event for event in run.events}) == len(run.events)  # each has the time of its own message
    assert timeless(run.events) == sent(simulator)
    # And a count of updates that begins anew is no reason to leave a book out.
    texts = [simulator.messages.book("BTCUSDT", number, NOW + number) for number in (998, 999, 1000)]
    assert [int(re.search(r'"u":(\d+)', text)[1]) == 1 for text in texts] == [False, True, False]
    expected = [simulator.messages.raw(BBO, "BTCUSDT", number, NOW + number, 77) for number in (998, 999, 1000)]
    assert harvest(BYBIT, BTC, *texts).events == expected


async def pong_is_a_ping(nursery, _folder):
    answers = (
        '{"success":true,"ret_msg":"pong","conn_id":"4657","req_id":"","op":"ping"}',
        '{"success":true,"ret_msg":"pong","conn_id":"0970","op":"ping"}',
        '{"args":["1672916271846"],"op":"pong"}',
    )
    found = harvest(BYBIT, BTC, *answers)
    assert (found.outcomes, found.events, found.rejects) == ([Pong()] * 3, [], [])

    simulator = await nursery.start(serve_bybit, BybitOptions(symbols=BTC, rate=500))
    simulator.faults.mute()
    often = adapted(BYBIT, heartbeat=attrs.evolve(BYBIT.heartbeat, interval=0.05))
    async with recording(often, plans_for(often, simulator, BTC), idle=0.6) as run:
        await until(lambda: run.faults)
        frames = run.connections["linear-0"].frames
    # Pongs came all the time. They are neither rubbish nor data: the socket is dead for all that.
    assert run.faults[0].startswith("idle")
    assert frames > 5
    assert (run.events, run.rejects, dict(run.state.unknown)) == ([], [], {})


async def unsortable_trade_ids(nursery, _folder):
    ids = [str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(1030)]
    ids[7] = ids[6]  # told twice in one message
    assert ids != sorted(ids)

    def trade(name):
        return {"T": NOW, "s": "BTCUSDT", "S": "Buy", "v": "0.1", "p": "5", "i": name, "BT": False, "RPI": False, "seq": 3}

    frames = [
        json.dumps({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": NOW, "data": [trade(name) for name in part]})
        for part in (ids[:1024], ids[1024:])
    ]
    found = harvest(BYBIT, BTC, *frames)
    assert [event.trade_id for event in found.trade] == ids
    assert found.rejects == []

    options = partial(BybitOptions, symbols=BTC, rate=1_000, trades_per_message=2)
    for exchange, market, shape in ((BYBIT, "linear", uuid.UUID), (BYBIT_SPOT, "spot", int)):
        simulator = await nursery.start(serve_bybit, options(market=market))
        async with recording(exchange, plans_for(exchange, simulator, BTC, (TRADE,))) as run:
            await until(lambda run=run: len(run.events) > 100)
        assert timeless(run.events) == sent(simulator)
        assert all(shape(event.trade_id) for event in run.events)


# --------------------------------------------------------------------------------------------------------------------- OKX


async def contracts(_nursery, folder):
    text = okx_frame("trades", tradeId="9", px="83725.9", sz="0.37", side="buy", ts=str(NOW), count="2", source="0")
    interest = okx_frame("open-interest", oi="2216113.01000000309", oiCcy="22161.13", oiUsd="1939251795.54", ts=str(NOW))
    trade, open_interest = harvest(OKX, BTC, text, interest).events
    # Not multiplied: 0.37 contracts of 0.01 BTC stay 0.37.
    assert (trade.qty, open_interest.open_interest) == (0.37, 2216113.01000000309)
    counted = {StreamType.BBO, StreamType.TRADE, StreamType.OPEN_INTEREST}
    assert OKX.units == dict.fromkeys(counted, "contracts")
    assert BINANCE.units[TRADE] == BYBIT.units[TRADE] == BYBIT_SPOT.units[TRADE] == "base coin"
    # And whoever opens the file is told.
    units = {f"{e.name}/{stream.value}": unit for e in EXCHANGES.values() for stream, unit in e.units.items()}
    header = SegmentHeader("a", 1, 1, NOW * MS, "0", units)
    sample = Trade(NOW * MS, NOW * MS, "binance", "BTCUSDT", 1.0, 0.37, 1, "9")
    batches = [journal_batch(journal_schema(event.exchange, TRADE), [event]) for event in (trade, sample)]
    spool = Spool(folder / "spool")
    try:
        journal = write_segment(spool.journal_path(header.segment), batches, header=header, sealed=True)
        pack = encode_segment(spool, journal)
        parts = [pack.read_part(part, place) for part, place in zip(pack.manifest.parts, pack.places, strict=True)]
    finally:
        spool.close()
    told = {
        re.search(r"exchange=([\w-]+)", part.key)[1]: pq.read_schema(pa.BufferReader(data)).metadata[b"quantity_unit"]
        for data, part in zip(parts, pack.manifest.parts, strict=True)
    }
    assert told == {"okx": b"contracts", "binance": b"base coin"}


async def names_of_the_settlement(_nursery, _folder):
    settlement, after = NOW + HOUR, NOW + 9 * HOUR
    snapshot = ticker("snapshot", NOW, markPrice="1", fundingRate="0.0001", nextFundingTime=str(settlement))
    frames = {"binance": mark_price(NOW, settlement), "bybit": snapshot, "okx": okx_funding(NOW, settlement, after)}
    for name, frame in frames.items():
        (funding,) = harvest(EXCHANGES[name], BTC, frame).funding
        assert funding == Funding(NOW * MS, 77, name, "BTCUSDT", 0.0001, settlement * MS), name


async def ping_without_json(nursery, _folder):
    # Thirty seconds are six tenths of one here.
    options = OkxOptions(symbols=BTC, idle_symbols=BTC, rate=100, time_scale=50)
    simulator = await nursery.start(serve_okx, options)
    often = adapted(OKX, heartbeat=attrs.evolve(OKX.heartbeat, interval=0.2))
    silent = adapted(OKX, heartbeat=None)
    stranger = ("MATICUSDT",)
    async with (
        recording(often, plans_for(often, simulator, BTC, (TRADE,))) as kept,
        recording(silent, plans_for(silent, simulator, BTC, (TRADE,))) as closed,
        recording(often, plans_for(often, simulator, stranger)) as rejected,
    ):
        await until(lambda: closed.faults and rejected.faults)
        await trio.sleep(0.7)
        assert kept.connections["public-0"].frames >= 1 + 5  # an acknowledgement, and pongs
        assert kept.connections["public-0"].lifecycle.state is State.SUBSCRIBING
    assert (kept.faults, kept.rejects, kept.reconnects) == ([], [], 0)
    assert closed.faults[0] == rejected.faults[0] == "closed code 4004 'No data received in 30s.'"
    assert rejected.rejects == []
    assert rejected.refused.keys() == {str(topic) for topic in rejected.wanted}


async def port_given_up(nursery, _folder):
    (plan,) = plans_of(OKX, BTC, endpoints=OKX.endpoints)
    assert (urlsplit(plan.url).scheme, urlsplit(plan.url).port) == ("wss", None)  # 443
    with socket.socket() as nobody:  # bound, and nobody listens
        nobody.bind(("127.0.0.1", 0))
        gone = Endpoints(f"ws://127.0.0.1:{nobody.getsockname()[1]}", NOWHERE.rest_url)
        async with recording(OKX, plans_of(OKX, BTC, endpoints=gone)) as run:
            await until(lambda: len(run.faults) >= 2)
    assert all(fault.startswith("connect ") for fault in run.faults)
    simulator = await nursery.start(serve_okx, OkxOptions(symbols=BTC, rate=500))
    async with recording(OKX, plans_for(OKX, simulator, BTC)) as run:  # the address is a setting
        await until(lambda: run.topics == run.wanted)
    assert run.faults == []


async def trades_elsewhere(nursery, _folder):
    simulator = await nursery.start(serve_okx, OkxOptions(symbols=BTC, rate=500))
    (plan,) = plans_for(OKX, simulator, BTC, (BBO, TRADE))
    args = json.loads(plan.requests[0])["args"]
    assert ([arg["channel"] for arg in args], urlsplit(plan.url).path) == (["bbo-tbt", "trades"], "/ws/v5/public")
    more = asking(plan, {"id": "1", "op": "subscribe", "args": [{"channel": "trades-all", "instId": "BTC-USDT-SWAP"}, *args]})
    async with recording(OKX, (more,)) as run:
        await until(lambda: run.topics == run.wanted and len(run.of(TRADE)) > 20)
    (told,) = run.log.told("subscribe_refused")
    assert told["code"] == "60018"
    assert "channel:trades-all," in told["text"]
    assert timeless(run.events) == sent(simulator)
    documented = '{"event":"error","code":"64001","msg":"This channel has been migrated to the \'/business\' URL.","connId":"a4"}'
    (outcome,) = harvest(OKX, BTC, documented).outcomes
    assert isinstance(outcome, Refused)
    assert outcome.code == "64001"


async def requests_an_hour(nursery, _folder):
    simulator = await nursery.start(serve_okx, OkxOptions(rate=2_000, max_requests=5))
    symbols = simulator.options.symbols
    quick = adapted(OKX, limits=attrs.evolve(OKX.limits, request_gap=0.01))
    (plan,) = plans_for(quick, simulator, symbols)
    async with recording(quick, (plan,)) as run:
        await until(lambda: run.topics == run.wanted)
    assert (len(plan.requests), run.refused) == (1, {})
    # As it would be with a request for each channel; the collector would say so.
    one_by_one = [{"op": "subscribe", "args": [arg]} for arg in json.loads(plan.requests[0])["args"]]
    async with recording(quick, (asking(plan, *one_by_one),)) as run:
        await until(lambda: run.log.told("subscribe_refused"))
    assert run.log.told("subscribe_refused")[0]["code"] == "60014"
    assert len(simulator.connections[-1].streams) == 5
    # A hundred symbols fit into one request too, and that into 64 KB.
    (plan,) = plans_of(OKX, [f"COIN{number:02d}USDT" for number in range(100)])
    (request,) = plan.requests
    assert len(json.loads(request)["args"]) == 500
    assert len(request) < 64_000


async def drifting_words(_nursery, _folder):
    what = "channel:trades,instId:BTC-USDT-SWAP doesn't exist"
    words = (what, f"Wrong URL or {what}. Please use", f"Subscribe failed, wrong URL or {what}. Please use", "Nein.")
    frames = [json.dumps({"event": "error", "msg": text, "code": "60018", "connId": "b2b0944b"}) for text in words]
    found = harvest(OKX, BTC, *frames)
    topic = str(Topic("okx", TRADE, "BTCUSDT"))
    assert found.outcomes == [Refused(name, "60018", text) for name, text in zip([topic] * 3 + [None], words, strict=True)]
    assert (found.rejects, found.events) == ([], [])
    (notice,) = harvest(OKX, BTC, '{"event":"notice","code":"64008","msg":"Other words.","connId":"a4d3ae55"}').outcomes
    assert notice == Notice("64008", "Other words.", reconnect=True)


# --------------------------------------------------------------------------------------------------------------------- all


async def duplicates(nursery, _folder):
    binance = await nursery.start(serve_binance, BinanceOptions(symbols=BTC, rate=500))
    async with recording(BINANCE, plans_for(BINANCE, binance, BTC, (TRADE,))) as run:
        await until(lambda: len(run.events) > 10)
        binance.faults.close(1012)
        await until(lambda: run.reconnects == 1)
        before = len(run.events)
        await until(lambda: len(run.events) > before)
        # Replayed after the reconnect: some twice, and some from before it.
        binance.faults.duplicate(3, kind=TRADE)
        binance.faults.old(60_000, n=2, kind=TRADE)
        before = len(run.events)
        await until(lambda: len(run.events) > before + 20)
    twice = [trade_id for trade_id, count in Counter(event.trade_id for event in run.events).items() if count == 2]
    assert len(twice) == 3
    assert timeless(run.events) == sent(binance)

    okx = await nursery.start(serve_okx, OkxOptions(symbols=BTC, rate=500, limit=200))
    async with recording(OKX, plans_for(OKX, okx, BTC, (BBO,))) as run:
        await okx.wait_quiet()
        before = len(run.events)
        okx.announce_upgrade()
        await until(lambda: len(run.events) > before and run.reconnects == 1)
    # Nothing happens any more, so the new socket tells the quote of the old one again. It is recorded again.
    assert run.faults == ["announced 64008"]
    last, again = run.events[-2:]
    assert timeless([again]) == timeless([last])
    assert again.ts_recv > last.ts_recv
    assert timeless(run.events) == sent(okx)


async def nothing_filled_in(nursery, _folder):
    async def proof(exchange, simulator):
        trades = simulator.feed.series[TRADE, "BTCUSDT"]
        async with recording(exchange, plans_for(exchange, simulator, BTC), rest_url=simulator.rest_url) as run:
            await until(lambda: run.topics == run.wanted)
            hole = range(trades.next_number, trades.next_number + 40)
            simulator.faults.skip("BTCUSDT", 40)
            simulator.faults.restart(0.2)
            alignment = run.state.alignment
            await until(lambda: run.log.told("gap_detected") and alignment.events_seen)
            # REST knew, was asked, and what it told was newer than what had been recorded.
            await until(lambda: alignment.corrections)
            await until(lambda: any(simulator.messages.number(event) > hole[-1] for event in run.of(TRADE)))
        assert not run.log.told("alignment_failed")
        found = {simulator.messages.number(event) for event in run.of(TRADE)}
        assert found.isdisjoint(hole)
        assert timeless(run.events) == sent(simulator)

    await each(proof, await start_all(nursery, symbols=BTC, rate=1_000))


async def compression(nursery, _folder):
    requests = []

    async def greedy(stream):
        """A server that compresses without being asked."""
        request = await stream.receive_some()
        requests.append(request.decode().lower())
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)[1].decode()
        head = [
            "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(key)}", "Sec-WebSocket-Extensions: permessage-deflate",
        ]  # fmt: skip
        await stream.send_all("\r\n".join([*head, "", ""]).encode())
        await stream.receive_some()

    listeners = await nursery.start(trio.serve_tcp, greedy, 0)
    url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"
    for open_wire in (wire.open_wire, wire_trio_websocket.open_wire):
        with pytest.raises(TransportFault) as refused:
            async with open_wire(url, WireOptions()):
                pass
        assert refused.value.kind in {FaultKind.HANDSHAKE, FaultKind.PROTOCOL}
    assert len(requests) == 2
    assert not any("sec-websocket-extensions" in request for request in requests)

    paths = {"binance": "/public/ws", "bybit": "/v5/public/linear", "okx": "/ws/v5/public"}
    for name, simulator in (await start_all(nursery, symbols=BTC)).items():
        parts = urlsplit(simulator.ws_url)
        async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream:
            head = [
                f"GET {paths[name]} HTTP/1.1", f"Host: {parts.netloc}", "Upgrade: websocket", "Connection: Upgrade",
                "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                f"Sec-WebSocket-Extensions: {DEFLATE}",
            ]  # fmt: skip
            await stream.send_all("\r\n".join([*head, "", ""]).encode())
            answer = (await stream.receive_some()).decode().lower()
        assert answer.startswith("http/1.1 101"), name
        assert "sec-websocket-extensions" not in answer, name


async def delisted(nursery, _folder):
    async def proof(exchange, simulator):
        async with RestClient(simulator.rest_url, exchange.rest.limits) as client:
            assert await unlisted(exchange.rest, client, TWO, {}) == ()
            async with recording(exchange, plans_for(exchange, simulator, TWO)) as run:
                await until(lambda: run.topics == run.wanted)
                simulator.faults.delist("ETHUSDT")
                # Binance goes on listing it, as SETTLING; from the lists of the others it has vanished.
                assert await unlisted(exchange.rest, client, TWO, {}) == ("ETHUSDT",)
                simulator.faults.close()
                await until(lambda: run.reconnects == len(run.plans))
                before = len(run.events)
                await until(lambda: len(run.events) > before + 50)
                await tell_unlisted(exchange.name, run.plans, exchange.rest, client, run.notices)
        assert {event.symbol for event in run.events[-40:]} == {"BTCUSDT"}
        assert run.refused.keys() == {str(topic) for topic in run.wanted if topic.symbol == "ETHUSDT"}
        # Bybit and OKX say no themselves, Binance says yes and nothing more.
        words = set(run.refused.values())
        assert words == {NOT_LISTED} if exchange is BINANCE else NOT_LISTED not in words
        assert timeless(run.events) == sent(simulator)

    simulators = await start_all(nursery, symbols=TWO, rate=1_000)
    await each(proof, simulators)
    async with RestClient(simulators["binance"].rest_url, BINANCE.rest.limits) as client:
        assert await unlisted(BINANCE.rest, client, ("BTCUSDT", "MATICUSDT"), {}) == ("MATICUSDT",)


async def intervals(_nursery, _folder):
    # An interval of eight hours, then of one, then of four.
    steps = [(NOW, NOW + 8 * HOUR), (NOW + 1, NOW + HOUR), (NOW + 2, NOW + 4 * HOUR)]
    first, *later = steps
    tickers = [ticker("snapshot", first[0], markPrice="1", fundingRate="0.0001", nextFundingTime=str(first[1]))]
    tickers += [ticker("delta", ts, nextFundingTime=str(settlement)) for ts, settlement in later]
    frames = {
        "binance": [mark_price(ts, settlement) for ts, settlement in steps],
        "bybit": tickers,
        "okx": [okx_funding(ts, settlement, settlement + HOUR) for ts, settlement in steps],
    }
    for name, texts in frames.items():
        found = harvest(EXCHANGES[name], BTC, *texts).funding
        assert [(event.ts_event, event.next_funding_ts) for event in found] == [(a * MS, b * MS) for a, b in steps], name


# --------------------------------------------------------------------------------------------------------------- the table


@attrs.frozen
class Trap:
    """One row."""

    name: str
    simulated: str
    """What the simulator, or a frame of the exchange, does."""
    shown: str
    """What the collector must show."""
    prove: Callable[[trio.Nursery, Path], Awaitable[None]]


TRAPS = (
    Trap("01-binance-path-split", "acknowledges a stream on the wrong route and stays silent", "each stream asked for on its own route; silence is an idle socket", path_split),
    Trap("02-binance-ack-is-no-proof", "acknowledges symbols that it does not have", "they have no first message and are told by name; the rest is recorded", ack_is_no_proof),
    Trap("03-binance-raw-trades", "fills @trade with rows of price zero", "only aggTrade is asked for; the rows are counted as unknown", undocumented_trades),
    Trap("04-binance-three-times-t", "T is a match, a trade or the next funding", "the right time in the right column", three_meanings_of_t),
    Trap("05-binance-two-universes", "COIN-M among USD-M, and fields nobody knows", "only what was asked for; new fields harm nothing", two_universes),
    Trap("06-binance-day-cut", "cuts all sockets of one age together", "each comes back at its own moment, each gap is told", cut_after_a_day),
    Trap("07-binance-quote-order", "sends quotes with times that run back", "all of them, in the order in which they came", quotes_out_of_order),
    Trap("08-bybit-all-or-nothing", "refuses a request for one bad or held topic", "the rest is asked for again; the bad one is told", all_or_nothing),
    Trap("09-bybit-spot-ten-args", "takes ten arguments; same symbols on both markets", "ten at most; rows told apart by exchange", ten_arguments),
    Trap("10-bybit-ticker-deltas", "leaves out what is unchanged; sends empty strings", "completed from the same connection, never with zeros", sparse_tickers),
    Trap("11-bybit-book-repeats", "repeats books; begins its count anew", "recorded as sent", repeated_books),
    Trap("12-bybit-pong-is-ping", "answers a ping by op ping", "a pong, which is no data", pong_is_a_ping),
    Trap("13-bybit-trade-ids", "ids are UUIDs; long bursts are split", "all trades, in order, ids as text", unsortable_trade_ids),
    Trap("14-okx-contracts", "sizes are contracts", "recorded as sent, and the file says contracts", contracts),
    Trap("15-okx-funding-time", "fundingTime is what others call the next", "one meaning on all exchanges", names_of_the_settlement),
    Trap("16-okx-text-ping", "closes what is quiet for 30 s; pong is not JSON", "a text ping keeps it; without one the close is told", ping_without_json),
    Trap("17-okx-port", "8443 is gone", "443 by default, any other by setting; refusal is told and retried", port_given_up),
    Trap("18-okx-trades-all", "refuses trades-all on /public", "it is not asked for; a refusal is told and harms nothing else", trades_elsewhere),
    Trap("19-okx-requests-an-hour", "allows so many requests an hour", "one request for five hundred channels", requests_an_hour),
    Trap("20-okx-error-words", "says the same in other words every year", "the code decides", drifting_words),
    Trap("21-duplicates-on-reconnect", "sends again after a reconnect", "recorded again: nothing is taken for a duplicate", duplicates),
    Trap("22-rest-refill-depth", "knows over REST what was missed, as far back as it likes", "compared with; the hole stays a hole", nothing_filled_in),
    Trap("23-compression", "may compress", "it is not offered, and not taken unasked", compression),
    Trap("24-delisted-symbols", "lets them linger in the list, or vanish", "both are told by name; the rest is recorded", delisted),
    Trap("25-funding-intervals", "changes the interval", "the settlement as sent; no interval is assumed", intervals),
)  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS, ids=[trap.name for trap in TRAPS])
async def test_trap(trap, nursery, tmp_path):
    with trio.fail_after(20):
        await trap.prove(nursery, tmp_path)
    nursery.cancel_scope.cancel()


def test_the_table_is_whole():
    assert [trap.name[:2] for trap in TRAPS] == [f"{number:02d}" for number in range(1, 26)]
