"""The subscribe requests of one Bybit connection, and what is left of one that was refused.

Bybit takes a request as a whole or not at all: one topic that does not exist, or that is subscribed already, refuses the other
topics with it. Usually the refusal names the topic, and the rest is asked for again. Where it does not, the request is cut into
halves, until the topics that cannot be had are alone. Each refusal makes a request shorter, so this comes to an end.

An answer names its request by ``req_id``, or by nothing (linear). Then it belongs to the request with the topic that it names,
else to the one that has waited longest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import attrs
import msgspec

_SEPARATORS = re.compile(r"[\s,:\[\]\"']+")
_HELD = "already subscribed"


def subscribe_request(req_id: str, topics: Sequence[str]) -> bytes:
    """One request, as it is sent (https://bybit-exchange.github.io/docs/v5/ws/connect)."""
    return msgspec.json.encode({"req_id": req_id, "op": "subscribe", "args": topics})


@attrs.frozen
class Narrowed:
    """What follows from a refusal."""

    lost: tuple[str, ...] = ()
    """Topics that cannot be had."""
    held: tuple[str, ...] = ()
    """Topics that are subscribed already, which is what was wanted."""
    requests: tuple[bytes, ...] = ()
    """What is to be asked for again."""


class PendingRequests:
    """What was asked for and not answered yet, in the order in which it is sent."""

    def __init__(self, requests: Iterable[bytes]) -> None:
        asked = [msgspec.json.decode(request) for request in requests]
        self._pending: dict[str, tuple[str, ...]] = {request["req_id"]: tuple(request["args"]) for request in asked}
        self._acknowledged: dict[str, tuple[str, ...]] = {}
        self._count = len(asked)

    def acknowledge(self, req_id: str) -> tuple[str, ...]:
        """A request was taken: its topics, where it is one of ours."""
        if not req_id:
            req_id = next(iter(self._pending), "")
        topics = self._pending.pop(req_id, ())
        if topics:
            self._acknowledged[req_id] = topics
        return topics

    def refuse(self, req_id: str, text: str) -> Narrowed:
        """A request was refused with this text."""
        words = set(_SEPARATORS.split(text))
        topics = self._take_refused(req_id, words)
        named = words.intersection(topics)
        if not named and len(topics) > 1:
            middle = len(topics) // 2
            return Narrowed(requests=(self._ask(topics[:middle]), self._ask(topics[middle:])))
        culprits = tuple(topic for topic in topics if topic in named) or topics
        rest = tuple(topic for topic in topics if topic not in culprits)
        requests = (self._ask(rest),) if rest else ()
        return Narrowed(held=culprits, requests=requests) if _HELD in text else Narrowed(lost=culprits, requests=requests)

    def _take_refused(self, req_id: str, words: set[str]) -> tuple[str, ...]:
        if req_id in self._pending:
            return self._pending.pop(req_id)
        for asked in (self._pending, self._acknowledged):
            for candidate, topics in asked.items():
                if not words.isdisjoint(topics):
                    del asked[candidate]
                    if asked is self._acknowledged:
                        # Then an earlier acknowledgement without a name was not for this request but for another one.
                        self.acknowledge("")
                    return topics
        return () if req_id else self._pending.pop(next(iter(self._pending), ""), ())

    def _ask(self, topics: tuple[str, ...]) -> bytes:
        self._count += 1
        req_id = str(self._count)
        self._pending[req_id] = topics
        return subscribe_request(req_id, topics)
