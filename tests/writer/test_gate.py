"""The gate in front of a store, on a virtual clock: who may ask, and when."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
import trio

from quantlab_collector.runtime.notices import Notices
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.storage.objects import FaultKind, StoreFault
from quantlab_collector.writer.gate import MAX_IN_FLIGHT, Gate
from quantlab_collector.writer.patience import Patience
from writer.workbench import Log

TAKES = 0.125
"""Seconds of one request. All times here are sums of powers of two: a virtual clock that has to round may never reach its mark."""


@attrs.define
class Request:
    at: float
    others: int
    """How many were under way already."""


@pytest.fixture
def desk():
    return Desk()


class Desk:
    """A gate, and a store behind it that answers as told."""

    def __init__(self):
        self.log = Log()
        self.state = ServiceState("a", "0.1.0", 0, 0.0, 100)
        self.requests = []
        self.renewals = []
        self.under_way = 0
        self.answer = lambda: None
        self.gate = Gate(
            self.call,
            lambda: self.renewals.append(trio.current_time()),
            Patience(1.0, 60.0),
            Notices(self.state, self.log),
            lambda: 0.5,
        )

    async def call(self, work):
        if work == self.gate._renew:
            return work()
        self.requests.append(Request(trio.current_time(), self.under_way))
        self.under_way += 1
        try:
            await trio.sleep(TAKES)
            return work()
        finally:
            self.under_way -= 1

    async def ask(self):
        await self.gate.until_done("part", lambda: self.answer())

    async def ask_for_ever(self):
        while True:
            await self.ask()

    async def keep_asking(self, seconds, tasks=MAX_IN_FLIGHT):
        """How many requests there were."""
        before = len(self.requests)
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(tasks):
                    nursery.start_soon(self.ask_for_ever)
        return len(self.requests) - before


def refusing(kind=FaultKind.TRANSIENT, retry_after=None):
    def answer():
        raise StoreFault("no", kind, retry_after)

    return answer


async def test_no_more_than_sixteen_at_once(autojump_clock, desk):
    await desk.keep_asking(10, tasks=100)
    assert max(request.others for request in desk.requests) == MAX_IN_FLIGHT - 1


async def test_s1_a_store_that_is_down_is_asked_by_one_at_a_time_and_ever_more_rarely(autojump_clock, desk):
    desk.answer = refusing()
    await desk.keep_asking(3600)
    first = [request for request in desk.requests if request.at == 0]
    later = [request for request in desk.requests if request.at > 0]
    assert len(first) == MAX_IN_FLIGHT
    assert {request.others for request in later} == {0}
    waits = [b.at - a.at - TAKES for a, b in pairwise(later)]
    assert waits[:6] == [1.5, 3, 6, 12, 24, 45]
    assert set(waits[6:]) == {45}
    assert desk.state.writer.storage_fault == "transient: no"


async def test_the_first_success_opens_it_for_all(autojump_clock, desk):
    desk.answer = refusing()
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_IN_FLIGHT):
            nursery.start_soon(desk.ask)
        await trio.sleep(20)
        assert desk.state.writer.storage_fault is not None
        desk.answer = lambda: None
    last = [request for request in desk.requests if request.at > 20]
    assert len(last) == MAX_IN_FLIGHT
    assert [request.others for request in last] == [0, *range(15)]  # one alone, then all the others together
    assert desk.state.writer.storage_fault is None
    assert desk.log.told("store_recovered") == [{"failures": 5}]


async def test_what_fails_together_is_one_failure(autojump_clock, desk):
    desk.answer = refusing()
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_IN_FLIGHT):
            nursery.start_soon(desk.ask)
        await trio.sleep(0.5)
        desk.answer = lambda: None
    assert desk.log.told("store_recovered") == [{"failures": 1}]
    assert desk.state.writer.upload_failures == MAX_IN_FLIGHT


async def test_news_from_before_the_gate_closed_are_old(autojump_clock, desk):
    """A request that was under way all the time fails after the store has come back: nobody is held up by that."""

    attempts = []

    def dawdle():
        attempts.append(trio.current_time())
        if len(attempts) == 1:
            raise StoreFault("timed out")

    async def call(work):
        if work is dawdle:
            await trio.sleep(8)
            return work()
        return await Desk.call(desk, work)

    desk.gate._call = call
    desk.answer = refusing()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.gate.until_done, "dawdling", dawdle)
        nursery.start_soon(desk.ask)
        await trio.sleep(0.5)
        desk.answer = lambda: None
        await trio.sleep(7)
        assert desk.gate.is_open()
        await trio.sleep(1)
        assert desk.state.writer.upload_failures == 2
        assert desk.gate.is_open()
    assert attempts == [8, 16]


async def test_good_news_from_before_the_gate_closed_are_old_too(autojump_clock, desk):
    """What was let in before does not shorten a wait that the store has asked for."""
    desk.answer = refusing(FaultKind.THROTTLED, 100.0)

    async def call(work):
        await trio.sleep(8 if work is None else 0)
        return None if work is None else await Desk.call(desk, work)

    desk.gate._call = call
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.gate.until_done, "dawdling", None)
        nursery.start_soon(desk.ask)
        await trio.sleep(50)
        assert not desk.gate.is_open()
        assert desk.state.writer.upload_slots == 8
        desk.answer = lambda: None
    assert [request.at for request in desk.requests] == [0, 100 + TAKES]


async def test_s2_throttling_makes_requests_at_least_four_times_rarer(autojump_clock, desk):
    healthy = await desk.keep_asking(60)
    desk.answer = refusing(FaultKind.THROTTLED)
    throttled = await desk.keep_asking(60)
    assert throttled * 4 <= healthy
    # By far: sixteen at first, then one at a time, and ever more rarely.
    assert throttled <= MAX_IN_FLIGHT + 5
    assert desk.state.writer.upload_slots == 1


async def test_s2_a_store_that_takes_some_gets_what_it_takes(autojump_clock, desk):
    """It takes five a second, and refuses what is more."""
    taken = []

    def answer():
        now = trio.current_time()
        if sum(at > now - 1 for at in taken) >= 5:
            raise StoreFault("slow down", FaultKind.THROTTLED, 1.0)
        taken.append(now)

    healthy = await desk.keep_asking(60)
    desk.answer = answer
    requests = await desk.keep_asking(600) / 10
    assert requests * 4 <= healthy
    assert len(taken) / 10 > 60  # an upload a second and more gets through
    desk.answer = lambda: None
    await desk.keep_asking(60)
    assert desk.state.writer.upload_slots == MAX_IN_FLIGHT


async def test_s2_slots_halve_to_one_and_come_back_one_by_one(autojump_clock, desk):
    shown, seen = desk.state.writer, []
    answers = iter([refusing(FaultKind.THROTTLED)] * 6 + [lambda: None] * 17)

    def answer():
        seen.append(shown.upload_slots)
        next(answers)()

    desk.answer = answer
    for _ in range(17):
        await desk.ask()
    assert seen == [16, 8, 4, 2, 1, 1, 1, *range(2, 17), 16]


async def test_s2_retry_after_is_honoured(autojump_clock, desk):
    desk.answer = refusing(FaultKind.THROTTLED, 100.0)
    await desk.keep_asking(350)
    later = sorted({request.at for request in desk.requests})
    assert later[:4] == pytest.approx([0, 100.125, 200.25, 300.375])


@pytest.mark.parametrize("kind", [FaultKind.AUTH, FaultKind.CLOCK, FaultKind.CONFIG])
async def test_s7_s8_no_hot_loop_where_a_person_is_needed(autojump_clock, desk, kind):
    desk.answer = refusing(kind)
    await desk.keep_asking(3600)
    later = [request.at for request in desk.requests if request.at > 0]
    assert len(desk.requests) - len(later) == MAX_IN_FLIGHT
    assert min(b - a for a, b in pairwise([0.0, *later])) >= 30
    assert desk.state.writer.storage_fault == f"{kind}: no"


async def test_s7_credentials_are_read_again_before_each_attempt(autojump_clock, desk):
    desk.answer = refusing(FaultKind.AUTH)
    await desk.keep_asking(3600)
    assert desk.renewals == [request.at for request in desk.requests if request.at > 0]
    desk.renewals.clear()
    desk.answer = lambda: None
    await desk.keep_asking(200)
    assert len(desk.renewals) == 1


async def test_s7_credentials_that_cannot_be_read_are_a_fault_like_another(autojump_clock, desk):
    broken = refusing(FaultKind.TRANSIENT)
    readable = desk.gate._renew

    async def call(work):
        if work is broken:
            return work()
        return await Desk.call(desk, work)

    desk.gate._call = call
    desk.answer = refusing(FaultKind.AUTH)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.ask)
        await trio.sleep(1)
        desk.gate._renew = broken
        await trio.sleep(100)
        assert len(desk.requests) == 1  # not with credentials that are known to be wrong
        desk.gate._renew = readable
        desk.answer = lambda: None
    assert len(desk.renewals) == 1


async def test_what_goes_past_the_line_is_tried_once_and_tells_all(autojump_clock, desk):
    desk.answer = refusing()
    with pytest.raises(StoreFault):
        await desk.gate.at_once("claim", desk.answer, desk.call)
    assert not desk.gate.is_open()
    assert desk.state.writer.storage_fault == "transient: no"
    desk.answer = lambda: None
    await desk.gate.at_once("claim", desk.answer, desk.call)
    assert trio.current_time() == 2 * TAKES
    assert desk.gate.is_open()
    assert desk.state.writer.storage_fault is None


async def test_a_file_that_fails_for_ever_does_not_hold_up_the_others(autojump_clock, desk):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.gate.until_done, "bad", refusing())
        async with trio.open_nursery() as good:
            for _ in range(100):
                good.start_soon(desk.ask)
        nursery.cancel_scope.cancel()
    assert desk.state.writer.upload_failures <= 100
