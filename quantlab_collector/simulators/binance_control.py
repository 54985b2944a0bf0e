"""What a client may ask on an open Binance connection, and the answers. Pure: text in, text out.

An acknowledgement promises nothing: a stream that does not exist, or belongs to the other route, is acknowledged and silent.
Requests: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Live-Subscribing-Unsubscribing-to-streams
Errors have the texts of that page, in the wrapped form that clients see on the wire.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

MAX_STREAMS: Final = 1024
"""Per connection: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams"""

_MAX_IDENTITY: Final = 36
"""https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md"""

_FIELDS: Final = {"method", "params", "id"}


class RequestError(Exception):
    """The request is answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class Subscriptions:
    """What one connection is subscribed to, and in which form it gets it."""

    def __init__(self, names: Iterable[str] = (), *, combined: bool = False, any_identity: bool = False) -> None:
        self.names = dict.fromkeys(names)
        """Stream names in the order of their subscription, also those that will stay silent."""
        self.combined = combined
        """Whether a payload is wrapped together with the name of its stream."""
        self._read_identity = _any_identity if any_identity else _number_identity
        self._methods: dict[str, Callable[[list[Any]], Any]] = {
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "LIST_SUBSCRIPTIONS": self._list,
            "SET_PROPERTY": self._set_property,
            "GET_PROPERTY": self._get_property,
        }

    def answer(self, message: str | bytes) -> str:
        """Do what a message asks, and tell what to reply."""
        identity: int | str | None = None
        try:
            request = _read(message)
            identity = self._read_identity(request)
            method = self._method(request, message)
            return _compact({"result": method(_params(request)), "id": identity})
        except RequestError as error:
            return _compact({"error": {"code": error.code, "msg": error.message}, "id": identity})

    def _method(self, request: dict[str, Any], message: str | bytes) -> Callable[[list[Any]], Any]:
        if "method" not in request:
            raise RequestError(2, f"Invalid request: missing field `method` at line 1 column {len(message)}")
        name = request["method"]
        if not isinstance(name, str) or name not in self._methods:
            known = ", ".join(f"`{method}`" for method in self._methods)
            text = message if isinstance(message, str) else message.decode(errors="replace")
            column = text.find(json.dumps(name)) + len(json.dumps(name))
            raise RequestError(2, f"Invalid request: unknown variant {name}, expected one of {known} at line 1 column {column}")
        return self._methods[name]

    def _subscribe(self, params: list[Any]) -> None:
        names = _names(params)
        if len(self.names.keys() | set(names)) > MAX_STREAMS:
            raise RequestError(4, "Too many subscriptions")
        self.names.update(dict.fromkeys(names))

    def _unsubscribe(self, params: list[Any]) -> None:
        for name in _names(params):
            self.names.pop(name, None)

    def _list(self, params: list[Any]) -> list[str]:
        if params:
            raise RequestError(2, "Invalid request: too many parameters")
        return list(self.names)

    def _set_property(self, params: list[Any]) -> None:
        _check_property(params, length=2)
        if len(params) < 2 or not isinstance(params[1], bool):
            raise RequestError(1, "Invalid value type: expected Boolean")
        self.combined = params[1]

    def _get_property(self, params: list[Any]) -> bool:
        _check_property(params, length=1)
        return self.combined


def _read(message: str | bytes) -> dict[str, Any]:
    try:
        request = json.loads(message)
    except json.JSONDecodeError as error:
        raise RequestError(3, f"Invalid JSON: expected value at line {error.lineno} column {error.colno}") from None
    except (ValueError, RecursionError):  # not UTF-8; nested without end
        raise RequestError(3, "Invalid JSON: expected value at line 1 column 1") from None
    if not isinstance(request, dict):
        raise RequestError(2, f"Invalid request: missing field `method` at line 1 column {len(message)}")
    return request


def _any_identity(request: dict[str, Any]) -> int | str | None:
    """Spot takes an integer, a string or null."""
    identity = request.get("id")
    if "id" in request and (identity is None or (isinstance(identity, str) and len(identity) <= _MAX_IDENTITY)):
        return identity
    if not isinstance(identity, int) or isinstance(identity, bool):
        raise RequestError(2, "Invalid request: request ID must be an integer, a string or null")
    return identity


def _number_identity(request: dict[str, Any]) -> int:
    identity = request.get("id")
    if not isinstance(identity, int) or isinstance(identity, bool) or identity < 0:
        raise RequestError(2, "Invalid request: request ID must be an unsigned integer")
    return identity


def _params(request: dict[str, Any]) -> list[Any]:
    if not request.keys() <= _FIELDS:
        raise RequestError(2, "Invalid request: too many parameters")
    params = request.get("params", [])
    if not isinstance(params, list):
        raise RequestError(2, "Invalid request: params must be an array")
    return params


def _names(params: list[Any]) -> list[str]:
    if not all(isinstance(name, str) for name in params):
        raise RequestError(2, "Invalid request: stream names must be strings")
    return params


def _check_property(params: list[Any], *, length: int) -> None:
    if len(params) > length:
        raise RequestError(2, "Invalid request: too many parameters")
    if not params or not isinstance(params[0], str):
        raise RequestError(2, "Invalid request: property name must be a string")
    if params[0] != "combined":
        raise RequestError(0, "Unknown property")


def _compact(reply: dict[str, Any]) -> str:
    return json.dumps(reply, separators=(",", ":"))
