"""Which values are possible, each by itself. Whether they go together stands in ``conflicts.py``."""

from __future__ import annotations

import ipaddress
import os.path
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from quantlab_collector.config.faults import shown
from quantlab_collector.config.units import format_duration, format_size
from quantlab_collector.contracts.layout import is_instance_id
from quantlab_collector.contracts.units import Bytes, Seconds
from quantlab_collector.storage.objects import Folder, Scheme, parse_address

Check: TypeAlias = Callable[[Any], str | None]
"""Says what is wrong with a value of the right type, or nothing."""

LONGEST_TAIL: Final = Seconds(1.0)
"""The promise: a crash loses no more than this."""

SHORTEST_TAKEOVER: Final = Seconds(5.0)
"""Stores tell times in whole seconds, and a sign of life comes four times in this."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_SYMBOL = re.compile(r"[^\W_][\w.-]{0,63}")
_NATIVE_SYMBOL = re.compile(r"[^\W_][\w.:/-]{0,63}")
_STORE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,2047}")
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def _between(low: int, high: int) -> Check:
    return lambda number: None if low <= number <= high else f"must be between {low} and {high}, not {shown(number)}"


def _size_between(low: int, high: int) -> Check:
    text = f"must be between {format_size(Bytes(low))} and {format_size(Bytes(high))}"
    return lambda size: None if low <= size <= high else f"{text}, not {format_size(size)}"


def _journal_interval(interval: Seconds) -> str | None:
    if interval <= LONGEST_TAIL:
        return None
    return f"must be at most {format_duration(LONGEST_TAIL)}, not {format_duration(interval)}: a crash loses what came since"


def _takeover_after(wait: Seconds) -> str | None:
    if wait >= SHORTEST_TAKEOVER:
        return None
    return f"must be at least {format_duration(SHORTEST_TAKEOVER)}, not {format_duration(wait)}"


def _selection(items: tuple[str, ...]) -> str | None:
    if not items:
        return "must name at least one"
    twice = next((item for number, item in enumerate(items) if item in items[:number]), None)
    return None if twice is None else f"{shown(str(twice))} is there twice"


def _instance_id(text: str) -> str | None:
    if is_instance_id(text):
        return None
    return f"must be up to 32 lower-case letters, digits and underscores, beginning with no underscore, not {shown(text)}"


def _symbol(text: str) -> str | None:
    if not _SYMBOL.fullmatch(text):
        return f"{shown(text)} is not a symbol such as BTCUSDT"
    return None if text == text.upper() else f"{shown(text)} must be written {text.upper()}"


def _renamed_symbol(pair: tuple[str, str]) -> str | None:
    symbol, native = pair
    if text := _symbol(symbol):
        return text
    return None if _NATIVE_SYMBOL.fullmatch(native) else f"{shown(native)} cannot be the name of a symbol"


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True


def _host(text: str) -> str | None:
    return None if _is_host(text) else f"must be a name or an address, without a port, not {shown(text)}"


def _endpoint(*schemes: str) -> Check:
    """The address of a server. The texts never show it: people put passwords there."""
    starts = tuple(f"{scheme}://" for scheme in schemes)

    def check(text: str) -> str | None:
        if not text.startswith(starts):
            return f"must begin with {' or '.join(starts)}"
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            return "is not an address: its host or port cannot be read"
        if not _is_host(parts.hostname or "") or port == 0:
            return "is not an address: its host or port cannot be read"
        if len(text) > len(parts.scheme) + len("://") + len(parts.netloc):
            return "must end after host and port: the path belongs to the exchange"
        return None

    return check


def _ca_file(text: str) -> str | None:
    if not text:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=text)
    except ssl.SSLError:
        return f"{shown(text)} holds no certificates in PEM form"
    except OSError as error:
        return f"{shown(text)} cannot be read: {error.strerror}"
    return None


def _folder(text: str) -> str | None:
    if not text.strip():
        return "must name a folder"
    if _SCHEME.match(text):
        return "must be a folder, not a URL"
    if text.startswith("~"):
        return "must be a whole path: ~ is not expanded here"
    # Not pathlib's: it raises where a name is longer than any file's.
    return f"{shown(text)} is a file, not a folder" if os.path.isfile(text) else None  # noqa: PTH113


def _storage_url(text: str) -> str | None:
    try:
        address = parse_address(text)
    except ValueError as error:
        return str(error)
    if isinstance(address, Folder):
        return _folder(str(address.path))
    return "memory:// forgets: it is for tests" if address.scheme is Scheme.MEMORY else None


def _store_endpoint(text: str) -> str | None:
    """Of a store: some have a path in it. The texts never show it: people put passwords there."""
    if not text:
        return None
    if not text.startswith(("https://", "http://")):
        return "must begin with https:// or http://"
    if any(character in text for character in "@?#"):
        return "must be an address without user, password and query"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "is not an address: its host or port cannot be read"
    return None if _is_host(parts.hostname or "") and port != 0 else "is not an address: its host or port cannot be read"


def _name(what: str) -> Check:
    """A name for the store to know. The texts never show it: somebody may have put a secret there."""
    return lambda text: None if not text or _STORE_NAME.fullmatch(text) else f"is not the name of {what}"


def _readable(text: str) -> str | None:
    if not text:
        return None
    try:
        with open(text, "rb"):  # noqa: PTH123 (pathlib raises where a name is longer than any file's)
            return None
    except OSError as error:
        return f"cannot be read: {error.strerror}"


_WEBSOCKET, _HTTP = _endpoint("wss", "ws"), _endpoint("https", "http")

RULES: Final[Mapping[str, Check]] = {
    "collector.instance_id": _instance_id,
    "collector.symbols": _selection,
    "collector.symbols[]": _symbol,
    "exchanges.symbols": _selection,
    "exchanges.symbols[]": _symbol,
    "exchanges.streams": _selection,
    "exchanges.ws_url": _WEBSOCKET,
    "exchanges.rest_url": _HTTP,
    "exchanges.symbol_map[]": _renamed_symbol,
    "exchanges.ca_file": _ca_file,
    "queue.max_events": _between(1, 100_000_000),
    "journal.interval": _journal_interval,
    "journal.batch_rows": _between(1, 1_000_000),
    "flush.part_rows": _between(0, 1_000_000_000),
    "storage.url": _storage_url,
    "storage.upload_threads": _between(1, 64),
    "storage.takeover_after": _takeover_after,
    "storage.options.endpoint": _store_endpoint,
    "storage.options.region": _name("a region"),
    "storage.options.ca_file": _ca_file,
    "storage.options.credentials_file": _readable,
    "storage.options.account": _name("an account"),
    "storage.options.kms_key_id": _name("a key"),
    "spool.dir": _folder,
    "raw_archive.rotate_bytes": _size_between(10_000, 1024**3),
    "raw_archive.queue_bytes": _size_between(1024**2, 64 * 1024**3),
    "reconnect.max_attempts": _between(1, 1_000_000),
    "silence.factor": _between(2, 1_000),
    "silence.max_silences": _between(0, 1_000_000),
    "silence.max_gaps": _between(0, 1_000_000),
    "status.host": _host,
    "status.port": _between(0, 65_535),
    "status.allowed_hosts[]": _host,
}
"""By table and key; ``[]`` is about each item of a list or a mapping. Durations and sizes are above zero by their type."""


def impossible(rule: str, value: Any) -> str | None:
    """What is impossible about a value of the right type."""
    check = RULES.get(rule)
    return check(value) if check else None
