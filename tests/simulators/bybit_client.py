"""A client of the simulated Bybit, and what it makes of the messages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio_websocket import ConnectionClosed

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.exchanges.bybit import LINEAR, SPOT
from quantlab_collector.exchanges.protocol import Endpoints, Harvest, Wanted
from quantlab_collector.simulators.bybit import BybitSimulator
from simulators.support import connect

CHANNELS = {"linear": ("orderbook.1", "publicTrade", "tickers"), "spot": ("orderbook.1", "publicTrade")}


class Client:
    """Keeps every message, in order."""

    def __init__(self, simulator: BybitSimulator, websocket) -> None:
        self.simulator = simulator
        self.websocket = websocket
        self.messages: list[str] = []

    async def read(self) -> dict[str, Any]:
        message = await self.websocket.get_message()
        self.messages.append(message)
        return json.loads(message)

    async def send(self, **request: object) -> None:
        await self.websocket.send_message(json.dumps(request))

    async def ask(self, op: str, *args: str, **more: object) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        await self.send(op=op, **({"args": args} if args else {}), **more)
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        with trio.fail_after(3):
            while "op" not in (message := await self.read()):
                pass
        return message

    async def read_for(self, seconds: float) -> list[dict[str, Any]]:
        """What comes within a time."""
        told = []
        with trio.move_on_after(seconds):
            while True:
                told.append(await self.read())
        return told

    async def read_all_that_was_sent(self) -> None:
        """Until there is nothing more; the market has to stand still."""
        await self.simulator.wait_quiet()
        assert (await self.ask("ping"))["ret_msg"] == "pong"  # which comes behind everything else

    async def read_to_the_end(self) -> None:
        with trio.fail_after(5):
            try:
                while True:
                    await self.read()
            except ConnectionClosed:
                return

    def data(self) -> list[dict[str, Any]]:
        """What was told of the market."""
        return [message for text in self.messages if "topic" in (message := json.loads(text))]

    def recorded(self) -> Harvest:
        """What the collector records of it."""
        market = LINEAR if self.simulator.options.market == "linear" else SPOT
        (plan,) = market.plan(Wanted(self.simulator.options.symbols, tuple(StreamType), Endpoints("", "")))
        return market.session(plan).decode([message.encode() for message in self.messages], 0)


@asynccontextmanager
async def client_of(simulator: BybitSimulator, path: str = "") -> AsyncIterator[Client]:
    async with connect(simulator, path or f"/v5/public/{simulator.options.market}") as websocket:
        yield Client(simulator, websocket)


def topics(simulator: BybitSimulator, *channels: str) -> list[str]:
    return [f"{each}.{s}" for s in simulator.options.symbols for each in channels or CHANNELS[simulator.options.market]]


def owed(simulator: BybitSimulator, connection: int | None = None) -> Counter[str]:
    """What the ledger says has to be recorded."""
    raw = simulator.messages.raw
    return Counter(repr(raw(e.kind, e.symbol, e.number, e.exchange_ms)) for e in simulator.ledger.entries(connection))
