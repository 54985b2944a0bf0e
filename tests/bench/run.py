"""What recording costs: CPU of the whole service, next to what others take for the same bytes over the same connections.

    python tests/bench/run.py                                 all receivers on the same wire, and how the service compares
    python tests/bench/run.py --only wire service --symbols 150
    python tests/bench/run.py --sustained                     the service at 60 % of its highest rate for three minutes
    python tests/bench/run.py --growth                        10, 150 and 1,500 symbols at the same rate
    python tests/bench/run.py --minutes 60                    one long run, by tenths

Each row is a process of its own. What it costs is its CPU (all threads, user and system) from the first byte it is sent to its
end, when all is stored, less what the same process takes when nothing is sent. Machines differ and are busy: only the ratios
within one run say something, and each row is measured in turn, several times, so that all rows meet the same weather.

The queue of the service takes half a million events. Whether the writer keeps up with the sockets shows in longer runs only.
docs/performance.md tells how to read what comes out.
"""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

import pages
import table
import verdict
from compare import Comparison, missing
from endurance import MODES, Report
from measure import feed
from mix import EXCHANGES
from receivers import ROWS
from results import PLAIN, TLS


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000, help="a run; slow rows get fewer (default: %(default)s)")
    parser.add_argument("--symbols", type=int, help="default: 10; with --sustained 150, with --minutes 50")
    parser.add_argument("--exchange", nargs="+", choices=EXCHANGES, default=EXCHANGES, help="peers speak Binance only")
    parser.add_argument(
        "--captures", type=Path, metavar="DIR", help="play recorded frames instead, again and again; a verdict is only on the mix"
    )
    parser.add_argument("--rate", type=float, help="messages a second; default: as fast as they are read")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each row; the median counts (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=[name for name, row in ROWS.items() if not row.spare])
    parser.add_argument("--transport", nargs="+", choices=(PLAIN, TLS), default=(PLAIN, TLS))
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--sustained", type=float, nargs="?", const=180.0, metavar="SECONDS", help="default: %(const)s")
    modes.add_argument("--growth", type=float, nargs="?", const=300.0, metavar="SECONDS", help="of each run; default: %(const)s")
    modes.add_argument("--minutes", type=float)
    parser.add_argument("--folder", type=Path, help="where to record, if not where temporary files are: the disk matters")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the table there as well, into its place if it has one"
    )
    return parser.parse_args()


def main() -> None:
    options = arguments()
    mode = next((mode for mode in MODES if getattr(options, mode)), None)
    report = MODES[mode](options) if mode else compare_all(options)
    print(f"{report.title}\n\n{table.text(report.lines, report.words)}\n")
    for figure in report.figures:
        print(figure.line)
    if options.markdown:
        figures = "".join(f"- {figure.line}\n" for figure in report.figures)
        block = f"{report.title}\n\n{table.markdown(report.lines, report.words)}\n\n{figures}"
        pages.put(options.markdown, mode or "comparison", block)


def compare_all(options: argparse.Namespace) -> Report:
    """All receivers; peers that cannot be had here are named."""
    left_out = {name: why for name, why in missing().items() if name in options.only}
    with ExitStack() as stack:
        feeds = {name: stack.enter_context(feed(name, options.symbols or 10, options.captures)) for name in options.exchange}
        results = Comparison(feeds, options).measure(left_out)
        played = ", ".join(f"{name} {len(source.symbols)} symbols" for name, source in feeds.items())
    if options.json:
        options.json.write_text(json.dumps(table.plain(results, vars(options)), indent=1))
    where = table.machine()
    title = f"{played}; " + ", ".join(f"{name} {value}" for name, value in where.items())
    without = [(ROWS[name].title, why, *[""] * (len(table.HEADER) - 2)) for name, why in left_out.items()]
    figures = [] if options.captures else list(verdict.comparison(results, left_out))  # the targets are those of the mix
    return Report(title, [*table.rows(results), *without], figures, table.WORDS)


if __name__ == "__main__":
    main()
