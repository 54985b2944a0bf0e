"""Which of the wanted symbols an exchange does not list. It is told by name; the rest is recorded all the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NoReturn

import trio

from quantlab_collector.exchanges.protocol import ConnectionPlan, ExchangeRest
from quantlab_collector.intake.rest import RestClient, RestFault
from quantlab_collector.runtime.notices import InstrumentsUnknown, Notices, SymbolUnlisted

ASK_EVERY = 3600.0
MAX_PAGES = 50
NOT_LISTED = "the exchange does not list it"


async def unlisted(
    rest: ExchangeRest, client: RestClient, symbols: Iterable[str], symbol_map: Mapping[str, str]
) -> tuple[str, ...]:
    """The symbols that do not trade now, in the collector's names. Raises ``RestFault``."""
    names: set[str] = set()
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.ask(rest.instruments(cursor))
        names |= page.names
        cursor = page.cursor
        if cursor is None:
            break
    return tuple(  # noqa: ASYNC910 - there is a first page to ask for
        symbol for symbol in symbols if rest.native(symbol, symbol_map) not in names
    )


async def watch_listing(
    exchange: str, plans: tuple[ConnectionPlan, ...], rest: ExchangeRest, client: RestClient, notices: Notices
) -> NoReturn:
    """Ask at the start and every hour: symbols are delisted while we record."""
    told: set[str] = set()
    while True:
        told |= await tell_unlisted(exchange, plans, rest, client, notices, told=told)
        await trio.sleep(ASK_EVERY)


async def tell_unlisted(
    exchange: str,
    plans: tuple[ConnectionPlan, ...],
    rest: ExchangeRest,
    client: RestClient,
    notices: Notices,
    *,
    told: Collection[str] = (),
) -> set[str]:
    """Ask once, tell each symbol that was not told before, and leave a word at its topics; what is missing now."""
    symbols = dict.fromkeys(topic.symbol for plan in plans for topic in plan.topics)
    try:
        missing = set(await unlisted(rest, client, symbols, plans[0].symbol_map if plans else {}))
    except RestFault as fault:
        notices.tell(InstrumentsUnknown(exchange, str(fault)))
        return set()  # noqa: ASYNC910 - unlisted() has asked
    for symbol in sorted(missing.difference(told)):
        notices.tell(SymbolUnlisted(exchange, symbol))
    for connection in notices.state.connections:
        for topic in connection.topics:
            if topic.exchange == exchange and topic.symbol in missing:
                connection.refused.setdefault(str(topic), NOT_LISTED)
    return missing  # noqa: ASYNC910 - and here too
