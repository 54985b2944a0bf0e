"""Values that are possible each by itself, and not together."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs

from quantlab_collector.config.faults import shown
from quantlab_collector.config.stores import store_conflicts
from quantlab_collector.config.tree import Config, ExchangeOptions, KeyPath
from quantlab_collector.config.units import format_duration, format_size
from quantlab_collector.exchanges.registry import EXCHANGES
from quantlab_collector.status.hosts import is_loopback
from quantlab_collector.storage.objects import Folder, parse_address

SEGMENTS_IN_SPOOL: Final = 2
"""While one segment is shipped, the next one is written."""


@attrs.frozen
class Conflict:
    """Values that are possible each, and not together."""

    paths: tuple[KeyPath, ...]
    text: str


def conflicts(config: Config) -> Iterator[Conflict]:
    """What contradicts what."""
    yield from _durations(config)
    yield from _room(config)
    yield from _folders(config)
    yield from _exposure(config)
    yield from (Conflict(paths, text) for paths, text in store_conflicts(config.storage))
    if not config.enabled_exchanges:
        yield Conflict(tuple(("exchanges", name, "enabled") for name in config.exchanges), "no exchange is enabled")
    yield from _same_symbols(config)


def _durations(config: Config) -> Iterator[Conflict]:
    for shorter, longer in (
        (("reconnect", "first"), ("reconnect", "cap")),
        (("storage", "retry_first"), ("storage", "retry_cap")),
        (("journal", "interval"), ("flush", "interval")),
    ):
        low, high = (getattr(getattr(config, table), key) for table, key in (shorter, longer))
        if high < low:
            text = f"{'.'.join(longer)} ({format_duration(high)}) is shorter than {'.'.join(shorter)} ({format_duration(low)})"
            yield Conflict((longer, shorter), text)


def _room(config: Config) -> Iterator[Conflict]:
    archive = config.raw_archive
    if archive.max_bytes < archive.rotate_bytes:
        largest, one = format_size(archive.max_bytes), format_size(archive.rotate_bytes)
        text = f"raw_archive.max_bytes ({largest}) has no room for one file of raw_archive.rotate_bytes ({one})"
        yield Conflict((("raw_archive", "max_bytes"), ("raw_archive", "rotate_bytes")), text)
    spool, segment = config.spool.max_bytes, config.flush.max_bytes
    if spool < SEGMENTS_IN_SPOOL * segment:
        text = f"spool.max_bytes ({format_size(spool)}) has no room for two segments of flush.max_bytes ({format_size(segment)})"
        yield Conflict((("spool", "max_bytes"), ("flush", "max_bytes")), text)


def _folders(config: Config) -> Iterator[Conflict]:
    """Readers of the data would find the spool's unfinished files, and the spool would take the data for strangers' files."""
    address = parse_address(config.storage.url)
    if not isinstance(address, Folder):
        return
    data, spool = (Path(os.path.realpath(path)) for path in (address.path, config.spool.dir))
    if data == spool:
        text = "spool.dir and storage.url are the same folder"
    elif spool.is_relative_to(data):
        text = "spool.dir is inside storage.url: readers of the data would find unfinished files"
    elif data.is_relative_to(spool):
        text = "storage.url is inside spool.dir: a spool holds nothing but its own files"
    else:
        return
    yield Conflict((("spool", "dir"), ("storage", "url")), text)


def _exposure(config: Config) -> Iterator[Conflict]:
    """The inside of the process is for whoever is on the machine, unless it is said that everybody may see it."""
    status = config.status
    if status.enabled and status.debug and not status.debug_exposed and not is_loopback(status.host):
        text = "status.debug would show the inside of the process to everyone who reaches status.host"
        yield Conflict((("status", "debug"), ("status", "host")), f"{text}; if that is meant, set status.debug_exposed")


def _same_symbols(config: Config) -> Iterator[Conflict]:
    """Two of our symbols must not mean one of the exchange's: their events could not be told apart."""
    for name, options in config.exchanges.items():
        native_of = _native_of(name, options)
        natives = Counter(map(native_of, options.symbols))
        paths: tuple[KeyPath, ...] = (("exchanges", name, "symbol_map"), ("exchanges", name, "symbols"), ("collector", "symbols"))
        for native in (native for native, count in natives.items() if count > 1):
            ours = [symbol for symbol in options.symbols if native_of(symbol) == native]
            yield Conflict(paths, f"{' and '.join(ours)} both mean {shown(native)}")


def _native_of(name: str, options: ExchangeOptions) -> Callable[[str], str]:
    """How an exchange calls a symbol."""
    rest = EXCHANGES[name].rest if name in EXCHANGES else None
    if rest is None:
        return lambda symbol: options.symbol_map.get(symbol, symbol)
    return lambda symbol: rest.native(symbol, options.symbol_map)
