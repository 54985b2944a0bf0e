"""The faults of an exchange, at the command of a test: ``simulator.faults.cut()``, ``.ban(30)``, ``.mute(...)``.

Faults of connections act on the raw stream and know no exchange; faults of events act on the market's feed. Every order is kept
in ``injected`` together with the times at which it struck.

What the ledger says under each verb follows from one rule: an entry is an event that the kernel took whole while the connection
was up.

=================== ============================================================================================
close               nothing after the close frame is sent, so nothing is entered
cut, reset, freeze  an event whose frame was being sent is not entered; what the kernel had taken before is, and a
                    reset may throw it away before the client has it
slow_loris          an event is entered when its last byte has been taken
refuse, ban, hang   no connection, no entries; the market goes on, so the next connection finds a hole
half_open           the handshake is answered, and nothing is sent, so nothing is entered
mute, delist, skip  the event happened or its number is used up; it is not sent, so it is not entered
duplicate           sent twice and entered twice
old                 entered with the shifted time: that is what was sent
say                 no event, so it is not entered
=================== ============================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio
from trio_websocket import CloseReason, WebSocketConnection

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.door import Door
from quantlab_collector.simulators.feed import Feed
from quantlab_collector.simulators.injection import Injection
from quantlab_collector.simulators.line import Line

_NEVER_SENT: Final = {1005, 1006, 1015}
"""RFC 6455, 7.4.1: these codes say how a connection ended, and never stand in a frame."""


class Faults:
    """The hand on one simulator. Orders take effect at once; none of them waits."""

    def __init__(self, feed: Feed | None, wall_clock: Callable[[], int]) -> None:
        self.injected: list[Injection] = []
        """All orders so far, each with what came of it."""
        self.websocket_door = Door()
        self.rest_door = Door()
        self._feed = feed
        self._wall_clock = wall_clock
        self._going_down = trio.Event()
        self._down_until = 0.0
        self._lines: set[Line] = set()
        self._accepted = 0
        self._held: list[trio.socket.SocketType] = []
        self._goodbyes: dict[int, CloseReason] = {}
        self._new_lines_speed: float | None = None
        self._slow: Injection | None = None

    # ----------------------------------------------------------------------------------- who knocks at the door

    def refuse(
        self,
        status: int = 503,
        *,
        retry_after: float | None = None,
        for_seconds: float | None = None,
        count: int | None = None,
        rest: bool = False,
    ) -> Injection:
        """Answer handshakes (or REST requests) with an HTTP status, for a time, so many times, or until ``relent``."""
        injection = self._order("refuse", status=status, for_seconds=for_seconds, count=count, rest=rest)
        door = self.rest_door if rest else self.websocket_door
        door.refuse(injection, status, retry_after=retry_after, for_seconds=for_seconds, count=count)
        return injection

    def ban(self, seconds: float, status: int = 418) -> Injection:
        """Refuse everything for a time, REST too, and say for how long in ``Retry-After``."""
        injection = self._order("ban", seconds=seconds, status=status)
        for door in (self.websocket_door, self.rest_door):
            door.refuse(injection, status, for_seconds=seconds, counts_down=True)
        return injection

    def hang(self, count: int = 1, *, rest: bool = False) -> Injection:
        """Take the next connections (or REST requests) and never answer."""
        injection = self._order("hang", count=count, rest=rest)
        (self.rest_door if rest else self.websocket_door).hang(injection, count)
        return injection

    def half_open(self, count: int = 1) -> Injection:
        """Answer the next handshakes, and then neither read nor send."""
        injection = self._order("half_open", count=count)
        self.websocket_door.half_open(injection, count)
        return injection

    def relent(self) -> None:
        """Open the doors and be quick again. What was muted stays muted."""
        self._order("relent")
        self.websocket_door.open()
        self.rest_door.open()
        self._new_lines_speed = self._slow = None
        for line in self._lines:
            line.bytes_per_second = None

    # ----------------------------------------------------------------------------------------- open connections

    def close(self, code: int = 1001, reason: str = "", *, connection: int | None = None) -> Injection:
        """Close all connections, or one, with a close frame."""
        if code in _NEVER_SENT:
            raise ValueError(f"{code} never stands in a close frame; cut() ends a connection without one")
        injection = self._order("close", code=code, reason=reason, connection=connection)
        for line in self._open_lines(connection):
            if line.number is not None:
                self._goodbyes.setdefault(line.number, CloseReason(code, reason))
                line.close(code, reason)
                injection.hit()
        return injection

    def cut(self, *, connection: int | None = None) -> Injection:
        """End all connections, or one, without a close frame."""
        return self._each(self._order("cut", connection=connection), connection, Line.cut)

    def reset(self, *, connection: int | None = None) -> Injection:
        """End all connections, or one, with a TCP reset."""
        return self._each(self._order("reset", connection=connection), connection, Line.reset)

    def freeze(self, *, connection: int | None = None) -> Injection:
        """Make all connections, or one, half-open: neither read nor send from now on, and no FIN."""
        return self._each(self._order("freeze", connection=connection), connection, self._hold)

    def slow_loris(self, bytes_per_second: float = 1.0, *, connection: int | None = None) -> Injection:
        """Send byte by byte on one connection, or on all that are there and all that come, handshakes too, until ``relent``."""
        injection = self._order("slow_loris", bytes_per_second=bytes_per_second, connection=connection)
        for line in self._open_lines(connection):
            line.bytes_per_second = bytes_per_second
            injection.hit()
        if connection is None:
            self._new_lines_speed, self._slow = bytes_per_second, injection
        return injection

    def restart(self, down_for: float, code: int | None = 1012, reason: str = "") -> Injection:
        """Close all connections (without a code: cut them), refuse TCP connections for a while, then be back. REST stays."""
        injection = self._order("restart", down_for=down_for, code=code, reason=reason)
        injection.hit()
        if code is None:
            self.cut()
        else:
            self.close(code, reason)
        self._down_until = trio.current_time() + down_for
        self._going_down.set()
        return injection

    def say(self, message: str | bytes, *, connection: int | None = None) -> Injection:
        """Send a message that is no event: rubbish, a notice, whatever a test wants to see survived."""
        injection = self._order("say", message=message[:80], connection=connection)
        for line in self._open_lines(connection):
            line.say(message)
            injection.hit()
        return injection

    # -------------------------------------------------------------------------------------------------- events

    def mute(self, kind: StreamType | None = None, symbol: str | None = None) -> Injection:
        """Deliver nothing of a kind and a symbol, or of any, from now on. The market goes on."""
        market = self._market
        injection = self._order("mute", kind=kind, symbol=symbol)
        market.distortions.mute(injection, kind, symbol)
        return injection

    def unmute(self, kind: StreamType | None = None, symbol: str | None = None) -> Injection:
        """Take back the same ``mute``."""
        market = self._market
        injection = self._order("unmute", kind=kind, symbol=symbol)
        injection.hit(market.distortions.unmute(kind, symbol))
        return injection

    def duplicate(self, n: int = 1, kind: StreamType | None = None, symbol: str | None = None) -> Injection:
        """Deliver the next ``n`` events twice, or the next of a kind or symbol."""
        market = self._market
        injection = self._order("duplicate", n=n, kind=kind, symbol=symbol)
        market.distortions.repeat(injection, n, kind, symbol)
        return injection

    def old(self, ms: int, n: int = 1, kind: StreamType | None = None, symbol: str | None = None) -> Injection:
        """Date the next ``n`` events ``ms`` back; less than zero dates them ahead."""
        market = self._market
        injection = self._order("old", ms=ms, n=n, kind=kind, symbol=symbol)
        market.distortions.shift(injection, -ms, n, kind, symbol)
        return injection

    def skip(self, symbol: str, k: int = 1, kind: StreamType = StreamType.TRADE) -> Injection:
        """Use up ``k`` trade ids without delivering them: they happened all at once, and nobody heard."""
        market = self._market
        injection = self._order("skip", symbol=symbol, k=k, kind=kind)
        market.skip(market.series[kind, symbol], k)
        injection.hit(k)
        return injection

    def delist(self, symbol: str) -> Injection:
        """Let nothing more happen on a symbol, and take it off the lists."""
        market = self._market
        injection = self._order("delist", symbol=symbol)
        market.delist(symbol)
        injection.hit()
        return injection

    # -------------------------------------------------------------------------------------------- for the servers

    def connected(self, line: Line) -> None:
        """A TCP connection is there."""
        self._lines.add(line)
        line.bytes_per_second = self._new_lines_speed
        if self._slow is not None:
            self._slow.hit()

    def disconnected(self, line: Line) -> None:
        """A TCP connection is over."""
        self._lines.discard(line)

    def admit(self, line: Line, websocket: WebSocketConnection) -> None:
        """A WebSocket is accepted: it gets its number. Exchanges count theirs alike."""
        self._accepted += 1
        line.number, line.websocket = self._accepted, websocket

    def admitted(self, line: Line) -> None:
        """The handshake is answered; what comes now may be nothing."""
        if self.websocket_door.forgets():
            self._hold(line)

    def close_reason(self, connection: int) -> CloseReason | None:
        """How a connection was closed from here, for the simulator's books."""
        return self._goodbyes.get(connection)

    async def wait_down(self) -> None:
        """Wait until nobody shall listen any more."""
        await self._going_down.wait()

    async def wait_up(self) -> None:
        """Wait until somebody shall listen again."""
        while trio.current_time() < self._down_until:  # noqa: ASYNC110 - a further restart makes it longer
            await trio.sleep_until(self._down_until)
        self._going_down = trio.Event()

    def let_go(self) -> None:
        """End what was held half-open: the simulator ends."""
        for held in self._held:
            held.close()
        self._held.clear()

    # ------------------------------------------------------------------------------------------------------------

    @property
    def _market(self) -> Feed:
        if self._feed is None:
            raise ValueError("no market here: what is sent was recorded")
        return self._feed

    def _order(self, verb: str, **arguments: object) -> Injection:
        detail = " ".join(f"{name}={value}" for name, value in arguments.items() if value is not None and value != "")
        injection = Injection(verb, detail, self._wall_clock(), clock=self._wall_clock)
        self.injected.append(injection)
        return injection

    def _open_lines(self, connection: int | None) -> list[Line]:
        found = [line for line in self._lines if connection is None or line.number == connection]
        if connection is not None and not found:
            raise ValueError(f"connection {connection} is not open")
        return sorted(found, key=lambda line: line.number or 0)

    def _each(self, injection: Injection, connection: int | None, act: Callable[[Line], None]) -> Injection:
        for line in self._open_lines(connection):
            act(line)
            injection.hit()
        return injection

    def _hold(self, line: Line) -> None:
        if (held := line.freeze()) is not None:
            self._held.append(held)
