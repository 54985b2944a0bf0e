"""Frames that others recorded from the real exchange. Each becomes events, or is counted with a reason; values are checked by a slow
decoder written from the exchange's documentation."""

import gzip
import json
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from quantlab_collector.contracts.events import Bbo, Funding, MarkPrice, Trade
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.binance import USDM
from quantlab_collector.exchanges.protocol import ConnectionPlan

CORPUS = Path(os.environ.get("QUANTLAB_CORPUS", ""), "binance-usdm")
pytestmark = pytest.mark.skipif(
    not os.environ.get("QUANTLAB_CORPUS") or not CORPUS.is_dir(), reason="QUANTLAB_CORPUS names no folder of recorded frames"
)

# file → frames; events by stream; outcomes and rejects by kind
PINNED = {
    "Binance.Net/embedded.jsonl": (
        7,
        {"Bbo": 1, "Funding": 1, "MarkPrice": 1, "Trade": 1, "contractInfo": 1, "depthUpdate": 2, "forceOrder": 1},
    ),
    "FastMM/mark_price_rollover.jsonl": (12, {"Funding": 12, "MarkPrice": 12}),
    "FastMM/mark_price_stream.jsonl": (20, {"Funding": 20, "MarkPrice": 20}),
    "barter-rs/embedded.jsonl": (
        12,
        {"Bbo": 1, "Subscribed": 2, "depthUpdate": 2, "forceOrder": 1, "no_event_type": 1, "trade": 5},
    ),
    "crypto-msg-parser/embedded.jsonl": (
        24,
        {"Bbo": 4, "Funding": 6, "MarkPrice": 6, "Repeat": 1, "Trade": 5, "depthUpdate": 10, "no_event_type": 1},
    ),
    "go-binance/embedded.jsonl": (
        10,
        {"Bbo": 1, "Funding": 3, "Hole": 1, "MarkPrice": 3, "Trade": 2, "depthUpdate": 3, "forceOrder": 1},
    ),
    "gocryptotrader/embedded.jsonl": (6, {"depthUpdate": 4, "trade": 2}),
    "hftbacktest/usdm_btcusdt_20230404.tsv.gz": (
        13383,
        {"Bbo": 6765, "Funding": 99, "MarkPrice": 99, "depthUpdate": 4322, "trade": 2197},
    ),
    "hftbacktest/usdm_btcusdt_20240718.tsv.gz": (11413, {"Bbo": 7113, "depthUpdate": 3326, "trade": 974}),
    "unicorn-fy/embedded.jsonl": (
        20,
        {
            "Bbo": 3,
            "Funding": 211,
            "MarkPrice": 229,
            "Subscribed": 1,
            "Trade": 2,
            "depthUpdate": 4,
            "forceOrder": 3,
            "indexPriceUpdate": 48,
            "trade": 1,
        },
    ),
}


def frames_of(path):
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for line in data.splitlines():
        yield line.split(b"\t", 1)[1] if ".tsv" in path.name else line


def payloads(frame):
    message = json.loads(frame)
    inner = message["data"] if isinstance(message, dict) and "data" in message else message
    return inner if isinstance(inner, list) else [inner]


def number(text):
    return None if text in ("", None) else float(Decimal(str(text)))


def slowly(payload, ts_recv):
    """Events of one payload, by the documentation and nothing else."""
    kind, symbol = payload.get("e"), payload.get("s")
    if kind == "bookTicker":
        yield Bbo(
            payload["T"] * 10**6, ts_recv, "binance", symbol,
            number(payload["b"]), number(payload["B"]), number(payload["a"]), number(payload["A"]),
        )  # fmt: skip
    elif kind == "aggTrade":
        yield Trade(
            payload["T"] * 10**6, ts_recv, "binance", symbol,
            number(payload["p"]), number(payload["q"]), -1 if payload["m"] else 1, str(payload["a"]),
        )  # fmt: skip
    elif kind == "markPriceUpdate":
        ts = payload["E"] * 10**6
        yield MarkPrice(ts, ts_recv, "binance", symbol, number(payload["p"]), number(payload.get("i")))
        if payload["r"] != "":
            yield Funding(ts, ts_recv, "binance", symbol, number(payload["r"]), payload["T"] * 10**6)


FILES = (
    sorted(p.relative_to(CORPUS).as_posix() for p in CORPUS.rglob("*") if p.name.endswith((".jsonl", ".tsv.gz")))
    if CORPUS.is_dir()
    else []
)


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_frame_is_accounted_for(name):
    frames = list(frames_of(CORPUS / name))
    symbols = {p["s"] for frame in frames for p in payloads(frame) if isinstance(p, dict) and "s" in p}
    binance = USDM
    topics = tuple(Topic("binance", stream, symbol) for stream in binance.streams for symbol in sorted(symbols))
    session = binance.session(ConnectionPlan("binance", "corpus", "", topics, ()))
    counts = Counter()
    for n, frame in enumerate(frames):
        harvest = session.decode([frame], n)
        kinds = [reject.reason for reject in harvest.rejects] + [getattr(o, "kind", type(o).__name__) for o in harvest.outcomes]
        assert harvest.events or kinds, frame
        counts.update(kinds)
        counts.update(type(event).__name__ for event in harvest.events)
        rejected = {r.reason for r in harvest.rejects}
        if not rejected:
            expected = [event for payload in payloads(frame) if isinstance(payload, dict) for event in slowly(payload, n)]
            assert sorted(map(repr, harvest.events)) == sorted(map(repr, expected))
    assert (len(frames), dict(counts)) == PINNED[name]


def test_the_corpus_holds_the_files_that_are_pinned():
    assert set(FILES) == set(PINNED)
