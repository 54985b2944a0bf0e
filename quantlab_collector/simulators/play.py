"""Simulators to look at: start some, tell their addresses, run until somebody has seen enough."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from quantlab_collector.simulators.binance import DEFAULT_SYMBOLS, BinanceOptions, serve_binance


@attrs.frozen
class PlayOptions:
    """What the command line says, for all simulators alike."""

    exchanges: tuple[str, ...] = ("binance",)
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    rate: float = 200.0
    """Events a second, of each exchange."""
    seed: int = 1
    host: str = "127.0.0.1"
    port: int = 0
    """Of the first WebSocket; every address after it gets the next one. 0 takes what is free."""
    ledger: Path | None = None
    """The file of what was sent; with several exchanges each has its own, with the exchange's name before the suffix."""


@attrs.frozen
class Playing:
    """One simulator that runs."""

    exchange: str
    ws_url: str
    rest_url: str


Start = Callable[[PlayOptions, int, Path | None, trio.Nursery], Awaitable[Playing]]


async def _start_binance(options: PlayOptions, port: int, ledger: Path | None, nursery: trio.Nursery) -> Playing:
    simulator = await nursery.start(
        serve_binance,
        BinanceOptions(
            symbols=options.symbols,
            rate=options.rate,
            seed=options.seed,
            host=options.host,
            port=port,
            rest_port=port + 1 if port else 0,
            ledger_file=ledger,
        ),
    )
    return Playing("binance", simulator.ws_url, simulator.rest_url)


SIMULATORS: Final[Mapping[str, Start]] = {"binance": _start_binance}
"""All exchanges that can be played."""


async def simulate(
    options: PlayOptions,
    report: Callable[[Playing], None],
    *,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Play until cancelled; ``report`` is called with each simulator as soon as it can be connected to."""
    unknown = sorted(set(options.exchanges) - SIMULATORS.keys())
    if unknown:
        raise ValueError(f"no simulator for {', '.join(unknown)}; there is {', '.join(SIMULATORS)}")
    async with trio.open_nursery() as nursery:
        for place, name in enumerate(options.exchanges):
            port = options.port + 2 * place if options.port else 0
            report(await SIMULATORS[name](options, port, _ledger_of(options, name), nursery))
        task_status.started()


def _ledger_of(options: PlayOptions, exchange: str) -> Path | None:
    file = options.ledger
    if file is None or len(options.exchanges) == 1:
        return file
    return file.with_name(f"{file.stem}.{exchange}{file.suffix}")
