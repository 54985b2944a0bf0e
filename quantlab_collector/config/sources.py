"""Where settings come from: the file, the environment above it, and the command line above both.

All of them end up in one dict in the form of the file. Next to it stands where a value came from if not from the file, so that
an error names the place where the user wrote it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_origin

import attrs

from quantlab_collector.config.faults import steps, unknown, written
from quantlab_collector.config.older import ENDPOINT_PATH, URL_PATH, older_settings
from quantlab_collector.config.secrets import misplaced_secret
from quantlab_collector.config.tree import KeyPath, is_set, settings
from quantlab_collector.contracts.units import Bytes

PREFIX: Final = "QUANTLAB_"
STORAGE: Final = f"{PREFIX}STORAGE__"
CONFIG_VARIABLE: Final = "QUANTLAB_CONFIG"
SYMBOLS_OPTION: Final = "--symbols"

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,30}")


@attrs.frozen
class Given:
    """What the user set."""

    values: dict[str, Any]
    file: str | None
    """The name of the file, as the user wrote it."""
    places: Mapping[KeyPath, str]
    """Where a value stands that is not from the file."""
    errors: tuple[str, ...]
    """What is wrong with the sources themselves."""
    whole: bool
    """Whether the file could be read, so that ``values`` is all there is."""

    def place(self, path: KeyPath) -> str:
        """Where a value stands, as the user wrote it."""
        for length in range(len(path), 0, -1):
            if name := self.places.get(path[:length]):
                return name + steps(path[length:])
        return written(path) if self.file is None else f"{self.file}: {written(path)}"


def gather(path: Path | None, environ: Mapping[str, str], symbols: Sequence[str] | None, exchanges: Iterable[str]) -> Given:
    """Collect everything that the user set."""
    if path is None and environ.get(CONFIG_VARIABLE):
        path = Path(environ[CONFIG_VARIABLE])
    values, fault = ({}, None) if path is None else _read(path)
    errors = [] if fault is None else [f"{path}: {fault}"]
    places: dict[KeyPath, str] = {}

    variables = {variable(where): (where, kind) for where, kind in settings(exchanges).items()}
    for name in sorted(environ):
        if not (name.startswith(PREFIX) and "__" in name):
            continue
        if name in variables:
            where, kind = variables[name]
            _put(values, where, _from_text(environ[name], kind))
            places[where] = name
        else:
            # All of them begin alike, so to be meant a name must be more like it than usual.
            secret = name.startswith(STORAGE) and misplaced_secret(name.removeprefix(STORAGE))
            errors.append(f"{name}: {secret or unknown('setting', name, variables, alike=0.75)}")

    older = older_settings(environ, has_url=is_set(values, URL_PATH), has_endpoint=is_set(values, ENDPOINT_PATH))
    errors += older.errors
    for where, text in older.settings.items():
        _put(values, where, text)
        places[where] = older.places[where]

    if symbols is not None:
        # Who names symbols on the command line wants these and no others, on every exchange.
        for table in _tables(values.get("exchanges")):
            table.pop("symbols", None)
        _put(values, ("collector", "symbols"), list(symbols))
        places["collector", "symbols"] = SYMBOLS_OPTION

    return Given(values, None if path is None else str(path), places, tuple(errors), whole=fault is None)


def variable(path: KeyPath) -> str:
    """The name of the environment variable that sets what stands at a path."""
    table, *rest = (str(step).upper().replace("-", "_") for step in path)
    return f"{PREFIX}{'__'.join((table, *rest))}"


def _read(path: Path) -> tuple[dict[str, Any], str | None]:
    """What a file says, or why it says nothing."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig")), None
    except FileNotFoundError:
        return {}, "there is no such file"
    except OSError as error:
        return {}, f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        return {}, f"is not UTF-8: byte {error.start} cannot be read"
    except tomllib.TOMLDecodeError as error:
        return {}, f"is not TOML: {error}"
    except (ValueError, RecursionError):
        # A name with a null character, a number of thousands of digits, a thousand brackets: nothing a person would write.
        return {}, "cannot be read: a name or a number is impossible, or the nesting too deep"


def _put(values: dict[str, Any], path: KeyPath, value: object) -> None:
    *tables, key = path
    table: Any = values
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            return  # That is an error of the file, and will be told as such.
    table[key] = value


def _tables(value: object) -> list[dict[str, Any]]:
    return [item for item in value.values() if isinstance(item, dict)] if isinstance(value, dict) else []


def _from_text(text: str, kind: Any) -> object:
    """What a variable says, in the form of the file. What does not fit stays text, and will be found wrong as such."""
    if kind is bool:
        return {"true": True, "false": False}.get(text, text)
    if kind in (int, Bytes) and _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    items = [item.strip() for item in text.split(",")] if text.strip() else []
    if get_origin(kind) is tuple:
        return items
    if get_origin(kind) is Mapping:
        pairs = [item.split("=", 1) for item in items]
        return {key.strip(): value.strip() for key, value in pairs} if all(len(pair) == 2 for pair in pairs) else text
    return text
