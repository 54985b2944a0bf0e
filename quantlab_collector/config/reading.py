"""Strict readings: each kind of value in a config, from plain data, or a ``Wrong`` that says what would do.

cattrs walks the tables and collects the errors. Its own readings are too kind for a config, though: they split a text into
letters where a list is wanted, and take ``"12"`` for a number. So every kind of value has its reading here.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, get_args, get_origin

from cattrs import Converter

from quantlab_collector.config.faults import Wrong, shown
from quantlab_collector.config.units import (
    DURATION_FORM,
    LARGEST,
    LONGEST,
    SIZE_FORM,
    format_duration,
    parse_duration,
    parse_size,
)
from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.units import Bytes, Seconds


@functools.cache
def strict_converter(streams: tuple[StreamType, ...]) -> Converter:
    """A converter that reads strictly; ``streams`` are the ones to choose from."""
    converter = Converter(forbid_extra_keys=True)

    def read_list(value: object, kind: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Wrong(f"must be a list, not {shown(value)}")
        list_of: Any = list
        return tuple(converter.structure(value, list_of[get_args(kind)[0]]))

    def read_mapping(value: object, _: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise Wrong(f"must be a table, not {shown(value)}")
        return converter.structure(value, dict[str, str])

    converter.register_structure_hook(str, _read_text)
    converter.register_structure_hook(int, _read_integer)
    converter.register_structure_hook(bool, _read_boolean)
    converter.register_structure_hook(Seconds, _read_duration)
    converter.register_structure_hook(Bytes, _read_size)
    # Without a hook of its own a StrEnum would be read as the text that it also is.
    converter.register_structure_hook(StrEnum, lambda value, kind: _read_choice(value, tuple(kind)))
    converter.register_structure_hook(StreamType, lambda value, _: _read_choice(value, streams))
    converter.register_structure_hook_func(_is_tuple, read_list)
    converter.register_structure_hook_func(_is_mapping, read_mapping)
    return converter


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is Mapping


def _read_text(value: object, _: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"must be text, not {shown(value)}")
    if not value.isprintable():
        raise Wrong("holds a character that cannot be printed")
    return value


def _read_integer(value: object, _: Any) -> int:
    # For Python true is a number. Not so here.
    if not isinstance(value, int) or isinstance(value, bool):
        raise Wrong(f"must be a whole number, not {shown(value)}")
    return value


def _read_boolean(value: object, _: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"must be true or false, not {shown(value)}")
    return value


def _read_duration(value: object, _: Any) -> Seconds:
    seconds = parse_duration(value) if isinstance(value, str) else None
    if seconds is None:
        raise Wrong(f"must be {DURATION_FORM}, not {shown(value)}")
    if not 0 < seconds <= LONGEST:
        raise Wrong(f"must be longer than nothing and at most {format_duration(LONGEST)}, not {shown(value)}")
    return seconds


def _read_size(value: object, _: Any) -> Bytes:
    size = parse_size(value) if isinstance(value, str) else value
    if not isinstance(size, int) or isinstance(size, bool):
        raise Wrong(f"must be {SIZE_FORM}, or a number of bytes, not {shown(value)}")
    if not 0 < size <= LARGEST:
        raise Wrong(f"must be more than nothing and within 64 bits, not {shown(value)}")
    return Bytes(size)


def _read_choice(value: object, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if choice.value == value:
            return choice
    raise Wrong(f"{shown(value)} is not one of {', '.join(choice.value for choice in choices)}")
