"""websockets on asyncio, each message parsed by orjson and thrown away."""

from __future__ import annotations

from typing import Any

import orjson
from common import read_plan, report, run, tls, until_told
from websockets.asyncio.client import connect


class Receiver:
    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.messages = 0

    async def receive(self, connection: dict[str, Any]) -> None:
        async with connect(connection["url"], ssl=tls(self.plan), compression=None) as websocket:
            for request in connection["requests"]:
                await websocket.send(request)
            while True:
                message = orjson.loads(await websocket.recv(decode=False))
                if "stream" in message:
                    self.messages += 1


async def main() -> None:
    receiver = Receiver(read_plan())
    await until_told(*(receiver.receive(connection) for connection in receiver.plan["connections"]))
    report(receiver.messages)


if __name__ == "__main__":
    run(main())
