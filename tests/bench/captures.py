"""Frames that were recorded from the real exchanges, as a pool: all that the collector records of them, with what it owes for each."""

from __future__ import annotations

import json
from pathlib import Path

from mix import Message, text_frame

from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.protocol import ConnectionPlan
from quantlab_collector.exchanges.registry import EXCHANGES
from quantlab_collector.simulators.recording import read_recording

FOLDERS = {"binance": "binance-usdm", "bybit": "bybit", "okx": "okx"}


def recorded(exchange: str, folder: Path) -> tuple[tuple[str, ...], list[Message]]:
    """The symbols that occur, and the messages, file by file."""
    files = sorted(path for path in (folder / FOLDERS[exchange]).rglob("*.tsv*") if _is_recording(path))
    texts = [frame.text for path in files for frame in read_recording(path)]
    named = [(text, told) for text in texts if (told := _topic(exchange, text)) is not None]
    symbols = tuple(dict.fromkeys(symbol for _, (_, symbol) in named))
    of = EXCHANGES[exchange]
    topics = tuple(Topic(exchange, stream, symbol) for stream in of.streams for symbol in symbols)
    session = of.session(ConnectionPlan(exchange, "all", "", topics, ()))
    messages = []
    for text, (topic, _) in named:
        harvest = session.decode([text.encode()], 1)
        if harvest.events and not harvest.rejects and not harvest.outcomes:
            messages.append(Message(topic, text_frame(text.encode()), len(harvest.events)))
    return symbols, messages


def _is_recording(path: Path) -> bool:
    return not any(word in path.name for word in (".sent.", ".connect.", ".index.", ".rest_snapshot."))


def _topic(exchange: str, text: str) -> tuple[str, str] | None:
    """The topic of a frame and its symbol, if it has one."""
    message = json.loads(text) if text.startswith("{") else {}
    match exchange, message:
        case "binance", {"stream": str(stream)} if stream.endswith(("@bookTicker", "@aggTrade", "@markPrice@1s")):
            return stream, stream.partition("@")[0].upper()
        case "bybit", {"topic": str(topic)} if topic.startswith(("orderbook.1.", "publicTrade.", "tickers.")):
            return topic, topic.rpartition(".")[2]
        case "okx", {"arg": {"channel": str(channel), "instId": str(inst_id)}, "data": _}:
            return f"{channel}:{inst_id}", inst_id.removesuffix("-SWAP").replace("-", "")
    return None
