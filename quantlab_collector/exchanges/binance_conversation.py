"""What a conversation with any market of Binance has in common: what is no event, and how to look at a frame with patience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.exchanges.protocol import (
    ConnectionPlan,
    Harvest,
    Hole,
    Notice,
    Outcome,
    Refused,
    Reject,
    Repeat,
    Subscribed,
    Unknown,
)
from quantlab_collector.exchanges.reading import Unreadable, convert, parse, without_empty


class BinanceConversation:
    """One connection's conversation; a market adds how its events are read."""

    shapes: ClassVar[Mapping[str, tuple[type[Any], StreamType]]]
    """Event type → its shape as the patient way takes it, and the stream that a rejection counts for."""

    def __init__(self, plan: ConnectionPlan) -> None:
        self.seen: dict[StreamType, dict[str, int]] = {stream: {} for stream in StreamType}
        # Trades (of spot) and aggregates of them (of futures) are numbered without holes, for each symbol.
        self.next_numbers: dict[str, int] = {}
        # Only what was planned for this connection is recorded: the exchange does not get to choose our partitions.
        self._symbols: dict[StreamType, dict[str, str]] = {stream: {} for stream in StreamType}
        for topic in plan.topics:
            self._symbols[topic.stream][plan.symbol_map.get(topic.symbol, topic.symbol)] = topic.symbol

    def _record(self, data: Any, ts_recv: int, harvest: Harvest) -> str | None:
        """Put what was read with patience into the harvest, or say why not."""
        raise NotImplementedError

    def _after(self, number: int, symbol: str, ts_recv: int, harvest: Harvest) -> int:
        """The number that comes after this one; what was left out or comes again is told. Its reception is not noted yet."""
        expected = self.next_numbers.get(symbol, number)
        if number < expected:
            harvest.outcomes.append(Repeat(StreamType.TRADE, symbol, number))
            return expected
        if number > expected:
            before = self.seen[StreamType.TRADE].get(symbol)
            harvest.outcomes.append(Hole(StreamType.TRADE, symbol, before, ts_recv, number - expected))
        return number + 1

    def _kind(self, payload: Mapping[str, Any]) -> str | None:
        """The event type that a payload names."""
        kind = payload.get("e")
        return kind if isinstance(kind, str) else None

    def _read_carefully(self, frame: bytes, ts_recv: int, harvest: Harvest) -> None:
        try:
            message = parse(frame)
        except Unreadable as fault:
            harvest.rejects.append(Reject(fault.reason, None, frame))
            return
        payload = message.get("data") if isinstance(message, dict) and "stream" in message else message
        # Streams of all markets come as arrays; nobody asks for them, but one that comes is readable.
        for item in payload if isinstance(payload, list) else (payload,):
            if not isinstance(item, dict):
                harvest.rejects.append(Reject("not_an_object", None, frame))
            elif (kind := self._kind(item)) is not None:
                self._read_event(kind, item, frame, ts_recv, harvest)
            else:
                outcome = _outcome(item)
                if outcome is None:
                    harvest.rejects.append(Reject("no_event_type", None, frame))
                else:
                    harvest.outcomes.append(outcome)

    def _read_event(self, kind: str, payload: dict[str, Any], frame: bytes, ts_recv: int, harvest: Harvest) -> None:
        if kind == "serverShutdown":
            harvest.outcomes.append(Notice("serverShutdown", "the server is about to shut down", reconnect=True))
            return
        if kind not in self.shapes:
            harvest.outcomes.append(Unknown(kind))
            return
        shape, stream = self.shapes[kind]
        try:
            data = convert(without_empty(payload), shape)
        except Unreadable as fault:
            harvest.rejects.append(Reject(fault.reason, stream, frame))
            return
        reason = self._record(data, ts_recv, harvest)
        if reason is not None:
            harvest.rejects.append(Reject(reason, stream, frame))


def _outcome(message: dict[str, Any]) -> Outcome | None:
    """Acknowledgements and errors. An error comes as ``{"error":{…},"id":n}`` or bare; both are taken."""
    error = message.get("error", message)
    if isinstance(error, dict) and "msg" in error and "code" in error:
        code = error["code"]
        return Refused(None, code if isinstance(code, int | str) else None, str(error["msg"]))
    if "result" in message and "id" in message:
        return Subscribed(str(message["id"]))
    return None
