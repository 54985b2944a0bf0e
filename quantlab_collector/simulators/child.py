"""Simulators in a process of their own, so that both ends of a demonstration do not share one event loop."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from quantlab_collector.simulators.play import Playing, PlayOptions


@contextmanager
def playing_in_child(options: PlayOptions) -> Iterator[tuple[Playing, ...]]:
    """Start the simulators, give their addresses, stop them at the end.

    The child is in a session of its own: a Ctrl-C in the terminal is for the recorder, which wants to say good-bye to the
    exchange. It ends when its standard input closes, so it never outlives us, whatever becomes of us.
    """
    command = [
        *(sys.executable, "-m", "quantlab_collector", "simulate", "--json", "--until-stdin-closes"),
        *("--symbols", ",".join(options.symbols), "--rate", str(options.rate), "--seed", str(options.seed)),
        *(word for exchange in options.exchanges for word in ("--exchange", exchange)),
        *(("--ledger", str(options.ledger)) if options.ledger else ()),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as child:  # noqa: S603
        try:
            yield tuple(_read(child) for _ in options.exchanges)
        finally:
            if child.stdin is not None:
                child.stdin.close()
            child.wait()


def _read(child: subprocess.Popen[bytes]) -> Playing:
    line = child.stdout.readline() if child.stdout is not None else b""
    if not line:
        raise OSError(f"the simulators did not start (exit code {child.wait()})")
    return Playing(**json.loads(line))
