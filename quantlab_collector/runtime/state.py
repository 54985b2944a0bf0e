"""The one state object, and the frozen copy that everyone else may look at.

The parts of the process write here, each its own part, synchronously. The status page, the metrics and the log read
``snapshot()``, which shares nothing mutable with the state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import ConnectionWindow, Counters, Downtime, Gap
from quantlab_collector.contracts.rhythms import Rhythm
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.runtime.books import Books
from quantlab_collector.runtime.history import History, Point
from quantlab_collector.runtime.latencies import Latencies, LatencyView
from quantlab_collector.runtime.lifecycle import UP, Lifecycle, State
from quantlab_collector.runtime.obstacles import Obstacle
from quantlab_collector.runtime.raw_state import RawArchiveState
from quantlab_collector.runtime.recent_trades import RecentTrades
from quantlab_collector.runtime.signals import SignalState, SignalsView
from quantlab_collector.runtime.told import RecentlyTold, Told
from quantlab_collector.runtime.windows import Window

RATE_SECONDS = 10.0
"""``events_per_sec`` is the mean over so many seconds."""


@attrs.define(eq=False)
class ConnectionState:
    """One connection, through all its reconnects."""

    exchange: str
    name: str
    url: str
    topics: tuple[Topic, ...]
    lifecycle: Lifecycle = attrs.field(factory=Lifecycle)
    attempts: int = 0
    """Failed attempts in a row."""
    connects: int = 0
    """How often the socket was opened."""
    reconnects: int = 0
    """How often it was lost."""
    frames: int = 0
    received_bytes: int = 0
    last_frame_ns: int | None = None
    connected_ns: int | None = None
    lost_ns: int | None = None
    """When the data stopped, while it is down."""
    lost_reason: str = ""
    seen: Mapping[StreamType, Mapping[str, int]] = attrs.field(factory=dict)
    """When each symbol of each stream was last received on the present connection, ns."""
    seen_before: Mapping[Topic, int] = attrs.field(factory=dict)
    """The same of the connections before."""
    next_numbers: dict[str, int] = attrs.field(factory=dict)
    """Which number the exchange will give to the next trade of a symbol, where it numbers them without holes."""
    refused: dict[str, str] = attrs.field(factory=dict)
    """What the exchange would not subscribe, and its words."""
    rhythms: Mapping[StreamType, Rhythm] = attrs.field(factory=dict)
    """How often the exchange sends something."""


@attrs.define(eq=False)
class AlignmentState:
    """What REST told after reconnects. In RAM only."""

    fetches: int = 0
    events_seen: int = 0
    corrections: int = 0
    """Topics for which REST knew something newer than the socket had brought: something was missed."""
    baselines: dict[Topic, int] = attrs.field(factory=dict)
    """The newest exchange time of a topic, ns."""


@attrs.define(eq=False)
class WriterState:
    """What is on its way to the store."""

    segment: str | None = None
    segment_rows: int = 0
    segment_bytes: int = 0
    active_buffers: int = 0
    files_written: int = 0
    segments_committed: int = 0
    in_flight_uploads: int = 0
    uploading: dict[object, int] = attrs.field(factory=dict)
    """What the store is being asked for at present, and since when, ns."""
    upload_failures: int = 0
    sealed_segments: int = 0
    """Sealed, and not yet committed."""
    spool_bytes: int = 0
    last_commit_ns: int | None = None
    last_sync_ns: int | None = None
    oldest_buffered_ns: int | None = None
    """When the oldest event was received that is being collected."""
    oldest_waiting_ns: int | None = None
    """The same of what was collected before and is on its way to the disk."""
    storage_fault: str | None = None
    """What the store said last, and of which kind it is, while it does not do what it is asked for."""
    shipping_blocked: str | None = None
    """Why nothing may be shipped, although the store would take it. A person has to see to it."""
    upload_slots: int = 0
    """How many requests may be under way at once; fewer after the store has said that there are too many."""
    backlog_segments: int = 0
    """Encoded, of this process or an earlier one, and not yet committed."""
    backlog_bytes: int = 0
    """Of their parts, what is not in the store yet."""
    shipped_bytes: int = 0
    """Of parts, since the start."""
    oldest_seal_ns: int | None = None
    """When the oldest segment of the backlog was sealed."""
    obstacle: Obstacle | None = None
    """Why nothing can be recorded at present. It ends by itself."""
    obstacle_text: str = ""
    encode_fault: str | None = None
    """Why the oldest segment cannot be made into parts at present."""
    lost_at_stop: int = 0
    """Events that the disk did not take when the process had to go."""
    disk_free: int | None = None
    """Bytes that the disk of the spool still takes from us."""
    spool_max_bytes: int | None = None
    """What the spool may hold."""

    @property
    def oldest_unsynced_ns(self) -> int | None:
        """When the oldest event was received that the disk does not have yet."""
        return self.oldest_buffered_ns if self.oldest_waiting_ns is None else self.oldest_waiting_ns


@attrs.frozen
class ConnectionView:
    """A connection as seen at one instant."""

    exchange: str
    name: str
    url: str
    topics: tuple[Topic, ...]
    state: State
    since_ns: int
    reason: str
    attempts: int
    connects: int
    reconnects: int
    frames: int
    received_bytes: int
    last_frame_ns: int | None
    last_seen: Mapping[Topic, int]
    seen_before: Mapping[Topic, int]
    refused: Mapping[str, str]


@attrs.frozen
class Snapshot:
    """The whole state at one instant. Nothing in it changes any more."""

    instance: str
    version: str
    started_ns: int
    uptime: float
    counters: Counters
    drops: Mapping[tuple[str, str, str], int]
    """By exchange, stream and reason, since the start."""
    rejects: Mapping[tuple[str, str, str], int]
    queued: int
    queue_capacity: int
    queue_peak: int
    connections: tuple[ConnectionView, ...]
    writer: WriterState
    raw_archive: RawArchiveState
    events_per_sec: Mapping[str, float]
    """By stream, all exchanges together."""
    drops_15m: int
    reconnects_15m: int
    rejects_15m: int
    recovered_rows: int
    signals: SignalsView
    alignment_fetches: int
    alignment_events_seen: int
    alignment_corrections: int
    unknown: Mapping[tuple[str, str], int]
    """Messages of kinds that nobody asked for, by exchange and kind."""
    last_event_ns: int | None
    latencies: LatencyView
    rss_bytes: int
    fatal: str | None
    stopping: bool
    log_dropped: int
    """Lines of the log that nobody will read."""
    history: tuple[Point, ...]
    """Of the last 15 minutes; the times count from the start."""
    told: tuple[Told, ...]

    @property
    def queue_age(self) -> float:
        """Seconds since the oldest event was received that is in memory only; 0 when none is."""
        return self._seconds_since(self.writer.oldest_unsynced_ns)

    @property
    def upload_lag(self) -> float:
        """Seconds since the oldest segment was sealed that is not in the store; 0 when none waits."""
        return self._seconds_since(self.writer.oldest_seal_ns)

    def _seconds_since(self, ns: int | None) -> float:
        return 0.0 if ns is None else max(0.0, (self.started_ns - ns) / 1e9 + self.uptime)


@attrs.define(eq=False)
class ServiceState:
    """What the process knows about itself."""

    instance: str
    version: str
    started_ns: int
    started: float
    """The same instant on the monotonic clock."""
    queue_capacity: int
    books: Books = attrs.field(factory=Books)
    latencies: Latencies = attrs.field(factory=Latencies)
    connections: list[ConnectionState] = attrs.field(factory=list)
    writer: WriterState = attrs.field(factory=WriterState)
    raw_archive: RawArchiveState = attrs.field(factory=RawArchiveState)
    alignment: AlignmentState = attrs.field(factory=AlignmentState)
    unknown: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    signals: SignalState = attrs.field(factory=SignalState)
    windows_closed: list[ConnectionWindow] = attrs.field(factory=list)
    """Connections that ended since the last sealed segment."""
    downtime: Downtime | None = None
    """Before this process, until a sealed segment tells it."""
    queue_peak: int = 0
    rss_bytes: int = 0
    fatal: str | None = None
    stopping: bool = False
    log_dropped: Callable[[], int] = int
    trades: RecentTrades | None = None
    """Where they are kept for looking at."""
    told: RecentlyTold = attrs.field(factory=RecentlyTold)
    _history: History = attrs.field(factory=History)
    _drops: Window = attrs.field(factory=Window)
    _rejects: Window = attrs.field(factory=Window)
    _reconnects: Window = attrs.field(factory=Window)
    _received: dict[str, Window] = attrs.field(factory=dict)
    _sampled: float | None = None
    """When the windows were last fed."""

    def sample(self, now: float, rss_bytes: int) -> None:
        """Feed the windows; called about once a second."""
        accounts = self.books.accounts
        self.rss_bytes = rss_bytes
        self.latencies.turn(now)
        self._drops.sample(now, sum(account.dropped.total() for account in accounts.values()))
        self._rejects.sample(now, sum(account.rejected.total() for account in accounts.values()))
        self._reconnects.sample(now, sum(connection.reconnects for connection in self.connections))
        self.signals.sample(now)
        received: Counter[str] = Counter()
        for (_, stream), account in accounts.items():
            received[stream] += account.received
        self._history.sample(now - self.started, received)
        for stream, total in received.items():
            if stream not in self._received:
                self._received[stream] = Window(RATE_SECONDS + 1)
                if self._sampled is not None:
                    self._received[stream].sample(self._sampled, 0)  # at the last look there was none of it
            self._received[stream].sample(now, total)
        self._sampled = now

    @property
    def last_event_ns(self) -> int | None:
        """When the newest frame of data came."""
        return max((c.last_frame_ns for c in self.connections if c.last_frame_ns is not None), default=None)

    def snapshot(self, now: float) -> Snapshot:
        """A frozen copy; ``now`` on the monotonic clock."""
        accounts = self.books.accounts
        return Snapshot(
            instance=self.instance,
            version=self.version,
            started_ns=self.started_ns,
            uptime=now - self.started,
            counters=self.books.counters(),
            drops={(e, s, reason): n for (e, s), a in accounts.items() for reason, n in a.dropped.items()},
            rejects={(e, s, reason): n for (e, s), a in accounts.items() for reason, n in a.rejected.items()},
            queued=self.books.queued,
            queue_capacity=self.queue_capacity,
            queue_peak=self.queue_peak,
            connections=tuple(_view(connection) for connection in self.connections),
            writer=attrs.evolve(self.writer, uploading=dict(self.writer.uploading)),
            raw_archive=self.raw_archive.copy(),
            events_per_sec={stream: window.rate(RATE_SECONDS) for stream, window in self._received.items()},
            drops_15m=self._drops.change(),
            reconnects_15m=self._reconnects.change(),
            rejects_15m=self._rejects.change(),
            recovered_rows=self.books.recovered,
            signals=self.signals.view(open_gaps(self)),
            alignment_fetches=self.alignment.fetches,
            alignment_events_seen=self.alignment.events_seen,
            alignment_corrections=self.alignment.corrections,
            unknown=dict(self.unknown),
            last_event_ns=self.last_event_ns,
            latencies=self.latencies.view(),
            rss_bytes=self.rss_bytes,
            fatal=self.fatal,
            stopping=self.stopping,
            log_dropped=self.log_dropped(),
            history=self._history.points(),
            told=self.told.all(),
        )


def open_gaps(state: ServiceState) -> tuple[Gap, ...]:
    """Of the connections that have lost their data and not got it back."""
    return tuple(
        Gap(connection.exchange, connection.name, connection.lost_ns, None, connection.lost_reason)
        for connection in state.connections
        if connection.lost_ns is not None
    )


def last_seen(connection: ConnectionState) -> dict[Topic, int]:
    """When each topic was last received on the present connection, ns."""
    seen = connection.seen
    return {
        topic: seen[topic.stream][topic.symbol]
        for topic in connection.topics
        if topic.stream in seen and topic.symbol in seen[topic.stream]
    }


def _view(connection: ConnectionState) -> ConnectionView:
    return ConnectionView(
        exchange=connection.exchange,
        name=connection.name,
        url=connection.url,
        topics=connection.topics,
        state=connection.lifecycle.state,
        since_ns=connection.lifecycle.since_ns,
        reason=connection.lifecycle.reason,
        attempts=connection.attempts,
        connects=connection.connects,
        reconnects=connection.reconnects,
        frames=connection.frames,
        received_bytes=connection.received_bytes,
        last_frame_ns=connection.last_frame_ns,
        last_seen=last_seen(connection),
        seen_before=connection.seen_before,
        refused=dict(connection.refused),
    )


def any_up(snapshot: Snapshot) -> bool:
    """Whether at least one socket is open."""
    return any(connection.state in UP for connection in snapshot.connections)
