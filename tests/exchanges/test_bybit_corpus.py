"""Frames that others recorded from the real exchange. Each becomes events, or is counted with a reason; values are checked by a slow
decoder written from the exchange's documentation."""

import gzip
import json
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from quantlab_collector.contracts.events import Bbo, Funding, MarkPrice, OpenInterest, Trade
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.bybit import LINEAR, SPOT
from quantlab_collector.exchanges.protocol import ConnectionPlan

CORPUS = Path(os.environ.get("QUANTLAB_CORPUS", ""), "bybit")
pytestmark = pytest.mark.skipif(
    not os.environ.get("QUANTLAB_CORPUS") or not CORPUS.is_dir(), reason="QUANTLAB_CORPUS names no folder of recorded frames"
)

# file → frames; events by stream; outcomes and rejects by kind; "silent" are deltas that tell nothing that is recorded
PINNED = {
    "Bybit.Net/embedded.jsonl": (
        11,
        {
            "Funding": 1,
            "MarkPrice": 2,
            "OpenInterest": 2,
            "Subscribed": 3,
            "Trade": 2,
            "allLiquidation": 1,
            "missing_field": 1,
            "orderbook.25": 1,
            "priceLimit": 1,
        },
    ),
    "XChange/embedded.jsonl": (2, {"Trade": 1, "orderbook.50": 1}),
    "barter-rs/embedded.jsonl": (5, {"Pong": 1, "Refused": 1, "Subscribed": 1, "Trade": 2, "publicTrade.BTCUSDT": 1}),
    "cryptofeed/2025-06-13_linear_orderbook1.tsv": (202, {"Bbo": 198, "Subscribed": 4}),
    "cryptofeed/2026-08-09_linear.tsv.gz": (
        2546,
        {
            "Funding": 6,
            "MarkPrice": 138,
            "OpenInterest": 20,
            "Subscribed": 17,
            "Trade": 327,
            "kline.1": 71,
            "orderbook.200": 1598,
            "silent": 602,
        },
    ),
    "cryptofeed/2026-08-09_spot.tsv.gz": (
        681,
        {"Subscribed": 7, "Trade": 20, "kline.1": 25, "not_subscribed": 81, "orderbook.200": 550},
    ),
    "gocryptotrader/embedded.jsonl": (
        17,
        {
            "Funding": 3,
            "MarkPrice": 5,
            "OpenInterest": 4,
            "Pong": 1,
            "Refused": 1,
            "Subscribed": 1,
            "Trade": 1,
            "liquidation": 1,
            "missing_field": 1,
            "orderbook.50": 4,
            "silent": 2,
        },
    ),
    "hirokisan-bybit/embedded.jsonl": (4, {"MarkPrice": 1, "OpenInterest": 1, "missing_field": 2, "wrong_type": 1}),
}


def frames_of(path):
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for line in data.splitlines():
        yield line.split(b"\t", 1)[1] if ".tsv" in path.name else line


def number(text):
    return None if text in ("", None) else float(Decimal(str(text)))


class Slowly:
    """Events of one connection, by the documentation and nothing else."""

    def __init__(self, exchange):
        self.exchange = exchange
        self.tickers = {}

    def events(self, message, ts_recv):
        channel, _, symbol = message.get("topic", "").rpartition(".")
        common = (ts_recv, self.exchange, symbol)
        if channel == "orderbook.1":
            ts = message.get("cts", message["ts"]) * 10**6
            best = [number(value) for side in "ba" for value in (message["data"][side] or [[None, None]])[0]]
            yield Bbo(ts, *common, *best)
        elif channel == "publicTrade":
            for item in message["data"]:
                side = {"Buy": 1, "Sell": -1}[item["S"]]
                yield Trade(item["T"] * 10**6, *common, number(item["p"]), number(item["v"]), side, item["i"])
        elif channel == "tickers" and self.exchange == "bybit":
            told = {key: value for key, value in message["data"].items() if value != ""}
            state = told if message["type"] == "snapshot" else self.tickers.get(symbol, {}) | told
            self.tickers[symbol] = state
            ts = message["ts"] * 10**6
            if {"markPrice", "indexPrice"} & told.keys() and "markPrice" in state:
                yield MarkPrice(ts, *common, number(state["markPrice"]), number(state.get("indexPrice")))
            if {"fundingRate", "nextFundingTime"} & told.keys() and "fundingRate" in state:
                yield Funding(ts, *common, number(state["fundingRate"]), int(state["nextFundingTime"]) * 10**6)
            if "openInterest" in told:
                yield OpenInterest(ts, *common, number(told["openInterest"]))


FILES = (
    sorted(p.relative_to(CORPUS).as_posix() for p in CORPUS.rglob("*") if p.name.endswith((".jsonl", ".tsv", ".tsv.gz")))
    if CORPUS.is_dir()
    else []
)
RECORDINGS = [name for name in FILES if not name.endswith((".index.tsv", ".sent.tsv", ".connect.tsv"))]


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recorded_frame_is_accounted_for(name):
    market = SPOT if "spot" in name else LINEAR
    frames = list(frames_of(CORPUS / name))
    messages = [json.loads(frame) for frame in frames]
    symbols = sorted({m["topic"].rpartition(".")[2] for m in messages if "topic" in m})
    topics = tuple(Topic(market.name, stream, symbol) for stream in market.streams for symbol in symbols)
    session = market.session(ConnectionPlan(market.name, "corpus", "", topics, ()))
    slowly = Slowly(market.name)
    counts = Counter()
    for n, (frame, message) in enumerate(zip(frames, messages, strict=True)):
        harvest = session.decode([frame], n)
        kinds = [reject.reason for reject in harvest.rejects] + [getattr(o, "kind", type(o).__name__) for o in harvest.outcomes]
        counts.update(kinds)
        counts.update(type(event).__name__ for event in harvest.events)
        if not harvest.rejects:
            expected = list(slowly.events(message, n))
            assert sorted(map(repr, harvest.events)) == sorted(map(repr, expected))
            if not kinds and not expected:
                assert message["type"] == "delta", frame
                counts["silent"] += 1
    assert (len(frames), dict(counts)) == PINNED[name]


def test_the_corpus_holds_the_files_that_are_pinned():
    assert set(RECORDINGS) == set(PINNED)


def test_every_stream_was_recorded_by_somebody():
    assert all(
        any(kind in counts for _, counts in PINNED.values()) for kind in ("Bbo", "Trade", "MarkPrice", "Funding", "OpenInterest")
    )
