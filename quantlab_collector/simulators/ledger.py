"""What was sent, exactly: the list that a recording is held against.

An entry is one event that the kernel accepted for one connection, whole. It is entered after the send has returned, so an event
whose frame was cut by the end of its connection is not in the list. Events wait in columns of integers: a million of them take
about 30 MB.

With a file, every entry also becomes a line of CSV, so that a simulator in a process of its own can be compared with.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, NoReturn, TextIO

import trio

from quantlab_collector.contracts.events import StreamType

FLUSH_INTERVAL: Final = 0.2
_HEADER: Final = "connection,kind,symbol,number,exchange_ms,accepted_ns\n"


class Entry(NamedTuple):
    """One event that was sent on one connection."""

    connection: int
    kind: StreamType
    """The kind of message; a mark price message holds the funding rate too."""
    symbol: str
    number: int
    exchange_ms: int
    """What becomes ``ts_event``."""
    accepted_ns: int
    """The wall time at which the kernel had it."""


class _Page:
    """The entries of one kind and symbol."""

    __slots__ = ("accepted", "connections", "exchange", "numbers")

    def __init__(self) -> None:
        self.connections = array("i")
        self.numbers = array("q")
        self.exchange = array("q")
        self.accepted = array("q")

    def rows(self) -> Iterator[tuple[int, int, int, int]]:
        return zip(self.connections, self.numbers, self.exchange, self.accepted, strict=True)


class Ledger:
    """What was sent, by kind and symbol, in the order in which it was sent."""

    def __init__(self, file: Path | None = None) -> None:
        self._pages: dict[tuple[StreamType, str], _Page] = {}
        self._file: TextIO | None = None
        self._unwritten: list[str] = []
        self.total = 0
        """Entries so far."""
        if file is not None:
            self._file = file.open("w", encoding="ascii")
            self._file.write(_HEADER)
            self._file.flush()

    def record(self, entry: Entry) -> None:
        """Enter one event that was sent."""
        connection, kind, symbol, number, exchange_ms, accepted_ns = entry
        page = self._pages.get((kind, symbol))
        if page is None:
            page = self._pages[kind, symbol] = _Page()
        page.connections.append(connection)
        page.numbers.append(number)
        page.exchange.append(exchange_ms)
        page.accepted.append(accepted_ns)
        self.total += 1
        if self._file is not None:
            self._unwritten.append(f"{connection},{kind.value},{symbol},{number},{exchange_ms},{accepted_ns}\n")

    @property
    def totals(self) -> dict[tuple[StreamType, str], int]:
        """Entries by kind and symbol."""
        return {key: len(page.numbers) for key, page in self._pages.items()}

    def sent(self, kind: StreamType, symbol: str, connection: int | None = None) -> list[tuple[int, int, int]]:
        """The number, exchange time (ms) and accepted time (ns) of what was sent of one kind and symbol."""
        page = self._pages.get((kind, symbol))
        if page is None:
            return []
        return [
            (number, exchange_ms, accepted_ns)
            for owner, number, exchange_ms, accepted_ns in page.rows()
            if connection is None or owner == connection
        ]

    def entries(self, connection: int | None = None) -> Iterator[Entry]:
        """All entries, kind and symbol by kind and symbol."""
        for (kind, symbol), page in self._pages.items():
            for owner, number, exchange_ms, accepted_ns in page.rows():
                if connection is None or owner == connection:
                    yield Entry(owner, kind, symbol, number, exchange_ms, accepted_ns)

    def flush(self) -> None:
        """Hand what is new to the file system."""
        if self._file is not None and self._unwritten:
            self._file.writelines(self._unwritten)
            self._unwritten.clear()
            self._file.flush()

    def close(self) -> None:
        """Flush for the last time."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None


async def keep_flushed(ledger: Ledger) -> NoReturn:
    """Write what is new, again and again: whoever kills the process loses the last moment only."""
    while True:
        await trio.sleep(FLUSH_INTERVAL)
        ledger.flush()


def read_ledger(path: Path) -> Ledger:
    """Read the file of a ledger; a last line that was cut by the end of its process is left out."""
    ledger = Ledger()
    with path.open(encoding="ascii") as file:
        if next(file, None) != _HEADER:
            raise ValueError(f"not a ledger: {path}")
        for entry in _parse(file):
            ledger.record(entry)
    return ledger


def _parse(lines: Iterable[str]) -> Iterator[Entry]:
    for line in lines:
        if line.endswith("\n"):
            connection, kind, symbol, number, exchange_ms, accepted_ns = line.split(",")
            yield Entry(int(connection), StreamType(kind), symbol, int(number), int(exchange_ms), int(accepted_ns))
