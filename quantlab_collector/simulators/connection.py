"""One WebSocket to a simulated exchange, as far as all are alike: it sends what happens, and it ends.

An event counts as sent when the kernel has taken the whole frame: only then it enters the ledger. After the peer's close frame
the library refuses further messages, so nothing enters that was not sent before our close reply.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

import trio
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection

from quantlab_collector.simulators.feed import Listener, MarketEvent, Series
from quantlab_collector.simulators.ledger import Entry
from quantlab_collector.simulators.simulator import ConnectionInfo, Simulator

_CLOSE_TIMEOUT: Final = 2.0

SimulatorT = TypeVar("SimulatorT", bound=Simulator[Any])


class Connection(ABC, Generic[SimulatorT]):
    """An accepted WebSocket: listens to requests, sends what happens, and keeps the exchange's rules."""

    def __init__(self, simulator: SimulatorT, websocket: WebSocketConnection, place: Listener, info: ConnectionInfo) -> None:
        self._simulator = simulator
        self._websocket = websocket
        self._place = place
        self._info = info
        self._tasks = trio.CancelScope()
        self._hanging_up: CloseReason | None = None

    @abstractmethod
    def _duties(self) -> Iterable[Callable[[], Awaitable[None]]]:
        """What runs beside listening and sending: the exchange's clocks."""

    @abstractmethod
    async def _listen(self) -> None:
        """Answer requests until the connection is closed."""

    @abstractmethod
    async def _deliver(self, events: Sequence[MarketEvent]) -> None:
        """Send what is subscribed of the next events."""

    async def serve(self) -> None:
        """Run until either side closes."""
        try:
            with self._tasks:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send_events)
                    for duty in self._duties():
                        nursery.start_soon(duty)
                    await self._listen()
                    if self._hanging_up is None:
                        nursery.cancel_scope.cancel("the peer has closed")
        finally:
            reason = self._hanging_up or self._simulator.faults.close_reason(self._info.number) or self._websocket.closed
            if reason:
                self._info.close_code, self._info.close_reason = int(reason.code), reason.reason or ""

    async def _send_events(self) -> None:
        try:
            while True:
                await self._deliver(await self._place.receive())
                self._info.missed = self._place.missed
        except ConnectionClosed:
            self._simulator.feed.forget(self._place)
            return  # and not further: the reader may be in the middle of its close reply

    def _enter(self, series: Series, number: int, exchange_ms: int, accepted_ns: int) -> None:
        """Into the ledger. No checkpoint stands between the kernel's yes and this: what it took is always entered."""
        self._simulator.ledger.record(Entry(self._info.number, series.kind, series.symbol, number, exchange_ms, accepted_ns))
        self._info.sent += 1

    async def _hang_up(self, code: int, reason: str) -> None:
        """Close, behind the frame that is being sent; a peer that takes nothing any more is cut off."""
        if self._hanging_up is not None:
            return
        self._hanging_up = CloseReason(code, reason)
        with trio.move_on_after(_CLOSE_TIMEOUT):
            await self._websocket.aclose(code, reason)
        self._tasks.cancel("hung up")
