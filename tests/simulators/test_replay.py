"""Recordings played again: the same frames, at the same pace, to whoever asks for them as one asks the exchange."""

from __future__ import annotations

import gzip
import json
import math
import os
import time
from collections import Counter
from pathlib import Path

import pytest
import trio
from trio_websocket import open_websocket_url

from quantlab_collector.contracts.layout import RawCompression
from quantlab_collector.simulators.play import play_recording
from quantlab_collector.simulators.recording import EVEN_GAP_NS, Recorded, read_recording
from quantlab_collector.simulators.replay import Replay, ReplayOptions, serve_replay
from quantlab_collector.simulators.replay_manners import topic_of
from quantlab_collector.storage.rawlog import compress, encode_lines
from simulators.support import ask, frame_client, status_of

START = 1_721_347_020
TEXTS = [
    '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":1,"s":"BTCUSDT","b":"1.10"}}',
    '{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","a":7,"s":"BTCUSDT"}}',
    '{"stream":"ethusdt@bookTicker","data":{"e":"bookTicker","u":2,"s":"ETHUSDT", "b":"1.0"}}',
    '{"result":null,"id":1}',
    '{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","s":"BTCUSDT"}}',
    '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":3,"s":"BTCUSDT","b":"1.20"}}',
]
OFFSETS = [0, 0.1, 0.1, 0.2, 0.3, 0.6]


@pytest.fixture
def recording(tmp_path) -> Path:
    file = tmp_path / "btcusdt.tsv.gz"
    lines = (f"{(START + offset) * 10**6:.0f}\t{text}\n" for offset, text in zip(OFFSETS, TEXTS, strict=True))
    file.write_bytes(gzip.compress("".join(lines).encode()))
    return file


@pytest.mark.parametrize(
    "stamps",
    [
        ["1749833474.2851315", "1749833474.3851315", "1749833475.2851315"],
        ["1749833474285", "1749833474385", "1749833475285"],
        ["1749833474285131", "1749833474385131", "1749833475285131"],
        ["1749833474285131500", "1749833474385131500", "1749833475285131500"],
        ["91951477042977", "91951577042977", "91952477042977"],  # a monotonic clock in ns
    ],
)
def test_the_unit_of_the_receive_time_is_found(tmp_path, stamps):
    file = tmp_path / "some.tsv"
    file.write_text("".join(f'{stamp}\t{{"n":"\\t"}}\n' for stamp in stamps))
    assert read_recording(file) == [Recorded(ns, '{"n":"\\t"}') for ns in (0, 100_000_000, 1_000_000_000)]


def test_a_unit_can_be_told(tmp_path):
    file = tmp_path / "some.tsv"
    file.write_text("1749833474285\tx\n1749833474385\ty\n")
    assert [frame.offset_ns for frame in read_recording(file, "ns")] == [0, 100]


def test_clocks_that_step_back_keep_the_order(tmp_path):
    file = tmp_path / "some.tsv"
    file.write_text("1749833474.5\ta\n1749833474.1\tb\n1749833474.6\tc\n")
    assert [frame.offset_ns for frame in read_recording(file)] == [0, 0, 100_000_000]


def test_messages_without_a_time_get_an_even_pace(tmp_path):
    file = tmp_path / "some.jsonl"
    file.write_text('{"a":1}\npong\n')
    assert read_recording(file) == [Recorded(0, '{"a":1}'), Recorded(EVEN_GAP_NS, "pong")]


@pytest.mark.parametrize("compression", RawCompression)
def test_an_archive_of_raw_frames_is_a_recording(tmp_path, compression):
    def put(name, *lines):
        path = tmp_path / "data/_raw/exchange=binance/date=20260101" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(compress(b"".join(lines), compression))
        return path

    suffix = "gz" if compression is RawCompression.GZIP else "zst"
    # The second file was begun first; one frame is no text, and nothing that could be played.
    put(f"part-a-1000-000002.jsonl.{suffix}", encode_lines(START * 10**9 + 900, "public-0#2", [b"d"]))
    first = put(
        f"part-a-1000-000001.jsonl.{suffix}",
        encode_lines(START * 10**9, "public-0#1", [b"a", b"\xff", "é".encode()]),
        encode_lines(START * 10**9 + 500, "market-0#1", [b"c"]),
    )
    frames = [Recorded(0, "a"), Recorded(0, "é"), Recorded(500, "c"), Recorded(900, "d")]
    assert read_recording(first) == frames[:3]
    assert read_recording(first.rename(tmp_path / "of-any-name")) == frames[:3]
    (tmp_path / "of-any-name").rename(first)
    for folder in ("data", "data/_raw", "data/_raw/exchange=binance/date=20260101"):
        assert read_recording(tmp_path / folder, None, "binance") == frames
    assert Replay(ReplayOptions(tmp_path / "data", "binance")).frames == frames
    with pytest.raises(ValueError, match="no raw frames of okx in"):
        read_recording(tmp_path / "data", None, "okx")
    first.write_bytes(first.read_bytes()[:-9])
    with pytest.raises(ValueError, match="part-a-1000-000001"):
        read_recording(tmp_path / "data", None, "binance")


@pytest.mark.parametrize("line", ["no tab", "yesterday\t{}", "nan\t{}"])
def test_what_is_no_recording_is_named(tmp_path, line):
    file = tmp_path / "some.tsv"
    file.write_text(f"1749833474.5\tfine\n{line}\n")
    with pytest.raises(ValueError, match="line 2: not a receive time"):
        read_recording(file)
    with pytest.raises(ValueError, match="not a recording"):
        read_recording(tmp_path / "some.csv")


def test_what_a_frame_is_about():
    assert topic_of(TEXTS[0]) == "btcusdt@bookTicker"
    assert topic_of('{"topic":"orderbook.1.BTCUSDT","data":{}}') == "orderbook.1.BTCUSDT"
    assert topic_of('{"arg":{"instId":"X","channel":"trades"},"data":[]}') == '{"channel": "trades", "instId": "X"}'
    for text in ("pong", "[1]", TEXTS[3], '{"event":"subscribe","arg":{"channel":"trades"}}', '{"op":"subscribe"}', "[" * 5000):
        assert topic_of(text) is None


async def test_the_frames_of_a_route_byte_for_byte_and_in_their_time(recording, nursery):
    replay = await nursery.start(serve_replay, ReplayOptions(recording, "binance", speed=2.0))
    before = time.time_ns()
    path = "/public/stream?streams=btcusdt@bookTicker/btcusdt@depth@0ms/btcusdt@aggTrade"  # the last one on the wrong route
    async with frame_client(replay, path) as client:
        start = trio.current_time()
        with trio.fail_after(3):
            await replay.connections[0].finished.wait()
        assert trio.current_time() - start == pytest.approx(0.3, abs=0.08)
        await client.read_until(3)
        assert [message.decode() for message in client.messages] == [TEXTS[0], TEXTS[4], TEXTS[5]] == list(replay.told(1))
    assert [(frame.connection, frame.place) for frame in replay.sent] == [(1, 0), (1, 4), (1, 5)]
    since = [(frame.accepted_ns - before) / 1e9 for frame in replay.sent]
    assert since[1] - since[0] == pytest.approx(0.15, abs=0.05)
    assert since[2] - since[0] == pytest.approx(0.3, abs=0.05)
    assert replay.seconds == 0.3


async def test_raw_after_a_request_and_from_the_beginning_for_everybody(recording, nursery):
    replay = await nursery.start(serve_replay, ReplayOptions(recording, "binance", speed=math.inf))
    for connection in (1, 2):
        async with open_websocket_url(replay.ws_url + "/public/ws") as websocket:
            assert await ask(websocket, "SUBSCRIBE", ["ethusdt@bookTicker"]) == {"result": None, "id": 1}
            assert await websocket.get_message() == '{"e":"bookTicker","u":2,"s":"ETHUSDT", "b":"1.0"}'
        assert list(replay.told(connection)) == ['{"e":"bookTicker","u":2,"s":"ETHUSDT", "b":"1.0"}']
    assert await status_of(replay, "/nowhere") == 404


async def test_a_recording_can_be_disturbed(recording, nursery):
    replay = await nursery.start(serve_replay, ReplayOptions(recording, "binance", speed=1.0))
    async with frame_client(replay, "/public/stream?streams=btcusdt@bookTicker") as client:
        await client.read_until(1)
        replay.faults.close(1012, "service restart")
        await client.read_all()
        assert client.protocol.close_code == 1012
        assert len(client.messages) == len(replay.sent) == 1


async def test_it_runs_alone_and_tells_what_it_plays(recording, nursery, tmp_path):
    script, told, done = tmp_path / "one.script", [], []
    script.write_text("at 100ms cut\n")
    options = ReplayOptions(recording, "binance", speed=0.5)
    nursery.start_soon(play_recording, options, told.append, script, lambda *order: done.append(order))
    with trio.fail_after(2):
        while not told:
            await trio.sleep(0.01)
        async with frame_client(told[0], "/public/stream?streams=btcusdt@bookTicker") as client:
            await client.read_all()
    assert (told[0].exchange, told[0].rest_url) == ("binance", "")
    assert told[0].playing == "6 frames of btcusdt.tsv.gz; 1.2 s at ×0.5"
    assert done == [("binance", "at 100ms cut")]


OKX = {"channel": "trades", "instId": "BTC-USDT-SWAP"}


@pytest.mark.parametrize(
    ("exchange", "path", "request_", "replies"),
    [
        (
            "bybit",
            "/v5/public/linear",
            {"op": "subscribe", "args": ["publicTrade.BTCUSDT"], "req_id": "7"},
            ['{"success":true,"ret_msg":"","conn_id":"replay","req_id":"7","op":"subscribe"}'],
        ),
        (
            "bybit-spot",
            "/v5/public/spot",
            {"op": "subscribe", "args": ["publicTrade.BTCUSDT"]},
            ['{"success":true,"ret_msg":"subscribe","conn_id":"replay","op":"subscribe"}'],
        ),
        (
            "okx",
            "/ws/v5/public",
            {"id": "1", "op": "subscribe", "args": [OKX]},
            ['{"id":"1","event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT-SWAP"},"connId":"replay"}'],
        ),
    ],
)
async def test_the_manners_of_the_others(tmp_path, nursery, exchange, path, request_, replies):
    topic = {"arg": OKX} if exchange == "okx" else {"topic": "publicTrade.BTCUSDT"}
    frame, other = json.dumps({**topic, "data": [1]}), json.dumps({"topic": "tickers.BTCUSDT", "arg": {}, "data": 2})
    file = tmp_path / "some.jsonl"
    file.write_text("".join(f"{text}\n" for text in ("pong", '{"success":true,"op":"subscribe"}', other, frame)))
    replay = await nursery.start(serve_replay, ReplayOptions(file, exchange, speed=math.inf))
    async with open_websocket_url(replay.ws_url + path) as websocket:
        await websocket.send_message("ping" if exchange == "okx" else '{"op":"ping"}')
        pong = await websocket.get_message()
        assert pong == "pong" if exchange == "okx" else json.loads(pong)["ret_msg"] == "pong"
        await websocket.send_message("what?")  # no answer, and no harm
        await websocket.send_message(json.dumps(request_))
        assert [await websocket.get_message() for _ in range(len(replies) + 1)] == [*replies, frame]
        await websocket.send_message(json.dumps({**request_, "op": "unsubscribe"}))
        assert "unsubscribe" in await websocket.get_message()


def test_an_exchange_that_nobody_knows(recording):
    with pytest.raises(ValueError, match="nasdaq"):
        ReplayOptions(recording, "nasdaq")


CORPUS = os.environ.get("QUANTLAB_CORPUS", "")


@pytest.mark.skipif(not CORPUS, reason="QUANTLAB_CORPUS names no folder of recorded frames")
@pytest.mark.parametrize(
    ("file", "exchange", "path", "seconds"),
    [
        ("binance-usdm/hftbacktest/usdm_btcusdt_20240718.tsv.gz", "binance", "/public/stream", 178),
        ("binance-usdm/hftbacktest/usdm_btcusdt_20230404.tsv.gz", "binance", "/market/stream", 100),
        ("binance-spot/hftbacktest/spot_btcusdt_20230405.tsv.gz", "binance-spot", "/stream", 415),
        ("bybit/cryptofeed/2026-08-09_linear.tsv.gz", "bybit", "/v5/public/linear", 41),
        ("bybit/cryptofeed/2025-06-13_linear_orderbook1.tsv", "bybit", "/v5/public/linear", 30),
        ("okx/FastMM/raw_perp_stream.tsv", "okx", "/ws/v5/public", 8.4),
    ],
)
async def test_the_corpus(nursery, file, exchange, path, seconds):
    replay = await nursery.start(serve_replay, ReplayOptions(Path(CORPUS, file), exchange, speed=math.inf))
    assert replay.frames[-1].offset_ns / 1e9 == pytest.approx(seconds, rel=0.1)
    frames = [frame.text for frame in replay.frames]
    topics = Counter(topic for frame in frames if (topic := topic_of(frame)) is not None)
    mine = [topic for topic in topics if exchange != "binance" or path.startswith("/market") == ("markPrice" in topic)]
    if exchange.startswith("binance"):
        path += "?streams=" + "/".join(topics)
    async with frame_client(replay, path) as client:
        if not exchange.startswith("binance"):
            args = [json.loads(topic) for topic in topics] if exchange == "okx" else list(topics)
            client.protocol.send_text(json.dumps({"op": "subscribe", "args": args}).encode())
            await client._write(client.protocol.data_to_send())
        expected = [text for text in frames if topic_of(text) in mine]
        acks = 0 if exchange.startswith("binance") else len(args) if exchange == "okx" else 1
        await client.read_until(acks + len(expected))
        await replay.connections[0].finished.wait()  # the client knows a moment before the ledger does
        assert [message.decode() for message in client.messages[acks:]] == expected == list(replay.told(1))
    assert len(expected) > 10
