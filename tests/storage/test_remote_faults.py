"""A remote store that fails: what the writer is told, and what it may then rely on."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.exceptions import GenericError

from quantlab_collector.storage.objects import FaultKind, KeyTakenError, StoreFault, open_objects
from quantlab_collector.storage.objects.faults import Place, translate
from quantlab_collector.storage.objects.ladder import LOWEST, SLOWEST_LINE, Ladder, Patience, patience_for
from storage.fault_store import (
    BUCKET,
    KEY_ID,
    SECRET,
    answer,
    creates,
    gets,
    hang_up,
    puts,
    reset_before_body,
    reset_mid_body,
    silence,
    slowly,
)

KEY = "exchange=binance/symbol=%E2%82%BF/part-a-1-000001.parquet"
BODY = bytes(range(256)) * 2000

KINDS = [
    (answer(500, "InternalError"), FaultKind.TRANSIENT),
    (answer(502), FaultKind.TRANSIENT),
    (answer(503), FaultKind.TRANSIENT),
    (answer(504), FaultKind.TRANSIENT),
    (answer(503, "SlowDown"), FaultKind.THROTTLED),
    (answer(429, headers={"Retry-After": "2"}), FaultKind.THROTTLED),
    (answer(409, "ConditionalRequestConflict"), FaultKind.TRANSIENT),
    (answer(400, "RequestTimeout"), FaultKind.TRANSIENT),
    (answer(412), FaultKind.TRANSIENT),
    (answer(401), FaultKind.AUTH),
    (answer(403, "AccessDenied"), FaultKind.AUTH),
    (answer(403, "QuotaExceeded"), FaultKind.AUTH),
    (answer(403, "UserSuspended"), FaultKind.AUTH),
    (answer(400, "ExpiredToken"), FaultKind.AUTH),
    (answer(403, "RequestTimeTooSkewed"), FaultKind.CLOCK),
    (answer(404, "NoSuchBucket"), FaultKind.CONFIG),
    (answer(301), FaultKind.CONFIG),
    (answer(301, "PermanentRedirect", headers={"Location": "http://127.0.0.1:1/"}), FaultKind.CONFIG),
    (answer(400, "AuthorizationHeaderMalformed"), FaultKind.CONFIG),
    (answer(501, "NotImplemented"), FaultKind.CONFIG),
    (answer(200, "InternalError"), FaultKind.TRANSIENT),
    (answer(200, body="what?"), FaultKind.TRANSIENT),
    (reset_before_body(), FaultKind.TRANSIENT),
    (reset_mid_body(), FaultKind.TRANSIENT),
    (hang_up(), FaultKind.TRANSIENT),
]


@pytest.mark.parametrize(("fault", "kind"), KINDS, ids=lambda item: getattr(item, "name", item))
def test_each_fault_has_its_kind_and_one_line(fault, kind, fault_store):
    objects = fault_store.open()
    rule = fault_store.inject(fault, times=None)
    with pytest.raises(StoreFault) as caught:
        objects.put(KEY, BODY)
    assert rule.served >= 1
    assert (caught.value.kind, caught.value.retry_after) == (kind, None)
    text = str(caught.value)
    assert text
    assert len(text) < 500
    assert text.isprintable()
    assert not [part for part in ("?", KEY_ID, SECRET, "Debug", "Signature=") if part in text]
    if kind is FaultKind.CONFIG:
        assert BUCKET in text
        assert "region test-1" in text
    fault_store.heal()
    objects.put(KEY, BODY)
    assert fault_store.objects == {KEY: BODY}


def test_an_answer_cannot_smuggle_anything_into_a_log(fault_store):
    message = f"see https://host/x?X-Amz-Signature=abc&amp;y and https://{KEY_ID}:{SECRET}@host/\n\x1b[31m" + "long " * 500
    fault_store.inject(answer(500, "InternalError", message), times=None)
    with pytest.raises(StoreFault) as caught:
        fault_store.open().put(KEY, BODY)
    text = str(caught.value)
    assert text.startswith("500 InternalError: see https://host/x?***")
    assert text.isprintable()
    assert len(text) < 400
    assert SECRET not in text
    assert "abc" not in text


TEXTS = st.text() | st.from_regex(
    r"Error .* in 1ms - (Server returned non-2xx status code: [3-5][0-9][0-9]|HTTP error: .*)<Code>.*"
)


@settings(database=None, deadline=None)
@given(text=TEXTS)
def test_whatever_the_text_it_becomes_one_line(text):
    url = f"https://u:{SECRET}@host/x?sig={SECRET}"
    fault = translate(GenericError(f"{text} {url}\n\nDebug source:\n{SECRET}"), Place("b", "r", f"https://u:{SECRET}@host"))
    assert str(fault).isprintable()
    assert 0 < len(str(fault)) < 500
    assert SECRET not in str(fault)


@pytest.mark.parametrize(
    "fault", [answer(500), answer(503, "SlowDown"), answer(429), reset_before_body(), reset_mid_body(), hang_up()]
)
def test_a_fault_that_passes_is_not_even_told(fault, fault_store):
    objects = fault_store.open()
    rule = fault_store.inject(fault)
    objects.put(KEY, BODY)
    assert rule.served == 1
    assert fault_store.objects == {KEY: BODY}
    assert len(fault_store.attempts_of(KEY)) == 2


@pytest.mark.parametrize("fault", [answer(500, applied=True), hang_up(applied=True)], ids=["500", "no answer"])
def test_putting_after_a_lost_answer_puts_the_same_again(fault, fault_store):
    fault_store.inject(fault)
    fault_store.open().put(KEY, BODY)
    assert fault_store.served == 1
    assert fault_store.objects == {KEY: BODY}


@pytest.mark.parametrize(
    "fault",
    [answer(500, applied=True), hang_up(applied=True), answer(409, "ConditionalRequestConflict")],
    ids=lambda fault: fault.name,
)
def test_a_doubtful_create_says_that_the_key_is_taken(fault, fault_store):
    """The caller looks: it finds its own bytes, or nothing and tries again."""
    rule = fault_store.inject(fault, on=creates())
    objects = fault_store.open()
    with pytest.raises(KeyTakenError):
        objects.put_new(KEY, BODY)
    assert rule.served == 1
    if fault.applied:
        assert objects.get(KEY) == BODY
    else:
        assert objects.head(KEY) is None
        objects.put_new(KEY, BODY)
        assert fault_store.objects == {KEY: BODY}


def test_reads_fail_with_a_kind_too(fault_store):
    objects = fault_store.open()
    fault_store.inject(answer(403, "AccessDenied"), times=None)
    for ask in (
        lambda: objects.get("a"),
        lambda: objects.head("a"),
        lambda: list(objects.list("a")),
        lambda: objects.delete("a"),
    ):
        with pytest.raises(StoreFault) as caught:
            ask()
        assert caught.value.kind is FaultKind.AUTH


def test_a_missing_bucket_is_not_a_missing_object(fault_store, monkeypatch):
    objects = open_objects("s3://elsewhere/prefix", fault_store.options())
    for ask in (
        lambda: objects.get("a"),
        lambda: objects.put("a", b""),
        lambda: objects.put_new("a", b""),
        lambda: list(objects.list("a")),
        lambda: objects.delete("a"),
    ):
        with pytest.raises(StoreFault) as caught:
            ask()
        assert caught.value.kind is FaultKind.CONFIG
        assert "NoSuchBucket" in str(caught.value)
        assert f"(bucket elsewhere, region test-1, endpoint {fault_store.endpoint})" in str(caught.value)


# ------------------------------------------------------------------------------------------------------------ patience


@pytest.mark.parametrize("lanes", [1, 8, 64])
@pytest.mark.parametrize("size", [0, 1, 34_000, 1_000_000, 64 * 1024 * 1024])
def test_a_slow_line_has_the_time_that_it_needs(size, lanes):
    patience = patience_for(size, lanes)
    assert patience.whole >= LOWEST + size * lanes / SLOWEST_LINE or not size
    assert patience.whole <= 2 * (LOWEST + size * lanes / SLOWEST_LINE)


def test_stores_of_one_patience_are_made_once_until_credentials_are_read_again():
    made = []

    def build(patience):
        made.append(patience)
        return object()

    ladder = Ladder(build, lanes=8)
    small, large = ladder.sending(0), ladder.sending(10_000_000)
    assert small is ladder.sending(0)
    assert large is ladder.sending(10_000_001)
    assert len(made) == 2
    ladder.renew()
    assert ladder.sending(0) is not small
    assert len(made) == 3


def test_one_silent_request_holds_up_no_other(fault_store):
    objects = fault_store.open()
    rule = fault_store.inject(silence(applied=True), on=puts("silent"))
    thread = threading.Thread(target=objects.put, args=("silent", BODY))
    thread.start()
    while not rule.served:
        time.sleep(0.001)
    objects.put("loud", BODY)
    assert fault_store.objects == {"silent": BODY, "loud": BODY}
    fault_store.heal()  # closes the connection; the retry goes through
    thread.join()
    assert len(fault_store.attempts_of("silent")) == 2


def test_who_is_silent_too_long_is_left(fault_store, monkeypatch):
    monkeypatch.setattr("quantlab_collector.storage.objects.ladder.LOWEST", 0.2)
    objects = fault_store.open(lanes=1)
    rule = fault_store.inject(silence(), times=None)
    with pytest.raises(StoreFault, match="timed out") as caught:
        objects.put("k", b"x")
    assert caught.value.kind is FaultKind.TRANSIENT
    assert rule.served == 3
    assert fault_store.objects == {}


def test_a_slow_line_is_waited_for(fault_store, monkeypatch):
    """The body takes longer than what is small may take: the line is slow, but not slower than lines may be."""
    monkeypatch.setattr("quantlab_collector.storage.objects.ladder.LOWEST", 0.3)
    monkeypatch.setattr("quantlab_collector.storage.objects.ladder.SLOWEST_LINE", 1_000_000)
    rule = fault_store.inject(slowly(1_000_000))
    fault_store.open(lanes=3).put("k", bytes(700_000))
    assert rule.served == 1
    assert len(fault_store.objects["k"]) == 700_000
    assert len(fault_store.attempts) == 1


def test_a_read_that_stands_still_is_left(fault_store, monkeypatch):
    monkeypatch.setattr("quantlab_collector.storage.objects.ladder._READER", Patience(3600.0, 0.2))
    objects = fault_store.open()
    objects.put("k", b"x")
    rule = fault_store.inject(silence(), on=gets(), times=None)
    with pytest.raises(StoreFault, match="timed out") as caught:
        objects.get("k")
    assert caught.value.kind is FaultKind.TRANSIENT
    assert rule.served >= 1
    fault_store.heal()
    assert objects.get("k") == b"x"
