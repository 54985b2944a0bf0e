"""What all peers share: the connections they make, how they are told to stop, and what they report.

A peer is a script of its own, in an environment that knows nothing of the collector:

    python picows_parquet.py plan.json

The plan names the same connections and requests that the collector would make. A SIGTERM ends the script; it prints, as one JSON
object, how many market messages it has seen.
"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

ACK = b'{"result"'
"""How the answer to a subscription begins."""


def read_plan() -> dict[str, Any]:
    return json.loads(Path(sys.argv[1]).read_bytes())


def tls(plan: dict[str, Any]) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=plan["ca_file"]) if plan["url"].startswith("wss:") else None


def report(messages: int) -> None:
    print(json.dumps({"messages": messages}))


async def until_told(*work: Coroutine[Any, Any, None]) -> None:
    """Do all this until a SIGTERM comes. Whatever ends by itself before ends the process."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks = [asyncio.create_task(each) for each in work]
    told = asyncio.create_task(stop.wait())
    await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()
            raise RuntimeError("the connection has ended")
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def run(main: Coroutine[Any, Any, None]) -> None:
    uvloop.run(main)
