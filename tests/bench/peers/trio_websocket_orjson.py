"""trio-websocket as it comes, each message parsed by orjson and thrown away."""

from __future__ import annotations

import signal
from typing import Any

import orjson
import trio
from common import read_plan, report, tls
from trio_websocket import open_websocket_url


class Receiver:
    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.messages = 0

    async def receive(self, connection: dict[str, Any]) -> None:
        async with open_websocket_url(connection["url"], tls(self.plan)) as websocket:
            for request in connection["requests"]:
                await websocket.send_message(request)
            while True:
                message = orjson.loads(await websocket.get_message())
                if "stream" in message:
                    self.messages += 1


async def main() -> None:
    receiver = Receiver(read_plan())
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            for connection in receiver.plan["connections"]:
                nursery.start_soon(receiver.receive, connection)
            await anext(signals)
            nursery.cancel_scope.cancel()
    report(receiver.messages)


if __name__ == "__main__":
    trio.run(main)
