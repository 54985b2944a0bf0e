"""What a server has to say besides its data: how each exchange is asked for topics, and how it acknowledges them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answered = tuple[list[str], list[bytes]]
"""The topics that were asked for, and what is answered."""


def answer(text: bytes) -> Answered:
    """What a client's text asks for. Heartbeats ask for nothing: whoever gets data does not wait for an answer to them."""
    request: dict[str, Any] = {} if text == b"ping" else json.loads(text)
    if request.get("method") == "SUBSCRIBE":
        return [topic_of_stream(name) for name in request["params"]], [_json({"result": None, "id": request["id"]})]
    if request.get("op") != "subscribe":
        return [], []
    args = request["args"]
    if isinstance(args[0], str):
        told = {"success": True, "ret_msg": "", "conn_id": "bench", "req_id": request["req_id"], "op": "subscribe"}
        return list(args), [_json(told)]
    acks = [_json({"id": request["id"], "event": "subscribe", "arg": arg, "connId": "bench"}) for arg in args]
    return [f"{arg['channel']}:{arg['instId']}" for arg in args], acks


def asked_by_address(target: str) -> list[str]:
    """Binance takes the topics in the address as well, and acknowledges nothing then."""
    names = parse_qs(urlsplit(target).query).get("streams", [""])[0]
    return [topic_of_stream(name) for name in names.split("/") if name]


def topic_of_stream(name: str) -> str:
    """Mark prices every second or every three, the messages are the same."""
    return name + "@1s" if name.endswith("@markPrice") else name


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
