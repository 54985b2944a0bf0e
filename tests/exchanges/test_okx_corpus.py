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
from quantlab_collector.exchanges.okx import OKX
from quantlab_collector.exchanges.protocol import Wanted

CORPUS = Path(os.environ.get("QUANTLAB_CORPUS", ""), "okx")
pytestmark = pytest.mark.skipif(
    not os.environ.get("QUANTLAB_CORPUS") or not CORPUS.is_dir(), reason="QUANTLAB_CORPUS names no folder of recorded frames"
)

# file → frames; events by stream; outcomes and rejects by kind
PINNED = {
    "FastMM/raw_md_stream.excerpt.tsv": (32, {"Bbo": 26, "Subscribed": 3, "Trade": 1, "books": 2}),
    "FastMM/raw_perp_stream.tsv": (30, {"Funding": 4, "MarkPrice": 6, "OpenInterest": 6, "Subscribed": 8, "index-tickers": 6}),
    "OKX.Net/embedded.jsonl": (
        39,
        {
            "Funding": 1,
            "MarkPrice": 1,
            "OpenInterest": 1,
            "Subscribed": 27,
            "Trade": 1,
            "books": 1,
            "estimated-price": 1,
            "index-tickers": 1,
            "instruments": 1,
            "liquidation-warning": 1,
            "price-limit": 1,
            "status": 1,
            "tickers": 1,
        },
    ),
    "barter-rs/embedded.jsonl": (2, {"Refused": 1, "Trade": 1}),
    "bytex/OkxPayloads.jsonl": (6, {"Funding": 1, "MarkPrice": 1, "Refused": 1, "Trade": 1, "books5": 1, "tickers": 1}),
    "crypto-msg-parser/embedded.jsonl": (
        31,
        {"Bbo": 6, "Trade": 6, "books-l2-tbt": 5, "books5": 6, "missing_field": 2, "tickers": 6},
    ),
    "cryptofeed/2022-02-27_public.tsv.gz": (3777, {"Subscribed": 60, "Trade": 19, "books-l2-tbt": 3679, "tickers": 19}),
    "gocryptotrader/embedded.jsonl": (
        25,
        {
            "Bbo": 1,
            "MarkPrice": 1,
            "OpenInterest": 1,
            "Refused": 1,
            "Trade": 3,
            "books": 7,
            "books-l2-tbt": 2,
            "books5": 1,
            "index-tickers": 1,
            "instruments": 1,
            "liquidation-orders": 1,
            "liquidation-warning": 1,
            "missing_field": 1,
            "price-limit": 1,
            "status": 1,
            "tickers": 1,
        },
    ),
    "hummingbot/embedded.jsonl": (4, {"Refused": 2, "Subscribed": 2}),
}


def frames_of(path):
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for line in data.splitlines():
        yield line.split(b"\t", 1)[1] if ".tsv" in path.name else line


def number(text):
    return float(Decimal(text))


def side(levels):
    """The best level: price and size of the first, or nothing of an empty side."""
    return (number(levels[0][0]), number(levels[0][1])) if levels else (None, None)


def slowly(frame, ts_recv):
    """Events of one frame, by the documentation and nothing else; a symbol is called as the exchange calls it."""
    message = json.loads(frame)
    for item in message.get("data", []):
        channel, symbol = message["arg"]["channel"], item.get("instId", message["arg"].get("instId"))
        if "ts" not in item:  # as in the funding rates of 2022
            continue
        common = (int(item["ts"]) * 10**6, ts_recv, "okx", symbol)
        match channel:
            case "bbo-tbt":
                yield Bbo(*common, *side(item["bids"]), *side(item["asks"]))
            case "trades":
                yield Trade(
                    *common, number(item["px"]), number(item["sz"]), {"buy": 1, "sell": -1}[item["side"]], item["tradeId"]
                )
            case "mark-price":
                yield MarkPrice(*common, number(item["markPx"]), None)
            case "funding-rate":
                yield Funding(*common, number(item["fundingRate"]), int(item["fundingTime"]) * 10**6)
            case "open-interest":
                yield OpenInterest(*common, number(item["oi"]))


def session_for(names):
    """One that listens to everything, spot pairs and options included: the map gives every name to itself."""
    (plan,) = OKX.plan(Wanted(tuple(names), OKX.streams, OKX.endpoints, {name: name for name in names}))
    return OKX.session(plan)


FILES = (
    sorted(
        path.relative_to(CORPUS).as_posix()
        for path in CORPUS.rglob("*")
        if path.name.endswith((".jsonl", ".tsv", ".tsv.gz"))
        and not path.name.endswith((".index.tsv", ".sent.tsv", ".connect.tsv"))
    )
    if CORPUS.is_dir()
    else []
)


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_frame_is_accounted_for(name):
    frames = list(frames_of(CORPUS / name))
    messages = [json.loads(frame) for frame in frames]
    named = [each for message in messages for each in (message.get("arg", {}), *message.get("data", []))]
    names = {each["instId"] for each in named if "instId" in each}
    session = session_for(sorted(names) or ["BTC-USDT-SWAP"])
    counts = Counter()
    for n, frame in enumerate(frames):
        harvest = session.decode([frame], n)
        kinds = [reject.reason for reject in harvest.rejects] + [getattr(o, "kind", type(o).__name__) for o in harvest.outcomes]
        assert harvest.events or kinds, frame
        counts.update(kinds)
        counts.update(type(event).__name__ for event in harvest.events)
        assert harvest.events == list(slowly(frame, n))
    assert (len(frames), dict(counts)) == PINNED[name]


def test_the_corpus_holds_the_files_that_are_pinned():
    assert set(FILES) == set(PINNED)


def test_a_swap_recorder_takes_the_swaps_of_a_mixed_recording():
    """The names are made from ours, and what was not asked for is not recorded."""
    (plan,) = OKX.plan(Wanted(("BTCUSDT", "BTCUSD"), OKX.streams, OKX.endpoints))
    session = OKX.session(plan)
    harvest = session.decode(list(frames_of(CORPUS / "crypto-msg-parser/embedded.jsonl")), 0)
    assert Counter((type(event).__name__, event.symbol) for event in harvest.events) == {
        ("Trade", "BTCUSDT"): 1,
        ("Trade", "BTCUSD"): 1,
        ("Bbo", "BTCUSDT"): 1,
        ("Bbo", "BTCUSD"): 1,
    }
    assert Counter(reject.reason for reject in harvest.rejects) == {"not_subscribed": 8, "missing_field": 2}
