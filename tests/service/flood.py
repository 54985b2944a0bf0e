"""Clients that mean no good, in a process of their own: many slow ones, and some that ask as fast as they can.

    python flood.py PORT SLOW RATE       until standard input closes; then one JSON object with what came of it

Slow clients are of three kinds: they say nothing, they say a byte a second, or they ask and never read. Each is counted with the
seconds after which the server let go of it, and comes back. The fast ones keep their connections, and ask for everything in turn.
"""

from __future__ import annotations

import json
import socket
import sys
from collections import Counter

import trio

FAST = 48
PATHS = ("/health", "/metrics", "/status", "/streams", "/collectors/status", "/ready", "/nowhere")
KINDS = ("silent", "dripping", "not reading")


def request(path):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


class Flood:
    def __init__(self, port, rate):
        self.port, self.pause = port, FAST / rate
        self.statuses = Counter()
        self.asked = self.refused = 0
        self.slow_ended = Counter()
        self.longest = 0.0
        """Seconds that the server kept the slow client that it kept longest, once it had let it in."""
        self.oddities = Counter()

    async def connect(self):
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def slow(self, kind):
        while True:
            began = trio.current_time()
            try:
                async with await self.connect() as stream:
                    await getattr(self, kind.replace(" ", "_"))(stream)
            except (OSError, trio.BrokenResourceError):
                pass
            self.longest = max(self.longest, trio.current_time() - began)
            self.slow_ended[kind] += 1
            await trio.sleep(1)

    async def silent(self, stream):
        await stream.receive_some(1)

    async def dripping(self, stream):
        for byte in b"GET /health HTTP/1.1\r\nX-Slow: " + b"x" * 1000:
            await stream.send_all(bytes([byte]))
            with trio.move_on_after(1):
                await stream.receive_some(1)
                return

    async def not_reading(self, stream):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await stream.send_all(request("/metrics") * 200)
        while True:  # until the server resets the connection
            await trio.sleep(0.2)
            await stream.send_all(b"\r\n")

    async def fast(self, number):
        while True:
            try:
                async with await self.connect() as stream:
                    await self.ask(stream, number)
            except (OSError, trio.BrokenResourceError):
                self.refused += 1
            await trio.sleep(self.pause)

    async def ask(self, stream, number):
        while True:
            self.asked += 1
            number += 1
            await stream.send_all(request(PATHS[number % len(PATHS)]))
            head, body = b"", 0
            while b"\r\n\r\n" not in head or body > 0:
                data = await stream.receive_some(65536)
                if not data:
                    self.refused += 1
                    return
                if b"\r\n\r\n" in head:
                    body -= len(data)
                    continue
                head += data
                if b"\r\n\r\n" in head:
                    top, _, rest = head.partition(b"\r\n\r\n")
                    body = int(top.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) - len(rest)
            self.statuses[head.split(b" ", 2)[1].decode()] += 1
            if b"Traceback" in head:
                self.oddities["traceback"] += 1
            await trio.sleep(self.pause)


async def main(port, slow, rate):
    flood = Flood(port, rate)
    async with trio.open_nursery() as nursery:
        for number in range(FAST):
            nursery.start_soon(flood.fast, number)
        await trio.sleep(0.5)  # the fast ones find a seat, before the slow ones take what is left
        for number in range(slow):
            nursery.start_soon(flood.slow, KINDS[number % len(KINDS)])
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        nursery.cancel_scope.cancel()
    print(
        json.dumps(
            {
                "asked": flood.asked,
                "answered": sum(flood.statuses.values()),
                "statuses": flood.statuses,
                "refused": flood.refused,
                "slow_ended": flood.slow_ended,
                "longest": round(flood.longest, 2),
                "oddities": flood.oddities,
            }
        )
    )


if __name__ == "__main__":
    trio.run(main, *map(int, sys.argv[1:]))
