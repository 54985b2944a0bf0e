"""After a reconnect: asking the exchange what its newest is.

REST tells the newest exchange time of each topic. It becomes the topic's baseline, in RAM only: from there on it can be told
whether a topic that stays quiet has missed something or has nothing to say. Nothing of it is ever written or filled in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import trio

from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.protocol import ConnectionPlan, ExchangeRest
from quantlab_collector.intake.rest import RestClient, RestFault
from quantlab_collector.runtime.notices import AlignmentFailed, Notices


class Alignment:
    """The alignment of one exchange: connections ask for it when they are up again, one task does it."""

    def __init__(self, rest: ExchangeRest, client: RestClient, notices: Notices) -> None:
        self._rest = rest
        self._client = client
        self._notices = notices
        self._send, self._receive = trio.open_memory_channel[tuple[ConnectionPlan, Mapping[Topic, int]]](math.inf)

    def ask(self, plan: ConnectionPlan, seen: Mapping[Topic, int]) -> None:
        """A connection is up again; ``seen`` says when each topic was last received before."""
        self._send.send_nowait((plan, seen))

    async def run(self) -> None:
        """Align whatever is asked for, until cancelled."""
        async for plan, seen in self._receive:
            for request in self._rest.newest(plan.topics, plan.symbol_map):
                try:
                    found = await self._client.ask(request)
                except RestFault as fault:
                    self._notices.tell(AlignmentFailed(plan.exchange, plan.name, str(fault)))
                    continue
                alignment = self._notices.state.alignment
                alignment.fetches += 1
                alignment.events_seen += len(found)
                for newest in found:
                    # Exchange time against receive time: an event is received after it happened, so what happened after the last
                    # one was received was missed.
                    alignment.corrections += newest.ts_event > seen.get(newest.topic, newest.ts_event)
                    alignment.baselines[newest.topic] = newest.ts_event
