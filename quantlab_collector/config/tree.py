"""What can be set. Each part of the service owns its slice of the tree; here the slices are put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias, get_type_hints

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.masking import masked_repr
from quantlab_collector.contracts.units import Seconds
from quantlab_collector.intake.options import IntakeOptions, QueueOptions, ReconnectOptions
from quantlab_collector.runtime.silence_options import SilenceOptions
from quantlab_collector.status.options import StatusOptions
from quantlab_collector.writer.options import FlushOptions, JournalOptions, SpoolOptions, StorageOptions
from quantlab_collector.writer.raw_options import RawArchiveOptions

SYMBOLS: Final = (
    "BTCUSDT",
    "ETHUSDT",
    "BNBUSDT",
    "SOLUSDT",
    "XRPUSDT",
    "LINKUSDT",
    "ADAUSDT",
    "AVAXUSDT",
    "LTCUSDT",
    "POLUSDT",
)


class LogLevel(StrEnum):
    """The least that is worth a line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a line looks."""

    AUTO = "auto"
    """For people on a terminal, JSON everywhere else."""
    JSON = "json"
    CONSOLE = "console"


@attrs.frozen
class CollectorOptions:
    """Table ``[collector]``."""

    instance_id: str = "a"
    """Stands in the name of every part: two collectors that write to one place need two of them."""
    symbols: tuple[str, ...] = SYMBOLS
    stop_timeout: Seconds = Seconds(25.0)
    """How long a stop may take to ship what is there. What is left stays in the spool."""
    heartbeat: Seconds = Seconds(30.0)
    """How often the log shows a sign of life."""


@attrs.frozen
class ExchangeOptions:
    """Table ``[exchanges.NAME]``. Loading fills in what is empty: the collector's symbols, and what the exchange says."""

    enabled: bool = True
    symbols: tuple[str, ...] = ()
    streams: tuple[StreamType, ...] = ()
    # People put passwords into addresses, and a repr ends up in a log.
    ws_url: str = attrs.field(default="", repr=masked_repr)
    rest_url: str = attrs.field(default="", repr=masked_repr)
    symbol_map: Mapping[str, str] = attrs.field(factory=dict)
    """From the collector's name of a symbol to the exchange's own, where that is not the usual one."""
    ca_file: str = ""
    """Certificates to trust, PEM; empty means those of the system."""


@attrs.frozen
class LogOptions:
    """Table ``[log]``."""

    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.AUTO


@attrs.frozen
class Config:
    """Everything that can be set. ``exchanges`` holds every exchange that this version knows, also the disabled ones."""

    collector: CollectorOptions = CollectorOptions()
    exchanges: Mapping[str, ExchangeOptions] = attrs.field(factory=dict)
    intake: IntakeOptions = IntakeOptions()
    queue: QueueOptions = QueueOptions()
    journal: JournalOptions = JournalOptions()
    flush: FlushOptions = FlushOptions()
    storage: StorageOptions = StorageOptions()
    spool: SpoolOptions = SpoolOptions()
    raw_archive: RawArchiveOptions = RawArchiveOptions()
    reconnect: ReconnectOptions = ReconnectOptions()
    silence: SilenceOptions = SilenceOptions()
    status: StatusOptions = StatusOptions()
    log: LogOptions = LogOptions()

    @property
    def enabled_exchanges(self) -> tuple[str, ...]:
        """The names of the exchanges to record."""
        return tuple(name for name, options in self.exchanges.items() if options.enabled)


KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys, and places in a list."""

TABLES: Final[Mapping[str, type[Any]]] = {name: kind for name, kind in get_type_hints(Config).items() if attrs.has(kind)}
"""The tables that are one slice each: all but ``exchanges``, which has a table for each exchange."""


def settings(exchanges: Iterable[str]) -> dict[KeyPath, Any]:
    """Every setting there is: where it stands, and its type."""
    slices: dict[KeyPath, type[Any]] = {(name,): kind for name, kind in TABLES.items()}
    slices |= {("exchanges", name): ExchangeOptions for name in exchanges}
    return {place: kind for path, cls in slices.items() for place, kind in _settings_of(path, cls)}


def _settings_of(path: KeyPath, cls: type[Any]) -> Iterator[tuple[KeyPath, Any]]:
    for key, kind in get_type_hints(cls).items():
        if attrs.has(kind):
            yield from _settings_of((*path, key), kind)
        else:
            yield (*path, key), kind


def is_set(values: Any, path: KeyPath) -> bool:
    """Whether plain data in the form of the file holds something at a path."""
    for step in path:
        if not isinstance(values, dict) or step not in values:
            return False
        values = values[step]
    return True
