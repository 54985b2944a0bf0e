"""What an exchange offers. The seam between the exchanges and the rest, and pure: no sockets, no clocks, no Trio.

An exchange makes a *plan* (which connections, what is asked of each) and for every connection a *session*, which turns the
frames of that connection into a *harvest*: events, and what else the exchange said. A session is made anew with each connection,
so it never carries state across an outage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

import attrs

from quantlab_collector.contracts.events import Burst, Event, StreamType
from quantlab_collector.contracts.rhythms import Rhythm
from quantlab_collector.contracts.topics import Topic

# ---------------------------------------------------------------------------------------------------- what is asked for


@attrs.frozen
class Endpoints:
    """Where an exchange is found: scheme and host, without a path."""

    ws_url: str
    rest_url: str


@attrs.frozen
class Wanted:
    """What the user wants of one exchange. ``symbol_map`` leads from the collector's name to the exchange's own."""

    symbols: tuple[str, ...]
    streams: tuple[StreamType, ...]
    endpoints: Endpoints
    symbol_map: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class ConnectionPlan:
    """One connection: its name (unique within the exchange), its address, and what is asked on it."""

    exchange: str
    name: str
    url: str
    topics: tuple[Topic, ...]
    requests: tuple[bytes, ...]
    """The subscribe messages, to be sent in this order, ``Limits.request_gap`` apart."""
    symbol_map: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Limits:
    """What an exchange allows, so that the collector is never cut off or banned by its own doing."""

    connects: int
    """Connection attempts per ``connects_period`` seconds and address."""
    connects_period: float
    request_gap: float
    """Seconds between two messages of ours on one connection."""
    max_message_bytes: int = 4 * 1024 * 1024


@attrs.frozen
class Heartbeat:
    """What we send every ``interval`` seconds; an exchange that pings us needs none."""

    interval: float
    message: bytes
    when_quiet: bool = False
    """Only when nothing at all has come for ``interval`` seconds."""


# ------------------------------------------------------------------------------------------------------ what comes back


@attrs.frozen
class Subscribed:
    """A request was acknowledged. It proves nothing about data: only a first message does."""

    request: str
    topics: tuple[str, ...] = ()


@attrs.frozen
class Refused:
    """A request, or one topic of it, was refused."""

    topic: str | None
    """``str(Topic)`` where it is known which."""
    code: int | str | None
    text: str


@attrs.frozen
class Notice:
    """The exchange told us something; ``reconnect`` when the connection is about to be closed by it."""

    kind: str
    text: str
    reconnect: bool = False


@attrs.frozen
class Pong:
    """An answer to our heartbeat."""


@attrs.frozen
class Unknown:
    """A well-formed message of a kind that nobody asked for: counted, told once per kind."""

    kind: str


@attrs.frozen
class Hole:
    """Between two events of a symbol numbers were left out: so many events were missed."""

    stream: StreamType
    symbol: str
    since: int | None
    """When the event before was received, ns; ``None`` if that was on an earlier connection."""
    to: int
    missed: int


@attrs.frozen
class Repeat:
    """An event whose number had passed already. It is recorded like any other."""

    stream: StreamType
    symbol: str
    number: int


Outcome: TypeAlias = Subscribed | Refused | Notice | Pong | Unknown | Hole | Repeat


@attrs.frozen
class Reject:
    """One message that should have been an event and is not: the reason, and the frame as received."""

    reason: str
    stream: StreamType | None
    frame: bytes


class Harvest:
    """What one read from the socket yielded. Lists that are appended to, so that decoding costs no more than that."""

    __slots__ = ("bbo", "funding", "mark_price", "open_interest", "outcomes", "rejects", "replies", "trade")

    def __init__(self) -> None:
        self.bbo: list[Event] = []
        self.trade: list[Event] = []
        self.mark_price: list[Event] = []
        self.funding: list[Event] = []
        self.open_interest: list[Event] = []
        self.rejects: list[Reject] = []
        self.outcomes: list[Outcome] = []
        self.replies: list[bytes] = []
        """What the session wants to say now, such as the rest of a request that was refused for one topic of it."""

    def bursts(self, exchange: str) -> list[Burst]:
        """The events by stream, without the empty ones."""
        return [
            Burst(exchange, stream, events)
            for stream, events in (
                (StreamType.BBO, self.bbo),
                (StreamType.TRADE, self.trade),
                (StreamType.MARK_PRICE, self.mark_price),
                (StreamType.FUNDING, self.funding),
                (StreamType.OPEN_INTEREST, self.open_interest),
            )
            if events
        ]

    @property
    def events(self) -> list[Event]:
        """All events, stream by stream; for tests and tools, not for the way of an event."""
        return [*self.bbo, *self.trade, *self.mark_price, *self.funding, *self.open_interest]


class BinaryMessage(bytes):
    """A binary WebSocket message. A text message is plain ``bytes``: the exchanges here send nothing else."""

    __slots__ = ()


# ------------------------------------------------------------------------------------------------------- over REST

_T_co = TypeVar("_T_co", covariant=True)


@attrs.frozen
class RestRequest(Generic[_T_co]):
    """A GET, and how its answer is read. ``read`` raises ``ValueError`` when the answer is not what it should be."""

    path: str
    weight: int
    read: Callable[[bytes], _T_co]


@attrs.frozen
class Newest:
    """The newest exchange time of a topic, ns, as REST tells it. It is compared with, and never recorded."""

    topic: Topic
    ts_event: int


@attrs.frozen
class Instruments:
    """What trades now, by the exchange's own names, as far as one answer tells."""

    names: frozenset[str]
    cursor: str | None = None
    """Where the next answer goes on."""


@attrs.frozen
class RestLimits:
    """What an exchange allows, all requests of one address together."""

    weight: int
    period: float


class ExchangeRest(Protocol):
    """What is asked over REST: the instruments for ``check``, and the newest times after a reconnect."""

    @property
    def limits(self) -> RestLimits:
        """What is allowed."""
        ...

    def native(self, symbol: str, symbol_map: Mapping[str, str]) -> str:
        """The exchange's own name of a symbol."""
        ...

    def instruments(self, cursor: str | None = None) -> RestRequest[Instruments]:
        """What trades now."""
        ...

    def newest(self, topics: Sequence[Topic], symbol_map: Mapping[str, str]) -> list[RestRequest[list[Newest]]]:
        """The newest times of these topics, in as few requests as possible."""
        ...


class Session(Protocol):
    """The conversation on one connection."""

    @property
    def seen(self) -> Mapping[StreamType, Mapping[str, int]]:
        """When each symbol of each stream was last received, ns; absent until its first message."""
        ...

    @property
    def next_numbers(self) -> dict[str, int]:
        """The number of the next trade by symbol, where the exchange leaves none out; the session after this goes on with it."""
        ...

    def decode(self, frames: Sequence[bytes], ts_recv: int) -> Harvest:
        """Turn frames into events and outcomes. Never raises: what cannot be read is a ``Reject``."""
        ...


class Exchange(Protocol):
    """One exchange, or one market of it."""

    @property
    def name(self) -> str:
        """As it stands in the config, and in every row."""
        ...

    @property
    def streams(self) -> tuple[StreamType, ...]:
        """What it can deliver over WebSocket."""
        ...

    @property
    def endpoints(self) -> Endpoints:
        """Where it is found, unless the user says otherwise."""
        ...

    @property
    def limits(self) -> Limits:
        """What it allows."""
        ...

    @property
    def heartbeat(self) -> Heartbeat | None:
        """What it wants to hear from time to time."""
        ...

    @property
    def rest(self) -> ExchangeRest | None:
        """What is asked over REST; an exchange without it is recorded all the same."""
        ...

    @property
    def rhythms(self) -> Mapping[StreamType, Rhythm]:
        """How often it sends something, by stream, as far as that is known."""
        ...

    @property
    def units(self) -> Mapping[StreamType, str]:
        """The unit of quantities, by stream, as it stands in the metadata of each part."""
        ...

    def plan(self, wanted: Wanted) -> tuple[ConnectionPlan, ...]:
        """Spread what is wanted over connections."""
        ...

    def session(self, plan: ConnectionPlan) -> Session:
        """A new conversation for a new connection."""
        ...
