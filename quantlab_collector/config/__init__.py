"""The configuration: TOML, the environment and the command line as one frozen tree.

``load`` is the way in. It gives a ``Config`` in which every default is filled in, or a ``ConfigError`` with everything that is
wrong, each error naming the place where the user wrote it. Nothing here prints or exits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from quantlab_collector.config.effective import masked
from quantlab_collector.config.faults import ConfigError
from quantlab_collector.config.sources import gather
from quantlab_collector.config.structure import build
from quantlab_collector.config.tree import SYMBOLS, CollectorOptions, Config, ExchangeOptions, LogFormat, LogLevel, LogOptions
from quantlab_collector.contracts.masking import mask_text
from quantlab_collector.exchanges.protocol import Endpoints, Exchange, Wanted
from quantlab_collector.exchanges.registry import EXCHANGES

__all__ = [
    "SYMBOLS",
    "CollectorOptions",
    "Config",
    "ConfigError",
    "ExchangeOptions",
    "LogFormat",
    "LogLevel",
    "LogOptions",
    "load",
    "mask_text",
    "masked",
    "wanted",
]


def load(
    path: Path | None,
    environ: Mapping[str, str],
    symbols: Sequence[str] | None = None,
    *,
    exchanges: Mapping[str, Exchange] = EXCHANGES,
) -> Config:
    """Read the config: the command line's ``symbols``, above the environment, above the file, above the defaults.

    The file is ``path``, else the one that ``QUANTLAB_CONFIG`` names, else there is none. Raises ``ConfigError``.
    """
    given = gather(path, environ, symbols, exchanges)
    config, faults = build(given.values, exchanges, whole=given.whole)
    errors = (*given.errors, *(f"{given.place(fault.path)}: {fault.text}" for fault in faults))
    if errors:
        raise ConfigError(errors)
    return config


def wanted(config: Config, exchange: Exchange) -> Wanted:
    """What is wanted of one exchange, in the form in which an exchange makes its plan."""
    options = config.exchanges[exchange.name]
    return Wanted(
        symbols=options.symbols,
        streams=options.streams,
        endpoints=Endpoints(ws_url=options.ws_url, rest_url=options.rest_url),
        symbol_map=options.symbol_map,
    )
