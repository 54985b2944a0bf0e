"""A recording played again: real frames, over the exchange's own WebSocket routes, at the pace at which they came or N times it.

Every connection hears the recording from its beginning, which is its first subscription, at a pace of its own. At the end it
stays open and silent. The ledger has one entry for each frame that the kernel took.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from quantlab_collector.simulators.faults import Faults
from quantlab_collector.simulators.recording import Recorded, read_recording
from quantlab_collector.simulators.replay_manners import CONVERSATIONS, Conversation, topic_of
from quantlab_collector.simulators.sockets import serve_sockets


@attrs.frozen
class ReplayOptions:
    """What to play, and how fast."""

    file: Path
    exchange: str = attrs.field(validator=attrs.validators.in_(CONVERSATIONS))
    """Whose routes and manners: a recording does not say."""
    speed: float = attrs.field(default=1.0, validator=attrs.validators.gt(0))
    """So many times as fast; ``math.inf`` for as fast as the client reads."""
    unit: str | None = None
    """Of the receive times (s, ms, us or ns), where they do not tell it themselves."""
    host: str = "127.0.0.1"
    port: int = 0
    ssl_context: ssl.SSLContext | None = None
    wall_clock: Callable[[], int] = time.time_ns


class SentFrame(NamedTuple):
    """One frame that was sent on one connection."""

    connection: int
    place: int
    """Which frame of the recording, from 0."""
    text: str
    """What was sent. Without its wrapping, where the client wants it raw."""
    accepted_ns: int


@attrs.define
class Listening:
    """One connection, open or over."""

    number: int
    path: str
    finished: trio.Event = attrs.field(factory=trio.Event)
    """The recording is over for it, or it is over itself."""


class Replay:
    """A recording that is played to whoever connects."""

    def __init__(self, options: ReplayOptions) -> None:
        self.options = options
        self.frames: list[Recorded] = read_recording(options.file, options.unit, options.exchange)
        self.sent: list[SentFrame] = []
        """The ledger."""
        self.connections: list[Listening] = []
        self.faults = Faults(None, options.wall_clock)
        self.ws_url = ""
        self._topics = [topic_of(frame.text) for frame in self.frames]

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return self.frames[-1].offset_ns / 1e9 / self.options.speed if self.frames else 0.0

    def told(self, connection: int) -> Iterator[str]:
        """What was sent on one connection, in order."""
        return (frame.text for frame in self.sent if frame.connection == connection)

    async def answer_request(self, request: WebSocketRequest) -> None:
        """Take a client and play to it until it leaves."""
        conversation = CONVERSATIONS[self.options.exchange](request.path)
        if conversation is None:
            await request.reject(404)
            return
        listening = Listening(len(self.connections) + 1, request.path)
        self.connections.append(listening)
        try:
            websocket = await request.accept()
            begun = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._play, websocket, listening, conversation, begun)
                await _converse(websocket, conversation, begun)
                nursery.cancel_scope.cancel("the connection is over")
        finally:
            listening.finished.set()

    async def _play(
        self, websocket: WebSocketConnection, listening: Listening, conversation: Conversation, begun: trio.Event
    ) -> None:
        await begun.wait()
        start, pace, clock = trio.current_time(), self.options.speed * 1e9, self.options.wall_clock
        try:
            for place, (frame, topic) in enumerate(zip(self.frames, self._topics, strict=True)):
                due = start + frame.offset_ns / pace
                if due > trio.current_time():
                    await trio.sleep_until(due)
                payload = None if topic is None else conversation.payload(frame.text, topic)
                if payload is not None:
                    await websocket.send_message(payload)
                    # No checkpoint in between: what the kernel took is entered.
                    self.sent.append(SentFrame(listening.number, place, payload, clock()))
        except ConnectionClosed:
            return  # the reader knows it too
        listening.finished.set()


async def _converse(websocket: WebSocketConnection, conversation: Conversation, begun: trio.Event) -> None:
    try:
        while True:
            if conversation.begun:
                begun.set()
            message = await websocket.get_message()
            for reply in conversation.answer(message):
                await websocket.send_message(reply)
    except ConnectionClosed:
        return


async def serve_replay(options: ReplayOptions, *, task_status: trio.TaskStatus[Replay] = trio.TASK_STATUS_IGNORED) -> None:
    """Play the recording until cancelled."""
    replay = Replay(options)
    async with trio.open_nursery() as nursery:
        replay.ws_url = await nursery.start(
            serve_sockets, replay.answer_request, options.host, options.port, options.ssl_context, replay.faults
        )
        task_status.started(replay)
