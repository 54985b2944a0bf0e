"""What recording costs: CPU of the whole service, next to receivers that only count the frames of the same two connections.

    python tests/bench/run.py --only wire service --symbols 150

Each row is a process of its own. What it costs is its CPU (all threads, user and system) from the first byte it is sent to its
end, when all is stored, less what the same process takes when nothing is sent. Machines differ and are busy: only the ratios
within one run say something, and each row is measured in turn, several times, so that all rows meet the same weather.

The queue of the service takes half a million events. Whether the writer keeps up with the sockets shows in a longer run only:
--messages 4000000 --transport plain --only service. And reads of a few messages are dearer than reads of thousands: --rate.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import table
from measure import Feed, Load, Sample, feed, run
from receivers import REFERENCE, ROWS
from table import Result

TARGET = 0.35
"""What the whole service may cost per message, to what trio-websocket takes to count frames."""
TRANSPORTS = ("plain", "tls")
SLOWER = 0.7
"""After a run that dropped events it is tried at this share of what was stored per second, and again."""
TRIES = 5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000, help="a run; slow rows get a fifth (default: %(default)s)")
    parser.add_argument("--symbols", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--rate", type=float, help="messages a second; default: as fast as they are read")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each row; the median counts (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=[name for name, row in ROWS.items() if not row.spare])
    parser.add_argument("--transport", nargs="+", choices=TRANSPORTS, default=TRANSPORTS)
    parser.add_argument("--folder", type=Path, help="where to record, if not where temporary files are: the disk matters")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    with feed(options.symbols) as source:
        results = measure_all(source, options)
    print(f"\n70 % best bid and offer, 20 % trades, 10 % mark prices of {options.symbols} symbols; TLS with one frame a record")
    print(table.text(results))
    tell_verdict(results)
    if options.json:
        settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
        options.json.write_text(json.dumps(table.plain(results, settings), indent=1))


def measure_all(source: Feed, options: argparse.Namespace) -> list[Result]:
    rows = [(name, transport) for transport in options.transport for name in options.only]
    results = [Result(name, transport, options.rate, []) for name, transport in rows]
    quiet = {}
    for result in results:
        quiet[result.row, result.transport] = run_row(result, source, 0, options)
    for number in range(options.repeat):
        for result in results:
            tell(f"run {number + 1} of {options.repeat}: {result.row}, {result.transport}")
            sample = run_row(result, source, options.messages, options)
            result.samples.append(sample.less(quiet[result.row, result.transport]))
    for result in list(results):
        if any(sample.lost for sample in result.samples):
            results.append(slower := without_loss(result, quiet[result.row, result.transport], source, options))
            if REFERENCE in options.only:  # what it costs at the same rate: small reads are dear for everyone
                reference = Result(REFERENCE, result.transport, slower.rate, [])
                sample = run_row(reference, source, options.messages, options)
                reference.samples.append(sample.less(quiet[REFERENCE, result.transport]))
                results.append(reference)
    return results


def run_row(result: Result, source: Feed, messages: int, options: argparse.Namespace) -> Sample:
    row = ROWS[result.row]
    return run(row.receiver, source, result.transport, Load(int(messages * row.share), result.rate), options.folder)


def without_loss(result: Result, quiet: Sample, source: Feed, options: argparse.Namespace) -> Result:
    """What the row costs at a rate that it can keep up with. After some tries, with whatever it drops."""
    sample = result.middle
    rate = sample.messages / sample.seconds
    for _ in range(TRIES):
        rate *= SLOWER
        tell(f"events were dropped; {result.row}, {result.transport} at {rate:,.0f}/s")
        slower = Result(result.row, result.transport, rate, [])
        slower.samples.append(run_row(slower, source, options.messages, options).less(quiet))
        if not slower.middle.lost:
            break
    return slower


def tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def tell_verdict(results: list[Result]) -> None:
    for result in results:
        found = table.ratio(result, results)
        if result.row == "service" and found is not None:
            kept = "kept" if found <= TARGET else "MISSED"
            at = f" at {result.rate:,.0f}/s" if result.rate else ""
            print(f"{result.transport}{at}: a message costs {found:.3f} of what {REFERENCE} takes; target {TARGET}: {kept}")


if __name__ == "__main__":
    main()
