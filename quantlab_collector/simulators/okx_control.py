"""What a client may ask on an open OKX connection, and the answers. Pure: text in, texts out.

Every channel of a request has an answer of its own, yes or no, and one that is refused does no harm to the others.
Requests: https://www.okx.com/docs-v5/en/#overview-websocket-subscribe
Errors: https://www.okx.com/docs-v5/en/#error-code-websocket, in the words that were on the wire in autumn 2026.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import attrs

_IDENTITY: Final = re.compile(r"[0-9A-Za-z]{1,32}")
_EVENTS: Final = {"subscribe", "unsubscribe"}


class Arg(NamedTuple):
    """What a client subscribes to."""

    channel: str
    inst_id: str


@attrs.frozen
class Reply:
    """One message of an answer, and what changes with it."""

    text: str
    added: Arg | None = None
    removed: Arg | None = None


class Subscriptions:
    """What one connection is subscribed to."""

    def __init__(self, exists: Callable[[Arg], bool], connection_id: str) -> None:
        self.args: dict[Arg, None] = {}
        """In the order of their subscription."""
        self._exists = exists
        self._connection_id = connection_id

    def answer(self, message: str | bytes) -> Iterator[Reply]:
        """Do what a message asks, and tell what to reply."""
        request = _read(message)
        identity = request.get("id") if request is not None else None
        if request is None or "op" not in request or "args" not in request or not _is_identity(identity):
            text = message if isinstance(message, str) else message.decode(errors="replace")
            yield self.refusal("60012", f"Invalid request: {text}")
            return
        op, args = request["op"], request["args"]
        if op not in _EVENTS:
            yield self.refusal("60019", f"Invalid op: {op}", identity)
        elif not isinstance(args, list) or not args:
            yield self.refusal("60013", "Invalid args", identity)
        else:
            for arg in args:
                yield self._answer_one(op, _arg(arg), identity)

    def refusal(self, code: str, text: str, identity: str | None = None) -> Reply:
        """A message that says no."""
        return Reply(self._say(identity, {"event": "error", "msg": text, "code": code}))

    def notice(self, code: str, text: str) -> str:
        """A message that nobody has asked for."""
        return self._say(None, {"event": "notice", "code": code, "msg": text})

    def _answer_one(self, op: str, arg: Arg | None, identity: str | None) -> Reply:
        if arg is None:
            return self.refusal("60013", "Invalid args", identity)
        text = self._say(identity, {"event": op, "arg": {"channel": arg.channel, "instId": arg.inst_id}})
        if op == "unsubscribe":  # what the exchange says to one that was not subscribed is not known
            self.args.pop(arg, None)
            return Reply(text, removed=arg)
        if not self._exists(arg):
            return self.refusal(
                "60018",
                f"Subscribe failed, wrong URL or channel:{arg.channel},instId:{arg.inst_id} doesn't exist. "
                "Please use the correct URL, channel and parameters referring to API document.",
                identity,
            )
        if arg in self.args:  # nor what it says to one that is
            return Reply(text)
        self.args[arg] = None
        return Reply(text, added=arg)

    def _say(self, identity: str | None, content: dict[str, Any]) -> str:
        head = {} if identity is None else {"id": identity}
        return json.dumps(head | content | {"connId": self._connection_id}, separators=(",", ":"))


def _read(message: str | bytes) -> dict[str, Any] | None:
    try:
        request = json.loads(message)
    except (ValueError, RecursionError):  # not JSON; not UTF-8; nested without end
        return None
    return request if isinstance(request, dict) else None


def _is_identity(identity: object) -> bool:
    return identity is None or (isinstance(identity, str) and _IDENTITY.fullmatch(identity) is not None)


def _arg(arg: object) -> Arg | None:
    match arg:
        case {"channel": str(channel), "instId": str(inst_id)}:
            return Arg(channel, inst_id)
    return None
