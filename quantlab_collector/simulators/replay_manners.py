"""How the exchanges talk around a recording: what a client asked for, what it is answered, which frames are meant for it.

Only as much as a client needs to get going: it is answered as the exchange would, and gets the recorded frames of the topics
that it is subscribed to. What a recording holds besides, such as the answers to somebody else's requests, is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from quantlab_collector.simulators.binance_connection import parse_path
from quantlab_collector.simulators.binance_control import Subscriptions
from quantlab_collector.simulators.binance_venue import SPOT, USDM, Venue

_CONNECTION: Final = "replay"
_PUBLIC: Final = ("bookTicker", "depth", "rpiDepth", "trade")
"""Channels of /public, recorded ones included that the simulator does not play; all others belong to /market."""


class Conversation(Protocol):
    """One connection's side of the talk."""

    def answer(self, message: str | bytes) -> list[str]:
        """What is replied to a request."""

    def payload(self, text: str, topic: str) -> str | None:
        """What a recorded frame becomes for this client; ``None`` when it is not for it."""

    @property
    def begun(self) -> bool:
        """Whether anything has been subscribed to."""


class _Binance:
    def __init__(self, venue: Venue, route: str, subscriptions: Subscriptions) -> None:
        self._routed = venue is USDM
        self._public = route != "/market"
        self._subscriptions = subscriptions

    @property
    def begun(self) -> bool:
        return bool(self._subscriptions.names)

    def answer(self, message: str | bytes) -> list[str]:
        return [self._subscriptions.answer(message)]

    def payload(self, text: str, topic: str) -> str | None:
        channel = topic.partition("@")[2]
        if topic not in self._subscriptions.names or (self._routed and channel.startswith(_PUBLIC) != self._public):
            return None
        head = f'{{"stream":"{topic}","data":'
        if self._subscriptions.combined or not text.startswith(head):
            return text
        return text[len(head) : -1]


class _Bybit:
    def __init__(self, *, spot: bool) -> None:
        self._spot = spot
        self._topics: dict[str, None] = {}

    @property
    def begun(self) -> bool:
        return bool(self._topics)

    def answer(self, message: str | bytes) -> list[str]:
        request = _read(message)
        operation, name = request.get("op"), request.get("req_id", "")
        if operation == "subscribe":
            self._topics.update(dict.fromkeys(request.get("args", [])))
        elif operation == "unsubscribe":
            for topic in request.get("args", []):
                self._topics.pop(topic, None)
        elif operation != "ping":
            return []
        word = "pong" if operation == "ping" else operation if self._spot else ""
        reply = {"success": True, "ret_msg": word, "conn_id": _CONNECTION, "req_id": name, "op": operation}
        if self._spot:
            del reply["req_id"]
        return [_compact(reply)]

    def payload(self, text: str, topic: str) -> str | None:
        return text if topic in self._topics else None


class _Okx:
    def __init__(self) -> None:
        self._topics: dict[str, None] = {}

    @property
    def begun(self) -> bool:
        return bool(self._topics)

    def answer(self, message: str | bytes) -> list[str]:
        if message == "ping":
            return ["pong"]
        request = _read(message)
        operation = request.get("op")
        if operation not in {"subscribe", "unsubscribe"}:
            return []
        replies = []
        for argument in request.get("args", []):
            if operation == "subscribe":
                self._topics[_canonical(argument)] = None
            else:
                self._topics.pop(_canonical(argument), None)
            named = {"id": request["id"]} if "id" in request else {}
            replies.append(_compact({**named, "event": operation, "arg": argument, "connId": _CONNECTION}))
        return replies

    def payload(self, text: str, topic: str) -> str | None:
        return text if topic in self._topics else None


def _converse_binance(venue: Venue, path: str) -> Conversation | None:
    address = parse_path(path, venue)
    return None if address is None else _Binance(venue, *address)


CONVERSATIONS: Final[Mapping[str, Callable[[str], Conversation | None]]] = {
    "binance": lambda path: _converse_binance(USDM, path),
    "binance-spot": lambda path: _converse_binance(SPOT, path),
    "bybit": lambda path: _Bybit(spot=False) if path == "/v5/public/linear" else None,
    "bybit-spot": lambda path: _Bybit(spot=True) if path == "/v5/public/spot" else None,
    "okx": lambda path: _Okx() if path == "/ws/v5/public" else None,
}
"""By exchange: an address becomes a conversation, or there is nothing."""


def topic_of(text: str) -> str | None:
    """What a recorded frame is about; ``None`` for answers, heartbeats and whatever is no JSON."""
    message = _read(text)
    if "event" in message:
        return None
    match message:
        case {"stream": str(name)} | {"topic": str(name)}:
            return name
        case {"arg": dict(argument)}:
            return _canonical(argument)
    return None


def _read(message: str | bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        if isinstance(found := json.loads(message), dict):
            return found
    return {}


def _canonical(argument: Mapping[str, Any]) -> str:
    return json.dumps(argument, sort_keys=True)


def _compact(reply: Mapping[str, Any]) -> str:
    return json.dumps(reply, separators=(",", ":"))
