"""All receivers in one run, in turn, so that all of them meet the same weather."""

from __future__ import annotations

import argparse
import subprocess
import sys

import attrs
from measure import Feed, Load, Sample, run
from receivers import CRYPTOFEED, PEERS_PYTHON, ROWS
from results import PLAIN, Result

SLOWER = 0.7
"""After a run that dropped events it is tried at this share of what was stored per second, and again."""
TRIES = 5


def tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def missing() -> dict[str, str]:
    """Rows that cannot be measured here, and why."""
    peers = [name for name, row in ROWS.items() if not row.any_exchange]
    if not PEERS_PYTHON:
        return dict.fromkeys(
            peers, "no environment of peers: `nox -s bench` makes one, QUANTLAB_BENCH_PEERS names its interpreter"
        )
    if subprocess.run([PEERS_PYTHON, "-c", "import cryptofeed"], check=False, capture_output=True).returncode:
        return {CRYPTOFEED: "no interpreter for cryptofeed 3, which wants Python 3.13"}
    return {}


class Comparison:
    """Runs the rows that were asked for, with one feed for each exchange."""

    def __init__(self, feeds: dict[str, Feed], options: argparse.Namespace) -> None:
        self._feeds = feeds
        self._options = options
        self._quiets: list[tuple[Result, Sample]] = []

    def measure(self, left_out: dict[str, str]) -> list[Result]:
        """All rows, several times; those that dropped events once more at a rate that they can keep up with."""
        options = self._options
        results = [
            Result(name, exchange, transport, len(feed.symbols), options.rate)
            for exchange, feed in self._feeds.items()
            for transport in (options.transport if exchange == "binance" else [PLAIN])
            for name in options.only
            if name not in left_out and (exchange == "binance" or ROWS[name].any_exchange)
        ]
        for number in range(options.repeat):
            for result in results:
                tell(f"run {number + 1} of {options.repeat}: {result.row}, {result.exchange}, {result.transport}")
                self._add(result)
        slower: dict[tuple[str, str], float] = {}
        for result in results:
            if result.lost:
                slower[result.exchange, result.transport] = self._rate_without_loss(result)
        return [*results, *(again for result in results for again in self._again(result, slower))]

    def _again(self, result: Result, slower: dict[tuple[str, str], float]) -> list[Result]:
        """What the row costs at the rate at which nothing is dropped: small reads are dear for everyone."""
        rate = slower.get((result.exchange, result.transport))
        if rate is None:
            return []
        again = attrs.evolve(result, rate=rate, samples=[])
        for _ in range(self._options.repeat):
            self._add(again)
        return [again]

    def _rate_without_loss(self, result: Result) -> float:
        rate = result.middle.messages / result.middle.seconds
        for _ in range(TRIES):
            rate *= SLOWER
            tell(f"events were dropped; {result.row}, {result.exchange}, {result.transport} at {rate:,.0f}/s")
            if not self._run(attrs.evolve(result, rate=rate, samples=[]), self._options.messages).lost:
                break
        return rate

    def _add(self, result: Result) -> None:
        key = attrs.evolve(result, rate=None, samples=[])
        quiet = next((sample for of, sample in self._quiets if of == key), None)
        if quiet is None:
            quiet = self._run(key, 0)
            self._quiets.append((key, quiet))
        result.samples.append(self._run(result, self._options.messages).less(quiet))

    def _run(self, result: Result, messages: int) -> Sample:
        row = ROWS[result.row]
        load = Load(int(messages * row.share), result.rate)
        return run(row.receiver, self._feeds[result.exchange], result.transport, load, self._options.folder)
