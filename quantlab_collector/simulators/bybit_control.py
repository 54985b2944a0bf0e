"""What a client may ask on an open Bybit connection, and the answers. Pure: text in, text out.

A request is taken as a whole or refused as a whole. The two markets answer differently: linear leaves ``ret_msg`` and, as it has
been seen to, ``req_id`` empty; spot says ``subscribe``. The texts of refusals are those that clients have seen; of the limit of
characters nobody has told, so the text of that one is made up.
https://bybit-exchange.github.io/docs/v5/ws/connect
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import attrs

MAX_CHARACTERS: Final = 21_000
"""Of all topics of one connection."""
MAX_SPOT_ARGS: Final = 10


@attrs.frozen
class Manner:
    """How a market answers."""

    market: str
    echo_req_id: bool = True
    """Linear: whether an answer carries the id of its request. Both have been seen."""

    @property
    def linear(self) -> bool:
        """Whether it is not spot."""
        return self.market == "linear"


@attrs.frozen
class Reply:
    """What a message leads to."""

    text: str
    opened: tuple[str, ...] = ()
    """Topics that begin now."""
    alive: bool = False
    """Whether it was a ping."""


class _Refusal(Exception):
    """The request is refused."""


class Subscriptions:
    """What one connection is subscribed to."""

    def __init__(self, manner: Manner, conn_id: str, exists: Callable[[str], bool]) -> None:
        self.topics: dict[str, None] = {}
        """In the order of their subscription."""
        self._manner = manner
        self._conn_id = conn_id
        self._exists = exists

    def answer(self, message: str | bytes) -> Reply:
        """Do what a message asks, and tell what to reply."""
        try:
            request = json.loads(message)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            found = (message if isinstance(message, str) else message.decode(errors="replace"))[:1]
            text = f"Failed to decode incoming data:readObjectStart: expect {{ or n, but found {found}"
            return Reply(self._frame(success=False, text=text, request={}, op=""))
        op = request["op"] if isinstance(request.get("op"), str) else ""
        try:
            return self._do(op, request)
        except _Refusal as refusal:
            return Reply(self._frame(success=False, text=str(refusal), request=request, op=op))

    def _do(self, op: str, request: dict[str, Any]) -> Reply:
        if op == "ping":
            return Reply(self._frame(success=True, text="pong", request=request, op=op), alive=True)
        if op not in {"subscribe", "unsubscribe"}:
            raise _Refusal("error:invalid op")
        act = self._subscribe if op == "subscribe" else self._unsubscribe
        opened = act(_topics(request.get("args")))
        return Reply(self._frame(success=True, text="" if self._manner.linear else op, request=request, op=op), opened)

    def _subscribe(self, topics: list[str]) -> tuple[str, ...]:
        if not self._manner.linear and len(topics) > MAX_SPOT_ARGS:
            raise _Refusal("args size >10")
        if sum(map(len, (*self.topics, *topics))) > MAX_CHARACTERS:
            raise _Refusal("error:args too long")
        known = set(self.topics)
        for topic in topics:
            if not self._exists(topic):
                form = "error:handler not found,topic:{}" if self._manner.linear else "Invalid symbol :[{}]"
                raise _Refusal(form.format(topic))
            if topic in known:
                raise _Refusal(f"error:already subscribed,topic:{topic}")
            known.add(topic)
        self.topics |= dict.fromkeys(topics)
        return tuple(topics)

    def _unsubscribe(self, topics: list[str]) -> tuple[str, ...]:
        for topic in topics:
            self.topics.pop(topic, None)
        return ()

    def _frame(self, *, success: bool, text: str, request: dict[str, Any], op: str) -> str:
        frame: dict[str, Any] = {"success": success, "ret_msg": text, "conn_id": self._conn_id}
        req_id = str(request.get("req_id", ""))
        if self._manner.linear:
            frame["req_id"] = req_id if self._manner.echo_req_id else ""
        elif req_id:
            frame["req_id"] = req_id
        frame["op"] = op
        return json.dumps(frame, separators=(",", ":")).replace(">", "\\u003e")


def _topics(args: Any) -> list[str]:
    if not isinstance(args, list) or not args or not all(isinstance(topic, str) for topic in args):
        raise _Refusal("error:invalid args")
    return args
