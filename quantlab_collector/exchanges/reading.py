"""What reading the JSON of any exchange needs.

Three habits are shared. Numbers come as strings and are read straight into floats (``strict=False``), so ``"NaN"`` would be one
as well: whatever is recorded is ``Finite``. An empty string means that there is no value. And what cannot be read has a reason
from a short list, so that it can be counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec

MS: Final = 1_000_000
"""Nanoseconds in a millisecond: the times of exchanges are in ms, ours in ns."""
_MAX_MS: Final = (2**63 - 1) // MS
Millis = Annotated[int, msgspec.Meta(ge=-_MAX_MS, le=_MAX_MS)]
"""A time that fits into RAW; nothing more is asked of it: a wrong time is recorded as sent."""

PastMillis = Annotated[int, msgspec.Meta(ge=0, le=_MAX_MS)]
"""A time that REST tells and that is compared with; a negative one is no answer."""

_LARGEST: Final = sys.float_info.max
Finite = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
"""A number that is neither a NaN nor an infinity. The decoder finds out by the way, as good as for nothing."""

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""All that a decoder may raise."""


class Unreadable(Exception):
    """A frame, or a part of it, that is to be rejected for ``reason``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse(frame: bytes) -> Any:
    """The JSON of a text frame; anything else is ``Unreadable``."""
    if type(frame) is not bytes:
        raise Unreadable("binary_frame")
    try:
        return msgspec.json.decode(frame)
    except UNREADABLE:
        raise Unreadable("not_json") from None


_T = TypeVar("_T")


def convert(message: Any, shape: type[_T]) -> _T:
    """What was parsed, as ``shape``; what does not fit is ``Unreadable``."""
    try:
        return msgspec.convert(message, shape, strict=False)
    except UNREADABLE as fault:
        raise Unreadable(reason_of(fault)) from None


def read_answer(body: bytes, shape: type[_T], *, strict: bool = True) -> _T:
    """The answer to a REST request, as ``shape``; what does not fit is a ``ValueError``. Not ``strict``: numbers as strings."""
    decode: Callable[..., _T] = msgspec.json.decode
    try:
        return decode(body, type=shape, strict=strict)
    except msgspec.MsgspecError as fault:
        raise ValueError(str(fault)) from fault


def without_empty(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A payload in which empty strings are nothing."""
    return {key: None if value == "" else value for key, value in payload.items()}


def reason_of(fault: Exception) -> str:
    """The library's words as one of a few reasons that can be counted."""
    text = str(fault)
    if "missing required field" in text:
        return "missing_field"
    if "Expected `float` >=" in text or "Expected `float` <=" in text:
        return "not_finite"
    out_of_range = "Expected `int` >=" in text or "Expected `int` <=" in text or "out of range" in text
    return "out_of_range" if out_of_range else "wrong_type"


def chunks(items: Sequence[_T], size: int) -> list[Sequence[_T]]:
    """The items in order, ``size`` at a time."""
    return [items[start : start + size] for start in range(0, len(items), size)]
