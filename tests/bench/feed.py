"""The load generator, a process of its own: a WebSocket server that does nothing but send, as fast as it is read.

The bytes come out of a pool that is made before the first one is sent, so that the reader is the bottleneck and not we. TLS
records are all made in advance: a record depends only on the handshake and on how many came before it. Each holds one frame, as
exchanges send them.

It is told what to do by lines of JSON on its standard input, and answers on its standard output:

    > {"messages": 1000000, "rate": null, "bunch": null}      wait until everything is subscribed, make the bytes
    < {"acks": 2, "messages": 1000000, "events": 1100000}     ready
    > "go"                                                    send
    < {"seconds": 3.1, "cpu": 0.2}                            everything was read: all pings behind the last message were answered
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import captures
import trustme
from mix import EXCHANGES, TEN, Message, pool, prelude, symbol_names
from server import Client, Session
from steps import Turns, in_bunches, in_rows

STEP = 1_000
"""Messages that are sent in one go, spread over the connections. In step, so that the mix is the same all the time."""
STEPS_PER_SECOND = 500
"""When a rate is asked for: small steps."""

Sealed = Iterable[list[tuple[Client, bytes]]]


def prepare(owner: dict[str, Client], messages: list[Message], order: dict) -> tuple[Turns, Sealed, int]:
    """What is to be sent, its bytes, and how many messages a step has."""
    size = min(order["bunch"] or step_size(order["rate"]), len(messages))
    turns = Turns((in_bunches if order["bunch"] else in_rows)(messages, owner, size), order["messages"])
    sealed = (step.sealed(turn) for turn, step in turns)
    if not all(client.line.reusable for client in owner.values()):
        sealed = list(sealed)
    return turns, sealed, size


def play(steps: Sealed, gap: float) -> None:
    """Send as fast as it is read, or one step each ``gap`` seconds."""
    start = time.monotonic()
    for number, step in enumerate(steps):
        if gap and (wait := start + number * gap - time.monotonic()) > 0:
            time.sleep(wait)
        for client, data in step:
            client.socket.sendall(data)


def step_size(rate: float | None) -> int:
    """How many messages are sent at a time: always whole tens, so that the mix is exact."""
    return STEP if rate is None else len(TEN) * max(1, round(rate / STEPS_PER_SECOND / len(TEN)))


def say(answer: dict) -> None:
    print(json.dumps(answer), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="play market data to whoever subscribes to all of it")
    parser.add_argument("--exchange", choices=EXCHANGES, required=True)
    parser.add_argument("--symbols", type=int, required=True)
    parser.add_argument("--captures", type=Path, help="play recorded frames of this folder instead")
    parser.add_argument("--ca-file", type=Path, required=True, help="where to put the certificate to trust")
    options = parser.parse_args()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority = trustme.CA()
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(options.ca_file))
    if options.captures:
        symbols, messages, first = *captures.recorded(options.exchange, options.captures), []
    else:
        symbols = symbol_names(options.symbols)
        messages, first = pool(options.exchange, symbols), prelude(options.exchange, symbols)
    topics = {message.topic for message in [*first, *messages]}
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        say({"port": listener.getsockname()[1], "symbols": symbols})
        for line in sys.stdin:
            order = json.loads(line)
            session = Session(listener, context)
            owner = session.gather(topics)
            for message in first:
                owner[message.topic].send(message.frame)
            turns, steps, size = prepare(owner, messages, order)
            acks, begun = sum(client.acks for client in session.clients), sum(message.events for message in first)
            say({"acks": acks + len(first), "messages": turns.messages, "events": turns.events + begun})
            sys.stdin.readline()
            cpu, start = time.process_time(), time.monotonic()
            play(steps, size / order["rate"] if order["rate"] else 0.0)
            session.settle()
            say({"seconds": time.monotonic() - start, "cpu": time.process_time() - cpu})
            session.farewell()


if __name__ == "__main__":
    main()
