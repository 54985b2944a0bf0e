"""Two collectors with one name: exactly one of them ships, the other one says so, and nobody loses anything."""

from __future__ import annotations

import json
import shutil
import threading
from contextlib import suppress

import pytest
import trio

from quantlab_collector.contracts.events import Burst, StreamType
from quantlab_collector.contracts.layout import newest_owner_key, owner_key
from quantlab_collector.contracts.units import Seconds
from quantlab_collector.runtime.health import ServiceHealth, assess
from quantlab_collector.storage import recording
from quantlab_collector.storage.claims import OWNER_FILE, Claims
from quantlab_collector.storage.objects import StoreFault
from quantlab_collector.storage.spool import Spool
from storage.samples import bbo
from writer.stores import Store
from writer.workbench import Bench, options_with, until

TAKEOVER = 40.0
"""Never passes in a test: an object is made old by giving it an older date."""
FAST = 100
"""The rate of the clock where signs of life are waited for, which come every ten seconds."""


def burst(first, count):
    return [Burst("x", StreamType.BBO, [bbo(n) for n in range(first, first + count)])]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "data")


@pytest.fixture
def make(tmp_path, store):
    def make(spool, instance="a", takeover_after=TAKEOVER):
        options = options_with(
            flush=0.05, retry_first=Seconds(0.01), retry_cap=Seconds(0.02), takeover_after=Seconds(takeover_after)
        )
        return Bench(tmp_path, objects=store, instance=instance, spool=spool, options=options)

    return make


def claim(store, number, instance="a"):
    return json.loads((store.root / owner_key(instance, number)).read_bytes())


def claims(store, instance="a"):
    return sorted(int(path.stem) for path in (store.root / "_owners" / f"instance={instance}").glob("0*.json"))


def spool_name(bench):
    return json.loads((bench.spool / OWNER_FILE).read_bytes())["spool"]


async def record(bench, count=10, first=0):
    """Everything from the start to the drained end."""
    async with bench.writing() as outlet:
        outlet.offer(burst(first, count))


async def killed(bench, count=10):
    """Ships something, and is gone without a farewell."""
    with trio.CancelScope() as scope:
        async with bench.writing() as outlet:
            outlet.offer(burst(0, count))
            await until(lambda: bench.identity.written == count)
            scope.cancel()


# --------------------------------------------------------------------------------------------------------- one of them


async def test_the_first_one_claims_and_a_restart_goes_on_at_once(make, store):
    await killed(make("one"))
    assert claims(store) == [1]
    first = claim(store, 1)
    again = make("one")
    await record(again)
    assert claims(store) == [1]
    assert again.log.told("shipping_claimed") == [{"instance": "a", "claim": 1}]
    assert not again.log.told("shipping_refused")
    assert claim(store, 1)["spool"] == first["spool"] == spool_name(again)
    assert claim(store, 1)["process"] != first["process"]
    assert again.stored().rows == 20


async def test_who_leaves_in_peace_leaves_the_place(make, store):
    """A container that is replaced brings a new spool. It must not wait."""
    await record(make("one"))
    assert claim(store, 1)["released"]
    second = make("two")
    await record(second)
    assert claims(store) == [1, 2]
    assert not second.log.told("shipping_refused")
    assert second.log.told("shipping_claimed") == [{"instance": "a", "claim": 2, "after": claim(store, 1)["host"]}]
    assert second.stored().rows == 20


async def test_one_that_is_started_again_holds_the_place_that_it_had_left(make, store):
    await record(make("one"))
    await killed(make("one"))
    assert not claim(store, 1)["released"]
    await refused(make("two"))


async def refused(bench):
    """It records, ships nothing, and leaves in time."""
    async with bench.writing() as outlet:
        outlet.offer(burst(0, 10))
        await until(lambda: bench.log.told("shipping_refused"))
    assert (bench.identity.written, bench.identity.pending) == (0, 10)
    assert bench.state.writer.backlog_segments == 1


async def test_s11_the_second_one_waits_and_says_so(make, store):
    one, two = make("one"), make("two")
    async with one.writing() as outlet:
        outlet.offer(burst(0, 10))
        await until(lambda: one.identity.written == 10)
        store.requests.clear()
        await refused(two)
        assert store.keys("put", "put_new", among="exchange=") == store.keys("put_new") == []
        outlet.offer(burst(10, 5))
        await until(lambda: one.identity.written == 15)
    host = claim(store, 1)["host"]
    text = f"another collector ships as instance 'a' (host {host}): give each its own collector.instance_id"
    (told,) = two.log.told("shipping_refused")
    assert told == {"instance": "a", "host": host, "since": claim(store, 1)["claimed"], "text": text}
    assert two.state.writer.shipping_blocked == text
    assert one.state.writer.shipping_blocked is None
    assessment = assess(two.state.snapshot(0.0))
    assert (assessment.state, assessment.reasons) == (ServiceHealth.ERROR, (text,))
    # Nothing is lost: when the first one has gone, the second one ships.
    await record(make("two"))
    assert make("one").stored().rows == 10 + 5 + 10 + 10


async def test_s11_the_way_out_of_the_conflict_is_another_name(make):
    one = make("one")
    async with one.writing() as outlet:
        outlet.offer(burst(0, 10))
        await until(lambda: one.identity.written == 10)
        await refused(make("two"))
        renamed = make("two", instance="b")
        await record(renamed, count=7)
        assert renamed.state.books.recovered == 10
        assert renamed.identity.written == 7
    assert one.stored().rows == 27


async def test_different_names_in_one_place_do_not_see_each_other(make, store):
    one, two = make("one", "a"), make("two", "b")
    async with one.writing() as first, two.writing() as second:
        for n in range(5):
            first.offer(burst(n * 10, 10))
            second.offer(burst(n * 10, 10))
            await until(lambda n=n: one.identity.written == two.identity.written == 10 * (n + 1))
    assert claims(store, "a") == claims(store, "b") == [1]
    assert not one.log.told("shipping_refused") + two.log.told("shipping_refused")
    summary = one.stored()
    assert (summary.rows, summary.manifests) == (100, 10)


# ------------------------------------------------------------------------------------------------------- taking over


async def test_who_was_quiet_for_long_has_lost_the_place(make, store):
    await killed(make("one"))
    store.age(owner_key("a", 1), TAKEOVER + 1)
    second = make("two")
    await record(second)
    assert claims(store) == [1, 2]
    assert claim(store, 2)["spool"] == spool_name(second)
    assert second.stored().rows == 20


async def test_who_was_quiet_for_less_has_not(make, store):
    await killed(make("one"))
    store.age(owner_key("a", 1), TAKEOVER - 10)
    await refused(make("two"))
    assert claims(store) == [1]


async def test_the_one_who_waits_ships_when_the_other_has_gone_quiet(mock_clock, make, store):
    mock_clock.rate = 1
    await killed(make("one"))
    second = make("two")
    async with second.writing() as outlet:
        outlet.offer(burst(0, 10))
        await until(lambda: second.log.told("shipping_refused"))
        store.age(owner_key("a", 1), TAKEOVER + 1)
        mock_clock.rate = FAST
        await until(lambda: second.identity.written == 10, limit=10_000)
        assert second.state.writer.shipping_blocked is None
    assert len(second.log.told("shipping_refused")) == 1
    assert second.stored().rows == 20


async def test_s11_the_one_that_was_taken_over_stops_before_its_next_manifest(make, store):
    one, two = make("one"), make("two")
    async with one.writing() as first:
        first.offer(burst(0, 10))
        await until(lambda: one.identity.written == 10)
        store.age(owner_key("a", 1), TAKEOVER + 1)
        async with two.writing() as second:
            second.offer(burst(0, 5))
            await until(lambda: two.identity.written == 5)
            first.offer(burst(10, 10))
            await until(lambda: one.log.told("shipping_taken_over"))
            assert one.identity.written == 10
            assert assess(one.state.snapshot(0.0)).state is ServiceHealth.ERROR
            second.offer(burst(5, 5))
            await until(lambda: two.identity.written == 10)
        # The second one has left in peace: the first one ships the rest, and is the owner again.
    assert claims(store) == [1, 2, 3]
    assert one.identity.written == 20
    (told,) = one.log.told("shipping_taken_over")
    assert told["host"] == claim(store, 2)["host"]
    assert one.stored().rows == 20 + 10


async def test_signs_of_life_keep_the_place(mock_clock, make, store):
    mock_clock.rate = 1
    one = make("one")
    async with one.writing():
        await until(lambda: one.log.told("shipping_claimed"))
        store.age(owner_key("a", 1), TAKEOVER + 1)
        before = store.head(owner_key("a", 1)).modified_ns
        mock_clock.rate = FAST
        await until(lambda: store.head(owner_key("a", 1)).modified_ns > before, limit=10_000)
        mock_clock.rate = 1
        await refused(make("two"))


async def test_a_sign_of_life_notices_a_takeover_where_there_is_nothing_to_ship(mock_clock, make, store):
    mock_clock.rate = 1
    one = make("one")
    async with one.writing() as outlet:
        await until(lambda: one.log.told("shipping_claimed"))
        store.put_new(owner_key("a", 2), json.dumps({**claim(store, 1), "spool": "x", "process": "y", "host": "z"}).encode())
        mock_clock.rate = FAST
        await until(lambda: one.log.told("shipping_taken_over"), limit=10_000)
        outlet.offer(burst(0, 10))
    assert one.log.told("shipping_taken_over")[0]["host"] == "z"
    # From then on not even parts are uploaded.
    assert one.state.writer.backlog_segments == 1
    assert store.keys("put", among="exchange=") == []


async def test_a_sign_of_life_that_fails_is_told_and_the_next_one_clears_it(mock_clock, make, store):
    mock_clock.rate = 1
    one = make("one")
    async with one.writing():
        await until(lambda: one.log.told("shipping_claimed"))
        store.fail("put", among="_owners/")
        mock_clock.rate = FAST
        await until(lambda: one.state.writer.storage_fault, limit=10_000)
        store.mend()
        await until(lambda: one.state.writer.storage_fault is None, limit=10_000)


async def test_a_copy_of_a_spool_is_noticed(mock_clock, make, tmp_path):
    """The image of a machine, started twice: both spools have one name."""
    mock_clock.rate = 1
    one, copy = make("one"), make("copy")
    async with one.writing() as first:
        first.offer(burst(0, 10))
        await until(lambda: one.identity.written == 10)
        (tmp_path / "copy").mkdir()
        shutil.copy(tmp_path / "one" / OWNER_FILE, tmp_path / "copy" / OWNER_FILE)
        async with copy.writing() as second:
            second.offer(burst(0, 5))
            await until(lambda: copy.identity.written == 5)
            mock_clock.rate = FAST
            await until(lambda: one.log.told("shipping_taken_over"), limit=10_000)
            first.offer(burst(10, 10))
            await until(lambda: one.log.told("shipping_refused") or one.state.writer.backlog_segments, limit=10_000)
            assert spool_name(one) != spool_name(copy)
            assert not copy.log.told("shipping_taken_over")
        await until(lambda: one.identity.written == 20, limit=10_000)  # after the copy has gone
    assert one.stored().rows == 25


# ------------------------------------------------------------------------------------------------------------- races


def test_of_many_who_come_at_once_one_gets_it(tmp_path, store):
    spools = [Spool(tmp_path / f"spool{n}") for n in range(8)]
    everyone = [Claims(store, spool, "a", TAKEOVER) for spool in spools]
    start, answers = threading.Barrier(len(everyone)), {}

    def come(number):
        start.wait()
        while number not in answers:
            with suppress(StoreFault):  # two put one note at once: it is asked again, as the gate would
                answers[number] = everyone[number].acquire()

    threads = [threading.Thread(target=come, args=(number,)) for number in range(len(everyone))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [number for number, answer in answers.items() if answer is None]
    assert claims(store) == [1]
    assert claim(store, 1)["spool"] == json.loads((spools[winner].root / OWNER_FILE).read_bytes())["spool"]
    assert {answer.spool for answer in answers.values() if answer} == {claim(store, 1)["spool"]}
    for spool in spools:
        spool.close()


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("operation", ["put_new", "put", "get", "head"])
async def test_a_claim_whose_answer_is_lost_is_still_ours(make, store, operation, applied):
    store.fail(operation, among="_owners/", times=1, applied=applied)
    bench = make("one")
    await record(bench)
    assert claims(store) == [1]
    assert claim(store, 1)["spool"] == spool_name(bench)
    assert bench.identity.written == 10
    assert not bench.log.told("shipping_refused")


async def test_a_store_that_overwrites_silently_leaves_one_owner_all_the_same(mock_clock, make, store):
    """Between the question and the answer the other one has made the claim, and ours went over it."""
    mock_clock.rate = 1
    store.overwrites_silently = True
    one, two = make("one"), make("two")
    async with one.writing() as first:
        await until(lambda: one.log.told("shipping_claimed"))
        mine = (store.root / owner_key("a", 1)).read_bytes()
        (store.root / owner_key("a", 1)).unlink()
        (store.root / newest_owner_key("a")).unlink()
        async with two.writing() as second:
            await until(lambda: two.log.told("shipping_claimed"))
            assert mine != (store.root / owner_key("a", 1)).read_bytes()
            mock_clock.rate = FAST
            await until(lambda: one.log.told("shipping_taken_over"), limit=10_000)
            mock_clock.rate = 1
            first.offer(burst(0, 10))
            second.offer(burst(0, 10))
            await until(lambda: two.identity.written == 10)
            assert one.identity.written == 0
    assert not two.log.told("shipping_taken_over")


# ------------------------------------------------------------------------------------------------------ strange things


@pytest.mark.parametrize("note", [None, b"not json", b'{"number": -5}', b'{"number": 2}'])
async def test_a_note_that_is_lost_or_wrong_only_costs_a_few_questions(make, store, note):
    for n in range(5):
        await record(make(f"spool{n}"))
    path = store.root / newest_owner_key("a")
    path.unlink() if note is None else path.write_bytes(note)
    await record(make("last"))
    assert claims(store) == [1, 2, 3, 4, 5, 6]


async def test_old_claims_that_were_cleared_away_are_not_made_again(make, store):
    for n in range(3):
        await record(make(f"spool{n}"))
    for number in (1, 2, 3):
        (store.root / owner_key("a", number)).unlink()
    await record(make("last"))
    assert claims(store) == [4]


async def test_a_claim_that_nobody_can_read_is_respected(make, store):
    store.put(owner_key("a", 1), b"\x00 version 9")
    one = make("one")
    await refused(one)
    assert "host unknown" in one.state.writer.shipping_blocked
    store.age(owner_key("a", 1), TAKEOVER + 1)
    await record(make("one"))
    assert claims(store) == [1, 2]


async def test_nothing_is_listed_and_nothing_deleted(make, store, monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr(store, "list", never)
    monkeypatch.setattr(store, "delete", never)
    await record(make("one"))
    await record(make("two"))


async def test_claims_are_no_part_of_the_recording(make, store):
    bench = make("one")
    await record(bench)
    committed, problems = recording.manifests(store)
    assert (len(committed), problems) == (1, [])
    assert recording.verify(store, committed) == []
    assert claims(store) == [1]
