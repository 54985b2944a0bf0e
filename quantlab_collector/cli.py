"""The commands: parse, build, hand over. The only place that prints."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import attrs
import click
import pyarrow as pa
import trio
from rich.console import Console
from rich.progress import Progress

from quantlab_collector import __version__
from quantlab_collector.config import Config, ConfigError, LogFormat, load, masked
from quantlab_collector.contracts.masking import mask_addresses, mask_text
from quantlab_collector.reports import plan_tables, raw_tables, summary_as_json, summary_tables
from quantlab_collector.runtime.log_pump import LogPump, provide_standard_streams
from quantlab_collector.runtime.logs import open_log, take_over_logging
from quantlab_collector.service import check_symbols, plans_of, serve
from quantlab_collector.simulators.child import playing_in_child
from quantlab_collector.simulators.play import SIMULATORS, Playing, PlayOptions, play_recording, simulate
from quantlab_collector.simulators.replay import ReplayOptions
from quantlab_collector.storage import raw_recording, recording
from quantlab_collector.storage.objects import (
    ADVICE,
    Folder,
    LocalObjects,
    Objects,
    StoreFault,
    open_objects,
    parse_address,
    probe,
)
from quantlab_collector.storage.spool import SpoolInUseError

EXIT_OK: Final = 0
EXIT_ERROR: Final = 1
EXIT_CONFIG: Final = 2
LAST_WORDS: Final = 1.0
"""Seconds for the log to be read to its end."""

provide_standard_streams()
_OUT = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
"""Into a file or a pipe a table gets the room it needs."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Record public crypto-futures market data, and account for every event."""


_config_option = click.option(
    "--config", "path", type=click.Path(path_type=Path), help="TOML file; else $QUANTLAB_CONFIG, else the defaults."
)
_symbols_option = click.option(
    "--symbols", callback=lambda _c, _p, text: _split(text), metavar="A,B,…", help="On every exchange."
)


# --------------------------------------------------------------------------------------------------------------- run


@main.command()
@_config_option
@_symbols_option
@click.option("--simulate", "simulated", is_flag=True, help="Record from simulators on this machine, into ./data-simulated.")
@click.option("--rate", default=200.0, show_default=True, help="With --simulate: events a second, of each exchange.")
def run(path: Path | None, symbols: tuple[str, ...] | None, simulated: bool, rate: float) -> None:
    """Record until a signal comes."""
    config = _load(path, symbols)
    try:
        if simulated:
            wanted = {symbol for name in config.enabled_exchanges for symbol in config.exchanges[name].symbols}
            with playing_in_child(PlayOptions(config.enabled_exchanges, tuple(sorted(wanted)), rate)) as playing:
                code = _record(_load(path, symbols, _simulated(playing)))
        else:
            code = _record(config)
    except SpoolInUseError as fault:
        _fail(EXIT_CONFIG, str(fault))
    except OSError as fault:
        _fail(EXIT_ERROR, str(fault))
    os._exit(code)  # as in _leave; but the log was flushed line by line, and what it could not write would hold us up here


def _simulated(playing: Iterable[Playing]) -> dict[str, str]:
    """Settings that lead to the simulators, and never into the real store."""
    settings = {"QUANTLAB_STORAGE__URL": "./data-simulated", "QUANTLAB_SPOOL__DIR": "./spool-simulated"}
    for one in playing:
        settings[f"QUANTLAB_EXCHANGES__{_variable(one.exchange)}__WS_URL"] = one.ws_url
        settings[f"QUANTLAB_EXCHANGES__{_variable(one.exchange)}__REST_URL"] = one.rest_url
    return settings


def _variable(exchange: str) -> str:
    return exchange.upper().replace("-", "_")


def _record(config: Config) -> int:
    pump, colors = LogPump(sys.stdout), sys.stdout.isatty()
    log = open_log(
        pump,
        console=config.log.format is LogFormat.CONSOLE or (config.log.format is LogFormat.AUTO and colors),
        colors=colors,
        level=logging.getLevelNamesMapping()[config.log.level.value.upper()],
        redact=mask_addresses,
    )
    take_over_logging(log)
    # What is loaded by now stays for good. The garbage collector would look through all of it again and again, and stop the loop
    # for some 50 ms each time.
    gc.freeze()
    # Arrow's own allocators keep for each thread what it once had, 100 MiB in all; the system's gives it back, and is no slower.
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        return trio.run(serve, config, log, lambda: pump.dropped)
    except BaseExceptionGroup as group:
        for fault in _leaves(group):
            log.critical("collector_failed", fault=f"{type(fault).__name__}: {fault}", exc_info=fault)
        return EXIT_ERROR
    finally:
        pump.close(LAST_WORDS)


def _leave(code: int) -> NoReturn:
    """End here and now.

    Threads of ours or of the libraries (Arrow's, the store's) may still be at work, and an interpreter that is taken down under
    them aborts now and then: the exit code would be a lie.
    """
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


# ------------------------------------------------------------------------------------------------------------- check


@main.command()
@_config_option
@_symbols_option
def check(path: Path | None, symbols: tuple[str, ...] | None) -> None:
    """Validate the config, show the plan, probe the store."""
    config = _load(path, symbols)
    _OUT.print_json(data=masked(config))
    for table in plan_tables(plans_of(config)):
        _OUT.print(table)
    for line in trio.run(check_symbols, config):
        click.echo(line, err=True)
    try:
        remarks = probe(open_objects(config.storage.url, config.storage.options), config.collector.instance_id)
    except StoreFault as fault:
        _fail(EXIT_ERROR, f"the store does not take data ({fault.kind.value}): {fault}\n{ADVICE[fault.kind]}")
    except OSError as fault:
        _fail(EXIT_ERROR, f"the store does not take data: {fault}")
    for line in remarks:
        click.echo(line, err=True)
    _OUT.print(f"config and plan are sound; the store at {mask_text(config.storage.url)} takes data")
    _leave(EXIT_OK)


# ---------------------------------------------------------------------------------------------------------- simulate


@main.command("simulate")
@click.option("--exchange", "exchanges", multiple=True, type=click.Choice(sorted(SIMULATORS)), help="Repeatable; else all.")
@click.option("--symbols", callback=lambda _c, _p, text: _split(text), metavar="A,B,…")
@click.option("--rate", default=200.0, show_default=True, help="Events a second, of each exchange.")
@click.option("--seed", default=1, show_default=True, help="The same seed plays the same market.")
@click.option("--time-scale", default=1.0, show_default=True, help="The exchange's own long intervals, so many times faster.")
@click.option("--script", type=click.Path(exists=True, path_type=Path), help="A file of faults: «at 5s close 1001».")
@click.option(
    "--corpus",
    type=click.Path(exists=True, path_type=Path),
    help="Play this recording, or archive of raw frames; --exchange says whose.",
)
@click.option("--speed", default=1.0, show_default=True, help="With --corpus: so many times as fast.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=0, help="Of the first WebSocket; the addresses after it get the next ones. 0 takes what is free.")
@click.option("--ledger", type=click.Path(path_type=Path), help="Write down every event that was sent.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a simulator.")
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def simulate_command(
    *,
    exchanges: tuple[str, ...],
    symbols: tuple[str, ...] | None,
    corpus: Path | None,
    speed: float,
    as_json: bool,
    until_stdin_closes: bool,
    **options: Any,
) -> None:
    """Run the simulators alone; print their addresses, and what they play."""

    def report(playing: Playing) -> None:
        if as_json:
            click.echo(json.dumps(attrs.asdict(playing)))
        else:
            rest = f"  REST {playing.rest_url}" if playing.rest_url else ""
            click.echo(f"{playing.exchange}  WebSocket {playing.ws_url}{rest}  {playing.playing}")

    def report_fault(exchange: str, order: str) -> None:
        click.echo(f"{exchange}  {order}", err=True)

    play: Callable[[], Awaitable[None]]
    if corpus is None:
        given = PlayOptions(exchanges=exchanges or tuple(SIMULATORS), **options)
        given = given if symbols is None else attrs.evolve(given, symbols=symbols)
        play = partial(simulate, given, report, report_fault)
    elif len(exchanges) != 1:
        _fail(EXIT_CONFIG, "--corpus needs one --exchange: a recording does not say whose it is")
    else:
        replay = ReplayOptions(corpus, exchanges[0], speed, host=options["host"], port=options["port"])
        play = partial(play_recording, replay, report, options["script"], report_fault)
    try:
        trio.run(_play_until_stopped, play, until_stdin_closes)
    except* (OSError, ValueError) as faults:
        _fail(EXIT_ERROR, "; ".join(str(fault) for fault in _leaves(faults)))


async def _play_until_stopped(play: Callable[[], Awaitable[None]], until_stdin_closes: bool) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            if until_stdin_closes:
                stdin = trio.lowlevel.FdStream(os.dup(sys.stdin.fileno()))
                nursery.start_soon(_cancel_at_end, stdin, nursery.cancel_scope)
            async for _ in signals:
                nursery.cancel_scope.cancel(reason="signal")


async def _cancel_at_end(stream: trio.abc.ReceiveStream, scope: trio.CancelScope) -> None:
    while await stream.receive_some():
        pass
    scope.cancel(reason="the parent is gone")


# ----------------------------------------------------------------------------------------------------------- inspect


@main.command()
@click.argument("url")
@_config_option
@click.option("--verify", is_flag=True, help="Read every page of every part, and check it against the manifests.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def inspect(url: str, path: Path | None, verify: bool, as_json: bool) -> None:
    """Tell what a recording holds; exit code 1 when something is wrong with it.

    How to reach a bucket stands in the config, or in the environment.
    """
    try:
        objects = _recording_at(url, path)
        with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
            reading = progress.add_task("reading manifests", total=None)
            committed, problems = recording.manifests(
                objects, lambda done, of: progress.update(reading, completed=done, total=of)
            )
            raw, raw_problems = raw_recording.find_raw(objects)
            problems += raw_problems
            if verify:
                parts = sum(len(entry.manifest.parts) for entry in committed) + len(raw.manifests)
                task = progress.add_task("verifying", total=parts)
                problems += recording.verify(objects, committed, lambda _: progress.advance(task))
                problems += raw_recording.verify_raw(objects, raw, lambda _: progress.advance(task))
    except StoreFault as fault:
        _fail(EXIT_ERROR, f"{fault}\n{ADVICE[fault.kind]}")
    if not committed and not raw.manifests and not problems and not isinstance(objects, LocalObjects):
        _fail(EXIT_ERROR, f"there is no recording at {url}")
    summary, raw_holdings = recording.summarise(committed), raw_recording.summarise_raw(raw)
    if as_json:
        click.echo(json.dumps(summary_as_json(summary, problems, verified=verify, raw=raw_holdings)))
    else:
        for table in (*summary_tables(summary), *raw_tables(raw_holdings)):
            _OUT.print(table)
        for problem in problems:
            click.echo(f"wrong: {problem}", err=True)
        if verify and not problems:
            _OUT.print("verified: every part is what its manifest says, and no manifest is missing")
    _leave(EXIT_ERROR if problems else EXIT_OK)


def _recording_at(url: str, path: Path | None) -> Objects:
    """The store at a URL. A folder needs no config, so a wrong one is no hindrance."""
    try:
        address = parse_address(url)
    except ValueError as error:
        _fail(EXIT_CONFIG, f"the address of a recording {error}")
    if isinstance(address, Folder):
        if not address.path.is_dir():
            _fail(EXIT_ERROR, f"there is no recording at {url}")
        return open_objects(url)
    return open_objects(url, _load(path, None, {"QUANTLAB_STORAGE__URL": url}).storage.options)


# ----------------------------------------------------------------------------------------------------------- helpers


def _load(path: Path | None, symbols: tuple[str, ...] | None, more: Mapping[str, str] | None = None) -> Config:
    try:
        return load(path, {**os.environ, **(more or {})}, symbols)
    except ConfigError as error:
        for line in error.errors:
            click.echo(line, err=True)
        sys.exit(EXIT_CONFIG)


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(","))


def _fail(code: int, text: str) -> NoReturn:
    click.echo(f"quantlab-collector: {mask_addresses(text)}", err=True)
    _leave(code)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for fault in group.exceptions:
        if isinstance(fault, BaseExceptionGroup):
            yield from _leaves(fault)
        else:
            yield fault
