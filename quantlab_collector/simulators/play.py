"""Simulators to look at: start some, tell their addresses, run until somebody has seen enough."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from quantlab_collector.simulators.binance import SPOT, USDM, BinanceOptions, serve_binance
from quantlab_collector.simulators.bybit import BybitOptions, serve_bybit
from quantlab_collector.simulators.market import DEFAULT_SYMBOLS
from quantlab_collector.simulators.okx import OkxOptions, serve_okx
from quantlab_collector.simulators.replay import ReplayOptions, serve_replay
from quantlab_collector.simulators.script import play_script, read_script
from quantlab_collector.simulators.simulator import Simulator


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
    script: Path | None = None
    """The file of faults to play: see ``script``."""
    time_scale: float = 1.0
    """The exchanges' own long intervals pass so many times faster: with 1440 a day's cut comes after a minute."""


@attrs.frozen
class Playing:
    """One simulator that runs."""

    exchange: str
    ws_url: str
    rest_url: str
    playing: str = ""
    """What it plays, for people."""


Start = Callable[[PlayOptions, int, Path | None, trio.Nursery], Awaitable[Simulator[Any]]]


def _starter(serve: Callable[..., Awaitable[None]], make_options: Callable[..., Any]) -> Start:
    """All simulators are told the same, in options of their own."""

    async def start(options: PlayOptions, port: int, ledger: Path | None, nursery: trio.Nursery) -> Simulator[Any]:
        simulator: Simulator[Any] = await nursery.start(
            serve,
            make_options(
                symbols=options.symbols,
                rate=options.rate,
                seed=options.seed,
                host=options.host,
                port=port,
                rest_port=port + 1 if port else 0,
                ledger_file=ledger,
                time_scale=options.time_scale,
            ),
        )
        return simulator

    return start


SIMULATORS: Final[Mapping[str, Start]] = {
    "binance": _starter(serve_binance, partial(BinanceOptions, venue=USDM)),
    "binance-spot": _starter(serve_binance, partial(BinanceOptions, venue=SPOT)),
    "bybit": _starter(serve_bybit, partial(BybitOptions, market="linear")),
    "bybit-spot": _starter(serve_bybit, partial(BybitOptions, market="spot")),
    "okx": _starter(serve_okx, OkxOptions),
}
"""All exchanges that can be played."""


async def simulate(
    options: PlayOptions,
    report: Callable[[Playing], None],
    report_fault: Callable[[str, str], None] | None = None,
    *,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Play until cancelled.

    ``report`` is called with each simulator as soon as it can be connected to, ``report_fault`` with the exchange and the order
    each time a step of the script is due. The script's time starts when all simulators run.
    """
    unknown = sorted(set(options.exchanges) - SIMULATORS.keys())
    if unknown:
        raise ValueError(f"no simulator for {', '.join(unknown)}; there is {', '.join(SIMULATORS)}")
    steps = () if options.script is None else read_script(options.script)
    async with trio.open_nursery() as nursery:
        running: dict[str, Simulator[Any]] = {}
        for place, name in enumerate(options.exchanges):
            port = options.port + 2 * place if options.port else 0
            simulator = running[name] = await SIMULATORS[name](options, port, _ledger_of(options, name), nursery)
            report(Playing(name, simulator.ws_url, simulator.rest_url, _programme(options, len(steps))))
        for name, simulator in running.items():
            nursery.start_soon(play_script, steps, simulator.faults, name, report_fault)
        task_status.started()


def _programme(options: PlayOptions, steps: int) -> str:
    words = [", ".join(options.symbols), f"{options.rate:g} events/s", f"seed {options.seed}"]
    if options.time_scale != 1:
        words.append(f"time ×{options.time_scale:g}")
    if options.script is not None:
        words.append(f"{steps} steps of {options.script.name}")
    return "; ".join(words)


def _ledger_of(options: PlayOptions, exchange: str) -> Path | None:
    file = options.ledger
    if file is None or len(options.exchanges) == 1:
        return file
    return file.with_name(f"{file.stem}.{exchange}{file.suffix}")


async def play_recording(
    options: ReplayOptions,
    report: Callable[[Playing], None],
    script: Path | None = None,
    report_fault: Callable[[str, str], None] | None = None,
) -> None:
    """Play recorded frames until cancelled; the reports are those of ``simulate``. There is no REST, and no market to disturb."""
    steps = () if script is None else read_script(script)
    async with trio.open_nursery() as nursery:
        replay = await nursery.start(serve_replay, options)
        programme = f"{len(replay.frames)} frames of {options.file.name}; {replay.seconds:.1f} s at ×{options.speed:g}"
        report(Playing(options.exchange, replay.ws_url, "", programme))
        nursery.start_soon(play_script, steps, replay.faults, options.exchange, report_fault)
