"""Log line and counter move together; floods are held back; what a peer writes is made harmless."""

from __future__ import annotations

from typing import Any

import pytest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.manifest import ConnectionWindow, Gap
from quantlab_collector.runtime import notices as told
from quantlab_collector.runtime.lifecycle import Lifecycle, State
from quantlab_collector.runtime.notices import MAX_SUBJECTS, MAX_TEXT, MAX_UNKNOWN_KINDS, Notices
from quantlab_collector.runtime.state import ConnectionState, ServiceState

BBO, TRADE = StreamType.BBO, StreamType.TRADE


class Desk:
    """Notices, the state they count in, the log they are written to, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.state = ServiceState("a", "0.1.0", started_ns=0, started=0.0, queue_capacity=100)
        self.now = 0.0
        self.lines: list[tuple[int, str, dict[str, Any]]] = []
        self.notices = Notices(self.state, self, lambda: self.now)

    def log(self, level: int, event: str, **fields: Any) -> None:
        self.lines.append((level, event, fields))

    def tell(self, *notices: told.Notice) -> list[dict[str, Any]]:
        """The fields of the lines that these made."""
        before = len(self.lines)
        for notice in notices:
            self.notices.tell(notice)
        return [fields for _, _, fields in self.lines[before:]]


@pytest.fixture
def desk() -> Desk:
    return Desk()


# --------------------------------------------------------------------------------------------------------------- floods


def rejected(reason: str = "not_json", exchange: str = "okx") -> told.FrameRejected:
    return told.FrameRejected(exchange, TRADE, reason, b"{")


def test_a_flood_is_told_once_a_second_and_says_how_many_were_held_back(desk: Desk) -> None:
    assert len(desk.tell(*[rejected()] * 100)) == 1
    desk.now = 0.999
    assert desk.tell(rejected()) == []
    desk.now = 1.0
    assert [line["held_back"] for line in desk.tell(rejected())] == [100]
    desk.now = 5.0
    assert ["held_back" in line for line in desk.tell(rejected())] == [False]


def test_counting_is_never_throttled(desk: Desk) -> None:
    desk.tell(*[rejected()] * 1000)

    assert desk.state.books.account("okx", TRADE).rejected == {"not_json": 1000}
    assert desk.state.books.counters().holds


def test_each_subject_is_told(desk: Desk) -> None:
    lines = desk.tell(rejected("a"), rejected("b"), rejected("a"), rejected("a", "bybit"))

    assert [(line["exchange"], line["reason"]) for line in lines] == [("okx", "a"), ("okx", "b"), ("bybit", "a")]


def test_kinds_do_not_hold_each_other_back(desk: Desk) -> None:
    queue, rejection = told.QueueFullDrop("okx", BBO, 1), rejected("a")

    assert len(desk.tell(queue, rejection, queue, rejection)) == 2


def test_what_is_no_flood_is_always_told(desk: Desk) -> None:
    assert len(desk.tell(*[told.WsDisconnect("okx", "public-0", "closed", 1, 1.0)] * 5)) == 5


def test_an_unknown_kind_is_told_once_and_counted_always(desk: Desk) -> None:
    news = told.UnknownMessage("okx", "news")
    assert desk.tell(news, news) == [{"exchange": "okx", "kind": "news"}]
    desk.now = 1000.0
    assert desk.tell(news) == []

    assert desk.state.unknown == {("okx", "news"): 3}


def test_a_peer_that_invents_names_fills_neither_memory_nor_log(desk: Desk) -> None:
    count = 3 * MAX_SUBJECTS
    lines = desk.tell(*[told.UnknownMessage("okx", f"kind {number}") for number in range(count)])
    lines += desk.tell(*[told.SubscribeRefused("okx", "public-0", f"topic {number}", 1, "no") for number in range(count)])

    assert len(lines) <= MAX_SUBJECTS + 2
    assert len(desk.notices._told) + len(desk.notices._held_back) <= MAX_SUBJECTS + 4
    assert len(desk.state.unknown) == MAX_UNKNOWN_KINDS + 1
    assert desk.state.unknown.total() == count


# ------------------------------------------------------------------------------------------------------- texts of peers


EVIL = 'a\x1b[2J\r\n{"event":"forged"}\x00\u2028\u202e\ud800b'


def fits(value: object) -> bool:
    """Whether a value can be shown anywhere: printable, encodable, short."""
    if isinstance(value, str):
        return value.isprintable() and len(value.encode()) <= 12 * MAX_TEXT
    if isinstance(value, tuple):
        return all(fits(item) for item in value)
    if isinstance(value, dict):
        return all(fits(item) for pair in value.items() for item in pair)
    return isinstance(value, int | float)


@pytest.mark.parametrize(
    "notice",
    [
        told.FrameRejected("okx", TRADE, "not_json", EVIL.encode("utf-8", "surrogatepass")),
        told.FrameRejected("okx", TRADE, "not_json", b"\xff\xfe\x00" * 1_000_000),
        told.FrameRejected("okx", TRADE, "not_json", "😀".encode() * 1_000_000),
        told.ExchangeNotice("okx", "public-0", EVIL, EVIL),
        told.SubscribeRefused("okx", "public-0", EVIL, EVIL, "\x07" * 10_000),
        told.WsDisconnect("okx", "public-0", EVIL, 1, None),
        told.UnknownMessage("okx", EVIL),
        told.UploadFailed(EVIL, EVIL, EVIL, 1.0),
        told.StateChange("READY", "DEGRADED", (EVIL, EVIL)),
        told.SegmentRecovered("1-1", 1, (EVIL,)),
        told.CollectorStart("0.1.0", "a", EVIL, {EVIL: 1}),
    ],
    ids=lambda notice: notice.event,
)
def test_control_characters_of_a_peer_never_reach_the_log(desk: Desk, notice: told.Notice) -> None:
    (fields,) = desk.tell(notice)

    assert all(fits(value) for value in fields.values())


def test_a_text_stays_readable(desk: Desk) -> None:
    (fields,) = desk.tell(told.ExchangeNotice("okx", "public-0", "notice", "Wartung um 12:00 Uhr – 維護\n"))

    assert fields["text"] == "Wartung um 12:00 Uhr – 維護\\n"


def test_a_frame_is_cut(desk: Desk) -> None:
    (fields,) = desk.tell(told.FrameRejected("okx", None, "not_json", b"x" * 1000))

    assert fields["frame"] == "x" * MAX_TEXT + "…"
    assert "stream" not in fields


# ------------------------------------------------------------------------------------------------------------- counters


def test_stopping(desk: Desk) -> None:
    desk.tell(told.Stopping("SIGTERM", 5))

    assert desk.state.stopping


def test_a_gap_stands_in_the_next_manifest(desk: Desk) -> None:
    desk.tell(told.GapDetected("okx", "public-0", 1, 2, 0.1, "closed"))

    assert desk.state.signals.gaps.untold == [Gap("okx", "public-0", 1, 2, "closed")]


@pytest.mark.parametrize(("connected_ns", "since"), [(5, 5), (None, 9)])
def test_a_window_of_a_connection_stands_in_the_next_manifest(desk: Desk, connected_ns: int | None, since: int) -> None:
    connection = ConnectionState("okx", "public-0", "wss://localhost", (), Lifecycle(State.ACTIVE), connected_ns=connected_ns)

    (fields,) = desk.tell(told.ConnectionEnded(connection, 9, "closed"))

    assert fields == {"exchange": "okx", "connection": "public-0", "to": 9, "reason": "closed"}
    assert desk.state.windows_closed == [ConnectionWindow("okx", "public-0", since, 9, "closed")]


def test_a_message_nobody_can_place_is_rejected_as_unreadable(desk: Desk) -> None:
    desk.tell(told.FrameRejected("okx", None, "not_json", b"{"))

    assert desk.state.books.counters().by_stream["okx/unreadable"].rejected == 1


def test_the_store_fails_and_takes_data_again(desk: Desk) -> None:
    writer = desk.state.writer
    desk.tell(*[told.UploadFailed("part", "throttled", "slow down", 1.0)] * 3)
    assert (writer.upload_failures, writer.storage_fault) == (3, "throttled: slow down")

    desk.tell(told.StoreRecovered(3))
    assert writer.storage_fault is None

    desk.tell(told.SegmentCommitted("1-1", rows=10, parts=4, bytes=100, recovered=False, seconds=0.5))
    assert (writer.files_written, writer.segments_committed) == (4, 1)


def test_another_collector_is_in_the_way_and_leaves(desk: Desk) -> None:
    writer = desk.state.writer
    (refused,) = desk.tell(told.ShippingRefused("a", EVIL, "2026-01-01T00:00:00+00:00", "another collector"))
    assert writer.shipping_blocked == "another collector"
    assert "\x1b" not in refused["host"]

    desk.tell(told.ShippingClaimed("a", 2, "there"))
    assert writer.shipping_blocked is None

    desk.tell(told.ShippingTakenOver("a", "there", "2026-01-01T00:00:00+00:00", "taken over"))
    assert writer.shipping_blocked == "taken over"

    desk.tell(told.ForeignManifest("1-1", "_manifests/x", "not ours"))
    assert writer.shipping_blocked == "not ours"


def test_a_drop_is_booked_by_the_outlet_and_only_told_here(desk: Desk) -> None:
    (fields,) = desk.tell(told.QueueFullDrop("okx", BBO, 3))

    assert fields == {"exchange": "okx", "stream": "bbo", "dropped": 3, "reason": "queue_full"}
    assert desk.state.books.counters().dropped == 0


def test_a_drop_out_of_the_hands_of_the_writer_is_booked_here(desk: Desk) -> None:
    desk.state.books.receive("okx", BBO, 5, 0, "")
    desk.state.books.buffer("okx", BBO, 5)
    desk.tell(told.LostAtStop("okx", BBO, 3, "no space left"))

    assert desk.state.books.account("okx", BBO).dropped == {"stopped": 3}
    assert desk.state.writer.lost_at_stop == 3
    assert desk.state.books.counters().holds


def test_every_kind_has_a_name_of_its_own() -> None:
    kinds = [kind for kind in vars(told).values() if isinstance(kind, type) and issubclass(kind, told.Notice)]
    names = [kind.event for kind in kinds if kind is not told.Notice]

    assert len(names) == len(set(names)) > 15
    assert {kind.level for kind in kinds} <= {10, 20, 30, 40}
