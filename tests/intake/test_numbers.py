"""Holes in an exchange's numbers, in the flow and across an outage; and trades of which nobody has heard."""

from __future__ import annotations

import trio

from intake.test_supervisor import LOST, Exchange, Run, frame
from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.protocol import ConnectionPlan
from quantlab_collector.intake.quiet_trades import ask_about_quiet_trades
from quantlab_collector.runtime.account import account
from quantlab_collector.runtime.lifecycle import State
from quantlab_collector.runtime.notices import MISSING, MISSING_ACROSS
from quantlab_collector.runtime.state import ConnectionState, ServiceState

TRADE = StreamType.TRADE


def trade(number):
    return frame(number, "aggTrade")


async def test_a_hole_is_a_gap_of_one_symbol(autojump_clock):
    run = Run(Exchange(public=[[[frame(1)]]], market=[[[trade(1)], 2.0, [trade(2)], 3.0, [trade(10), trade(11)]]]))
    await run(10)

    (gap,) = account(run.state).gaps
    assert (gap.stream, gap.symbol, gap.missed, gap.reason) == ("trade", "BTCUSDT", 7, MISSING)
    assert (gap.since, gap.to) == (3_000_000_000, 6_000_000_000)
    assert run.state.signals.missed == {("binance", "trade"): 7}
    assert run.state.signals.gaps.total == 1
    assert run.log.told("gap_detected")[0]["missed"] == 7


async def test_a_hole_across_an_outage_belongs_to_it(autojump_clock):
    run = Run(Exchange(public=[[[frame(1)]]], market=[[[trade(1)], 2.0, LOST], [1.0, LOST], [1.0, [trade(9)], 1.0, [trade(9)]]]))
    await run(15)

    outage, hole = account(run.state).gaps
    assert (outage.stream, outage.missed) == (None, None)
    assert (hole.symbol, hole.missed, hole.reason) == ("BTCUSDT", 7, MISSING_ACROSS)
    # The connection between the two brought nothing; what counts is the last trade that came.
    assert hole.since == outage.since == 1_000_000_000
    assert hole.to == outage.to
    assert run.state.signals.gaps.total == 1
    assert run.state.signals.repeated == {("binance", "trade"): 1}


class Asked:
    def __init__(self):
        self.times = []

    def ask(self, plan, seen):
        assert not seen
        self.times.append((trio.current_time(), [topic.symbol for topic in plan.topics]))


async def test_the_exchange_is_asked_about_trades_that_do_not_come(autojump_clock, nursery):
    start = trio.current_time()
    topics = tuple(Topic("okx", TRADE, symbol) for symbol in ("AUSDT", "BUSDT", "CUSDT"))
    state, asked = ServiceState("a", "0", 0, 0.0, 100), Asked()
    connection = ConnectionState("okx", "public-0", "wss://localhost", (*topics, Topic("okx", StreamType.BBO, "AUSDT")))
    state.connections.append(connection)
    plan = ConnectionPlan("okx", "public-0", "wss://localhost", connection.topics, ())
    nursery.start_soon(ask_about_quiet_trades, (plan,), asked, state, 900.0)
    await trio.sleep(1_000)
    assert asked.times == []  # it was never up

    for to in (State.CONNECTING, State.CONNECTED, State.SUBSCRIBING, State.ACTIVE):
        connection.lifecycle.move(to, 0)
    connection.seen = {TRADE: {"BUSDT": 1}}
    connection.refused[str(topics[2])] = "not listed"
    await trio.sleep(3_000)
    assert [(round(now - start), symbols) for now, symbols in asked.times] == [(n, ["AUSDT"]) for n in (1_920, 2_820, 3_720)]

    connection.seen[TRADE]["AUSDT"] = 2
    await trio.sleep(3_000)
    assert len(asked.times) == 3
    nursery.cancel_scope.cancel()
