"""What recording costs: CPU of the whole service, next to what others take for the same bytes over the same connections.

    python tests/bench/run.py --only wire service --symbols 150

Each row is a process of its own. What it costs is its CPU (all threads, user and system) from the first byte it is sent to its
end, when all is stored, less what the same process takes when nothing is sent. Machines differ and are busy: only the ratios
within one run say something, and each row is measured in turn, several times, so that all rows meet the same weather.

The queue of the service takes half a million events. Whether the writer keeps up with the sockets shows in longer runs only:
--sustained, --growth and --minutes. docs/performance.md tells how to read what comes out.
"""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

import table
import verdict
from compare import Comparison, missing, tell
from measure import feed
from mix import EXCHANGES
from receivers import ROWS
from results import PLAIN, TLS


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000, help="a run; slow rows get fewer (default: %(default)s)")
    parser.add_argument("--symbols", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--exchange", nargs="+", choices=EXCHANGES, default=EXCHANGES, help="peers speak Binance only")
    parser.add_argument("--captures", type=Path, metavar="DIR", help="play recorded frames instead, again and again")
    parser.add_argument("--rate", type=float, help="messages a second; default: as fast as they are read")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each row; the median counts (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=[name for name, row in ROWS.items() if not row.spare])
    parser.add_argument("--transport", nargs="+", choices=(PLAIN, TLS), default=(PLAIN, TLS))
    parser.add_argument("--folder", type=Path, help="where to record, if not where temporary files are: the disk matters")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there as well")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    left_out = {name: why for name, why in missing().items() if name in options.only}
    with ExitStack() as stack:
        feeds = {name: stack.enter_context(feed(name, options.symbols, options.captures)) for name in options.exchange}
        results = Comparison(feeds, options).measure(left_out)
    lines = table.rows(results)
    figures = list(verdict.comparison(results, left_out))
    print(table.text(lines))
    for name, why in left_out.items():
        print(f"{ROWS[name].title}: {why}")
    print()
    for figure in figures:
        print(figure.line)
    if options.json:
        options.json.write_text(json.dumps(table.plain(results, vars(options)), indent=1))
    if options.markdown:
        options.markdown.write_text(table.markdown(lines) + "\n\n" + "\n".join(f"- {figure.line}" for figure in figures) + "\n")
    tell("done")


if __name__ == "__main__":
    main()
