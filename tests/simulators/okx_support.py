"""What the tests of the simulated OKX share."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio
from trio_websocket import WebSocketConnection

from quantlab_collector.exchanges.okx import OKX
from quantlab_collector.exchanges.protocol import Endpoints, Session, Wanted
from quantlab_collector.simulators.okx import OkxOptions, OkxSimulator, serve_okx
from simulators.support import connect

PATH = "/ws/v5/public"


async def play(nursery: trio.Nursery, **options: object) -> OkxSimulator:
    """Start one that lives as long as the test."""
    options = {"symbols": ("BTCUSDT", "ETHUSDT", "XRPUSDT"), "rate": 5000.0, "max_connects": 100} | options
    return await nursery.start(serve_okx, OkxOptions(**options))


@asynccontextmanager
async def talking(simulator: OkxSimulator) -> AsyncIterator[WebSocketConnection]:
    async with connect(simulator, PATH) as websocket:
        yield websocket


def request(*args: tuple[str, str], op: str = "subscribe", **more: object) -> str:
    return json.dumps({"op": op, "args": [{"channel": channel, "instId": name} for channel, name in args], **more})


async def hear(websocket: WebSocketConnection) -> dict:
    with trio.fail_after(3):
        return json.loads(await websocket.get_message())


async def hear_until_all_spoke(websocket: WebSocketConnection, channels: set[str]) -> list[dict]:
    """All that comes until each of these channels has delivered something. Which one speaks how often is left to the market."""
    messages, silent = [], set(channels)
    while silent:
        messages.append(await hear(websocket))
        if "data" in messages[-1]:
            silent.discard(messages[-1]["arg"]["channel"])
    return messages


async def hear_something(websocket: WebSocketConnection, seconds: float) -> list[dict]:
    """What comes first, however busy the machine is, and what comes within a time after it."""
    return [await hear(websocket), *await hear_within(websocket, seconds)]


async def hear_all(websocket: WebSocketConnection) -> list[dict]:
    """What is on its way to us already, until nothing more comes; how long it takes to be read, a busy machine decides."""
    messages: list[dict] = []
    while more := await hear_within(websocket, 0.3):
        messages += more
    return messages


async def hear_within(websocket: WebSocketConnection, seconds: float) -> list[dict]:
    """All that comes within a time."""
    messages = []
    with trio.move_on_after(seconds):
        while True:
            messages.append(json.loads(await websocket.get_message()))
    return messages


async def ask(websocket: WebSocketConnection, text: str, replies: int = 1) -> list[dict]:
    """The answers to a request; what comes in between is data and of no interest."""
    await websocket.send_message(text)
    found = []
    while len(found) < replies:
        message = await hear(websocket)
        if "event" in message:
            found.append(message)
    return found


def collector(simulator: OkxSimulator, symbols: Iterable[str] = ()) -> tuple[Session, list[str]]:
    """The collector's own side: a session, and what it asks for."""
    wanted = Wanted(tuple(symbols) or simulator.options.symbols, OKX.streams, Endpoints(simulator.ws_url, simulator.rest_url))
    (plan,) = OKX.plan(wanted)
    assert plan.url == simulator.ws_url + PATH
    return OKX.session(plan), [each.decode() for each in plan.requests]
