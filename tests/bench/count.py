"""Our wire alone: what is left when the rest of the collector is taken away from it.

    python count.py plan.json

It subscribes as the collector does, counts frames until a SIGTERM, and prints how many.
"""

from __future__ import annotations

import json
import signal
import ssl
import sys
from pathlib import Path

import attrs
import trio

from quantlab_collector.intake.transport import WireOptions
from quantlab_collector.intake.wire import open_wire


@attrs.define
class Tally:
    frames: int = 0


async def receive(url: str, requests: list[str], tls: ssl.SSLContext | None, tally: Tally) -> None:
    async with open_wire(url, WireOptions(tls=tls)) as connection:
        for request in requests:
            await connection.send(request.encode())
        while True:
            messages = await connection.receive()  # in a line of its own: += reads the old value before it waits
            tally.frames += len(messages)


async def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_bytes())
    tls = ssl.create_default_context(cafile=plan["ca_file"]) if plan["url"].startswith("wss:") else None
    tally = Tally()
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            for each in plan["connections"]:
                nursery.start_soon(receive, each["url"], each["requests"], tls, tally)
            await anext(signals)
            nursery.cancel_scope.cancel()
    print(json.dumps({"frames": tally.frames}))


if __name__ == "__main__":
    trio.run(main)
