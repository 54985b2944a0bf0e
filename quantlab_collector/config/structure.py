"""From plain data to the tree, with every fault on the way.

Each table is read for itself, so that a fault in one leaves the others whole. What is wrong is told and then taken out, and the
default stands in for it: so the rest can still be judged, and the user learns everything at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import attrs
from cattrs.errors import AttributeValidationNote, ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from quantlab_collector.config.conflicts import conflicts
from quantlab_collector.config.faults import Fault, Wrong, shown, unknown, written
from quantlab_collector.config.reading import strict_converter
from quantlab_collector.config.rules import impossible
from quantlab_collector.config.secrets import misplaced_secret
from quantlab_collector.config.tree import TABLES, CollectorOptions, Config, ExchangeOptions, KeyPath, is_set
from quantlab_collector.contracts.events import StreamType
from quantlab_collector.exchanges.protocol import Exchange
from quantlab_collector.exchanges.registry import ON_REQUEST

T = TypeVar("T")


def build(values: Mapping[str, Any], exchanges: Mapping[str, Exchange], *, whole: bool = True) -> tuple[Config, list[Fault]]:
    """The tree, and what is wrong with ``values``. Values that contradict each other are told only where ``values`` is whole."""
    known = (*TABLES, "exchanges")
    faults = [Fault((name,), unknown("table", name, known)) for name in values if name not in known]
    tables: dict[str, Any] = {}
    for name, cls in TABLES.items():
        tables[name], wrong = _read_table(cls(), values.get(name, {}), (name,))
        faults += wrong
    tables["exchanges"], wrong = _read_exchanges(values.get("exchanges", {}), exchanges, tables["collector"])
    faults += wrong
    config = Config(**tables)
    if whole:
        faults += _contradictions(config, values, [fault.path for fault in faults])
    return config, faults


def _read_exchanges(
    tables: object, exchanges: Mapping[str, Exchange], collector: CollectorOptions
) -> tuple[dict[str, ExchangeOptions], list[Fault]]:
    faults: list[Fault] = []
    if not isinstance(tables, dict):
        faults.append(Fault(("exchanges",), f"must hold a table for each exchange, not {shown(tables)}"))
        tables = {}
    faults += [Fault(("exchanges", name), unknown("exchange", name, exchanges)) for name in tables if name not in exchanges]
    found = {}
    for name, exchange in exchanges.items():
        default = ExchangeOptions(
            enabled=name not in ON_REQUEST,
            symbols=collector.symbols,
            streams=exchange.streams,
            ws_url=exchange.endpoints.ws_url,
            rest_url=exchange.endpoints.rest_url,
        )
        found[name], wrong = _read_table(default, tables.get(name, {}), ("exchanges", name), exchange.streams)
        faults += wrong
    return found, faults


def _read_table(
    default: T, table: object, path: KeyPath, streams: tuple[StreamType, ...] = tuple(StreamType)
) -> tuple[T, list[Fault]]:
    """One table, with the default for what is missing or wrong."""
    if not isinstance(table, dict):
        return default, [Fault(path, f"must be a table, not {shown(table)}")]
    converter = strict_converter(streams)
    inner, faults = _read_inner(default, table, path)
    table = {key: value for key, value in table.items() if key not in inner}
    readable = table
    try:
        options = converter.structure(table, type(default))
    except ClassValidationError as error:
        faults += _leaves(error, path)
        readable = _without(table, faults, path)
        options = converter.structure(readable, type(default))
    faults += list(_judge(options, table, path, {fault.path for fault in faults}))
    good = _without(readable, faults, path)
    evolve: Any = attrs.evolve
    return evolve(default, **inner, **{key: getattr(options, key) for key in good}), faults


def _read_inner(default: object, table: Mapping[str, Any], path: KeyPath) -> tuple[dict[str, Any], list[Fault]]:
    """The tables in a table, each for itself."""
    found: dict[str, Any] = {}
    faults: list[Fault] = []
    for key in table:
        slice_of_it = getattr(default, key, None)
        if attrs.has(type(slice_of_it)):
            found[key], wrong = _read_table(slice_of_it, table[key], (*path, key))
            faults += wrong
    return found, faults


def _leaves(error: BaseException, path: KeyPath) -> Iterator[Fault]:
    """The faults in a tree of cattrs's errors."""
    match error:
        case ClassValidationError() | IterableValidationError():
            noted, bare = error.group_exceptions()
            for inner, note in noted:
                step = note.name if isinstance(note, AttributeValidationNote) else note.index
                yield from _leaves(inner, (*path, step))
            for inner in bare:
                yield from _leaves(inner, path)
        case ForbiddenExtraKeysError():
            known = [field.name for field in attrs.fields(error.cl)]
            yield from (
                Fault((*path, key), (path[0] == "storage" and misplaced_secret(key)) or unknown("key", key, known))
                for key in sorted(error.extra_fields)
            )
        case Wrong():
            yield Fault(path, str(error))
        case _:
            raise error


def _judge(options: object, table: Mapping[str, Any], path: KeyPath, told: set[KeyPath]) -> Iterator[Fault]:
    """Values that could be read and are impossible. Where one item cannot be read, the others are judged all the same."""
    # The rules are the same for every exchange.
    rules = "exchanges" if path[0] == "exchanges" else written(path)
    for key, value in table.items():
        here, rule = (*path, key), f"{rules}.{key}"
        readable = not any(place[: len(here)] == here for place in told)
        if readable and (text := impossible(rule, getattr(options, key))):
            yield Fault(here, text)
        for step, item in _items(value) if here not in told else ():
            if (*here, step) not in told and (text := impossible(f"{rule}[]", item)):
                yield Fault((*here, step), text)


def _items(value: object) -> Iterator[tuple[str | int, Any]]:
    match value:
        case list():
            yield from enumerate(value)
        case dict():
            yield from ((key, (key, item)) for key, item in value.items())


def _without(table: Mapping[str, Any], faults: list[Fault], path: KeyPath) -> dict[str, Any]:
    wrong = {fault.path[len(path)] for fault in faults}
    return {key: value for key, value in table.items() if key not in wrong}


def _contradictions(config: Config, values: Mapping[str, Any], wrong: list[KeyPath]) -> Iterator[Fault]:
    """Conflicts between values, each told where the user set one of them. Values that are wrong by themselves have been told."""
    for conflict in conflicts(config):
        if not any(_touch(path, other) for path in conflict.paths for other in wrong):
            place = next((path for path in conflict.paths if is_set(values, path)), conflict.paths[0])
            yield Fault(place, conflict.text)


def _touch(one: KeyPath, other: KeyPath) -> bool:
    """Whether two paths are the same, or one leads to the other."""
    return all(step == other_step for step, other_step in zip(one, other, strict=False))
