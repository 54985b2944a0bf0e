"""picows and a typed decode by msgspec; what was decoded is thrown away."""

from __future__ import annotations

from typing import Any

import msgspec
from common import read_plan, report, run, tls, until_told
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from typed import decode


class Listener(WSListener):
    def __init__(self, requests: list[str]) -> None:
        self.requests = requests
        self.messages = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        for request in self.requests:
            transport.send(WSMsgType.TEXT, request.encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        try:
            decode(frame.get_payload_as_memoryview())
        except msgspec.MsgspecError:  # no market data: an answer, or a ping
            return
        self.messages += 1


async def receive(plan: dict[str, Any], url: str, listener: Listener) -> None:
    transport, _ = await ws_connect(lambda: listener, url, ssl_context=tls(plan))
    try:
        await transport.wait_disconnected()
    finally:
        transport.disconnect()


async def main() -> None:
    plan = read_plan()
    listeners = {connection["url"]: Listener(connection["requests"]) for connection in plan["connections"]}
    await until_told(*(receive(plan, url, listener) for url, listener in listeners.items()))
    report(sum(listener.messages for listener in listeners.values()))


if __name__ == "__main__":
    run(main())
