"""The service: what is started in which order, and how it stops. The one page to read first.

    root
    ├── signals            first signal: stop taking in; second: be gone
    ├── status             the HTTP window
    ├── watch              looks at the state once a second, and tells
    ├── loop lag           how late the loop is
    └── sink
        ├── writer         ends when the last sender of the queue has closed, and everything is in the store
        ├── raw archive    only if it is wanted: frames beside the events, through a queue of their own
        └── intake         one nursery per exchange; ends when it is cancelled

It stops by closing channels. The first signal cancels the intake alone; with its last connection the last sender closes; the
writer drains the queue, seals, ships, and ends; then the root ends. No flag says "stopping", no sentinel is in the queue.
"""

from __future__ import annotations

import os
import signal
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final

import attrs
import trio

from quantlab_collector import __version__
from quantlab_collector.config import Config, wanted
from quantlab_collector.contracts.manifest import Downtime
from quantlab_collector.exchanges.protocol import ConnectionPlan, Exchange, ExchangeRest
from quantlab_collector.exchanges.registry import EXCHANGES
from quantlab_collector.intake.alignment import Alignment
from quantlab_collector.intake.connection import Connecting
from quantlab_collector.intake.instruments import unlisted, watch_listing
from quantlab_collector.intake.options import WireKind
from quantlab_collector.intake.outlet import Outlet, open_queue
from quantlab_collector.intake.quiet_trades import ask_about_quiet_trades
from quantlab_collector.intake.raw_tap import RawTap, open_raw_queue
from quantlab_collector.intake.rest import RestClient, RestFault
from quantlab_collector.intake.supervisor import run_exchange
from quantlab_collector.intake.transport import OpenWire, WireOptions
from quantlab_collector.intake.wire import open_wire as open_fast_wire
from quantlab_collector.intake.wire_trio_websocket import open_wire as open_trio_websocket_wire
from quantlab_collector.runtime.health import Health
from quantlab_collector.runtime.notices import CollectorStart, CollectorStop, Log, Notices, StatusExposed, Stopping, WasDown
from quantlab_collector.runtime.recent_trades import RecentTrades
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.status.app import create_app
from quantlab_collector.status.hosts import is_loopback
from quantlab_collector.status.keep import keep_serving
from quantlab_collector.status.loop_lag import run_loop_lag
from quantlab_collector.status.watch import run_watch
from quantlab_collector.storage.inventory import take_inventory
from quantlab_collector.storage.objects import Objects, open_objects
from quantlab_collector.storage.spool import Spool
from quantlab_collector.storage.waiting import Waiting
from quantlab_collector.writer.context import WriterOptions
from quantlab_collector.writer.raw_archive import run_raw_archive
from quantlab_collector.writer.run import run_writer

EXIT_CLEAN: Final = 0
EXIT_ERROR: Final = 1
"""Events were lost in the stop itself: the disk did not take what was still in memory."""
EXIT_PENDING: Final = 3
"""Stopped before everything was in the store; the rest is in the spool, and the next start ships it."""
GONE_WITHIN: Final = 1.9
"""Seconds that a second signal leaves."""

_WIRES: Final[dict[WireKind, OpenWire]] = {
    WireKind.FAST: open_fast_wire,
    WireKind.TRIO_WEBSOCKET: open_trio_websocket_wire,
}


@attrs.frozen(eq=False)
class Window:
    """How the HTTP window is closed: it is asked, and answers when the last open request is done."""

    close: trio.Event = attrs.field(factory=trio.Event)
    closed: trio.Event = attrs.field(factory=trio.Event)


def plans_of(config: Config) -> dict[str, tuple[ConnectionPlan, ...]]:
    """What will be connected, by exchange."""
    return {name: EXCHANGES[name].plan(wanted(config, EXCHANGES[name])) for name in config.enabled_exchanges}


async def serve(
    config: Config,
    log: Log,
    log_dropped: Callable[[], int] = int,
    *,
    task_status: trio.TaskStatus[str | None] = trio.TASK_STATUS_IGNORED,
) -> int:
    """Record until a signal comes; the exit code. What goes wrong beyond repair is raised.

    ``log_dropped`` tells how many lines of the log got lost.
    """
    notices = Notices(_new_state(config, log_dropped), log)
    state = notices.state
    spool = Spool(config.spool.dir, config.spool.min_free)
    last_alive_ns = spool.last_alive_ns()
    health = Health(state.started_ns, config.silence)
    intake, window, drained = trio.CancelScope(), Window(), False
    try:
        async with trio.open_nursery() as root:
            await root.start(_watch_signals, config, notices, intake, root.cancel_scope)
            url = await root.start(_serve_status, config, notices, health, window)
            root.start_soon(run_loop_lag, state.latencies, name="loop lag")
            await root.start(
                partial(run_watch, state, notices, health, pulse_every=config.collector.heartbeat, silence=config.silence)
            )
            _tell_start(config, notices, url)
            _tell_downtime(notices, last_alive_ns)
            send, receive = open_queue()
            async with trio.open_nursery() as sink:
                sink.start_soon(_write, config, notices, spool, receive, name="writer")
                with intake, Outlet(send, notices) as outlet, _archive_frames(config, notices, spool, sink) as tap:
                    async with trio.open_nursery() as exchanges:
                        for name in config.enabled_exchanges:
                            exchanges.start_soon(
                                _take_in, config, EXCHANGES[name], outlet.clone(), tap, notices, name=f"exchange {name}"
                            )
                        task_status.started(url)
            drained = True
            window.close.set()
            await window.closed.wait()
            root.cancel_scope.cancel(reason="drained")
        waiting = Waiting.in_spool(spool)
    finally:
        spool.close()
    blocked = state.writer.shipping_blocked is not None and state.writer.backlog_segments > 0
    exit_code = EXIT_ERROR if state.writer.lost_at_stop else EXIT_CLEAN if drained and not blocked else EXIT_PENDING
    _tell_stop(notices, "shipping is blocked" if blocked else "drained" if drained else "out of time", exit_code, waiting)
    return exit_code


def _new_state(config: Config, log_dropped: Callable[[], int] = int) -> ServiceState:
    return ServiceState(
        instance=config.collector.instance_id,
        version=__version__,
        started_ns=time.time_ns(),
        started=time.monotonic(),
        queue_capacity=config.queue.max_events,
        log_dropped=log_dropped,
        trades=RecentTrades() if config.status.enabled and config.status.recent_trades else None,
    )


# ------------------------------------------------------------------------------------------------------------- tasks


async def _watch_signals(
    config: Config,
    notices: Notices,
    intake: trio.CancelScope,
    root: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The receiver stays open for the whole drain, or a second signal would find the default handler and kill us."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            name = signal.Signals(number).name
            notices.tell(Stopping(name, notices.state.books.counters().pending))
            if intake.cancel_called:
                _be_gone(GONE_WITHIN)
                root.cancel(reason=f"second {name}")
            else:
                intake.cancel(reason=name)
                root.deadline = trio.current_time() + config.collector.stop_timeout
                _be_gone(config.collector.stop_timeout + GONE_WITHIN)


def _be_gone(seconds: float) -> None:
    """Whatever hangs (a disk, a thread), the process is gone in time. What was synced is safe; the rest would not have been."""
    timer = threading.Timer(seconds, os._exit, [EXIT_PENDING])
    timer.daemon = True
    timer.start()


async def _serve_status(
    config: Config,
    notices: Notices,
    health: Health,
    window: Window,
    *,
    task_status: trio.TaskStatus[str | None] = trio.TASK_STATUS_IGNORED,
) -> None:
    try:
        if not config.status.enabled:
            task_status.started(None)
            return
        state = notices.state
        app = create_app(
            lambda: state.snapshot(time.monotonic()),
            lambda: health.standing,
            config.status,
            trades=None if state.trades is None else state.trades.newest,
            spool=partial(take_inventory, config.spool.dir),
        )
        await keep_serving(app, config.status, window.close, notices, task_status=task_status)
    finally:
        window.closed.set()


async def _write(config: Config, notices: Notices, spool: Spool, receive: trio.MemoryReceiveChannel) -> None:  # type: ignore[type-arg]
    units = {f"{name}/{stream.value}": unit for name, exchange in EXCHANGES.items() for stream, unit in exchange.units.items()}
    await run_writer(
        receive,
        spool=spool,
        objects=_open_store(config),
        state=notices.state,
        notices=notices,
        options=WriterOptions(config.journal, config.flush, config.storage, config.spool),
        units=units,
    )


def _archive_frames(config: Config, notices: Notices, spool: Spool, sink: trio.Nursery) -> AbstractContextManager[RawTap | None]:
    """What the connections give their frames to, where frames are wanted. The archive ends when it is closed."""
    options = config.raw_archive
    if not options.enabled:
        return nullcontext()
    notices.state.raw_archive.enabled = True
    send, receive = open_raw_queue()
    archive = partial(
        run_raw_archive,
        receive,
        spool=spool,
        objects=_open_store(config),
        notices=notices,
        options=options,
        # What it may take ends long before the recording's own reserve begins.
        keep_free=2 * config.spool.min_free,
        # Nor may it be the reason for being out of time.
        drain_within=config.collector.stop_timeout / 2,
    )
    sink.start_soon(archive, name="raw archive")
    return RawTap(send, notices, options.queue_bytes)


def _open_store(config: Config) -> Objects:
    return open_objects(config.storage.url, config.storage.options, lanes=config.storage.upload_threads)


async def _take_in(config: Config, exchange: Exchange, outlet: Outlet, tap: RawTap | None, notices: Notices) -> None:
    """One exchange: its connections, and one client for what little is asked over REST."""
    options = config.exchanges[exchange.name]
    tls = ssl.create_default_context(cafile=options.ca_file or None)
    tools = Connecting(
        exchange=exchange,
        options=config.intake,
        wire_options=WireOptions(
            tls=tls, connect_timeout=config.intake.connect_timeout, max_message_bytes=exchange.limits.max_message_bytes
        ),
        open_wire=_WIRES[config.intake.wire],
        outlet=outlet,
        notices=notices,
        raw_tap=tap,
    )
    with outlet:
        plans = exchange.plan(wanted(config, exchange))
        if exchange.rest is None:
            await run_exchange(plans, tools, config.reconnect)
            return
        async with RestClient(options.rest_url, exchange.rest.limits, tls) as client:
            alignment = Alignment(exchange.rest, client, notices)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch_listing, exchange.name, plans, exchange.rest, client, notices)
                nursery.start_soon(ask_about_quiet_trades, plans, alignment, notices.state, config.silence.first_trade)
                nursery.start_soon(run_exchange, plans, attrs.evolve(tools, alignment=alignment), config.reconnect)


async def check_symbols(config: Config) -> list[str]:
    """What the exchanges say of the wanted symbols, one line for each that is missing; or why they could not be asked."""
    lines: list[str] = []

    async def check(exchange: Exchange, rest: ExchangeRest) -> None:
        options = config.exchanges[exchange.name]
        tls = ssl.create_default_context(cafile=options.ca_file or None)
        try:
            async with RestClient(options.rest_url, rest.limits, tls) as client:
                missing = await unlisted(rest, client, options.symbols, options.symbol_map)
        except RestFault as fault:
            lines.append(f"{exchange.name}: not asked for its symbols: {fault}")
        else:
            lines.extend(f"{exchange.name}: {symbol} is not listed there; the rest will be recorded" for symbol in missing)

    async with trio.open_nursery() as nursery:
        for name in config.enabled_exchanges:
            if (rest := EXCHANGES[name].rest) is not None:
                nursery.start_soon(check, EXCHANGES[name], rest)
    return sorted(lines)


# ----------------------------------------------------------------------------------------------------------- telling


def _tell_start(config: Config, notices: Notices, url: str | None) -> None:
    topics = {name: sum(len(plan.topics) for plan in plans) for name, plans in plans_of(config).items()}
    notices.tell(CollectorStart(__version__, config.collector.instance_id, config.storage.url, topics, url))
    if config.status.enabled and not is_loopback(config.status.host):
        notices.tell(StatusExposed(config.status.host))


def _tell_downtime(notices: Notices, last_alive_ns: int | None) -> None:
    started_ns = notices.state.started_ns
    if last_alive_ns is not None and last_alive_ns < started_ns:
        notices.tell(WasDown(Downtime(last_alive_ns, started_ns)))


def _tell_stop(notices: Notices, reason: str, exit_code: int, waiting: Waiting) -> None:
    counters = notices.state.books.counters()
    figures = {
        field.name: getattr(counters, field.name) for field in attrs.fields(CollectorStop) if hasattr(counters, field.name)
    }
    notices.tell(
        CollectorStop(
            reason=reason, exit_code=exit_code, waiting_segments=waiting.segments, waiting_bytes=waiting.bytes, **figures
        )
    )
