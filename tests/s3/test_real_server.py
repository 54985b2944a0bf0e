"""What only a real server can show: signatures that are checked, permissions, and deaths at any moment."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from quantlab_collector.storage.objects import FaultKind, KeyTakenError, StoreFault, probe

BODY = os.urandom(200_000)


def fault_of(ask):
    with pytest.raises(StoreFault) as caught:
        ask()
    text = str(caught.value)
    assert text.isprintable()
    assert "testsecret" not in text
    return caught.value


def until_done(ask):
    """The writer's patience, in small."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask()
        except StoreFault as fault:
            if fault.kind is not FaultKind.TRANSIENT or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def test_the_probe(real):
    assert probe(real.open(), "a") == []


def test_a_wrong_secret(real, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    fault = fault_of(lambda: real.open().put("k", BODY))
    assert fault.kind is FaultKind.AUTH
    assert "SignatureDoesNotMatch" in str(fault)


def test_a_wrong_key_then_the_right_one(real, tmp_path):
    path = tmp_path / "credentials"
    path.write_text("AWS_ACCESS_KEY_ID=nobody\nAWS_SECRET_ACCESS_KEY=wrong\n")
    objects = real.open(credentials_file=str(path))
    assert fault_of(lambda: objects.put("k", BODY)).kind is FaultKind.AUTH
    path.write_text("".join(f"{name}={value}\n" for name, value in real.environ.items()))
    objects.renew()
    objects.put("k", BODY)
    assert objects.get("k") == BODY


def test_a_bucket_that_is_not_there(real):
    objects = real.open("s3://no-such-bucket/prefix")
    for ask in (lambda: objects.put("k", BODY), lambda: objects.get("k"), lambda: list(objects.list(""))):
        fault = fault_of(ask)
        assert fault.kind is FaultKind.CONFIG
        assert "bucket no-such-bucket, region us-east-1" in str(fault)


def test_a_user_who_is_suspended_and_let_in_again(real):
    objects = real.open()
    objects.put("before", BODY)
    real.server.suspend()
    try:
        fault = fault_of(lambda: objects.put("k", BODY))
    finally:
        real.server.enable()
    assert fault.kind is FaultKind.AUTH
    assert "UserSuspended" in str(fault)
    objects.put("k", BODY)
    assert objects.get("before") == objects.get("k") == BODY


def test_the_gateway_dies_and_comes_back_while_objects_are_put(real):
    objects, done = real.open(), threading.Event()

    def put(number):
        until_done(lambda: objects.put(f"a/{number:03d}", BODY + bytes([number])))
        if number == 5:
            done.set()

    with ThreadPoolExecutor(8) as pool:
        puts = [pool.submit(put, number) for number in range(60)]
        done.wait()
        real.server.kill_gateway()
        refused = fault_of(lambda: objects.put("refused", BODY))
        real.server.start_gateway()
        for one in puts:
            one.result()
    assert refused.kind is FaultKind.TRANSIENT
    assert "connection refused" in str(refused)
    found = dict(objects.list("a"))
    assert found == {f"a/{number:03d}": len(BODY) + 1 for number in range(60)}
    assert all(objects.get(f"a/{number:03d}") == BODY + bytes([number]) for number in range(60))


def test_a_create_that_was_frozen_turns_out_to_be_ours(real, monkeypatch):
    """The request is in the gateway's socket when it freezes. It lands after all, or it does not: in both cases it is ours."""
    objects = real.open()
    objects.put("warm", b"x")
    monkeypatch.setattr("quantlab_collector.storage.objects.ladder.LOWEST", 0.4)
    impatient = real.open(lanes=1)
    real.server.pause()
    fault = fault_of(lambda: impatient.put_new("k", b"ours"))
    assert fault.kind is FaultKind.TRANSIENT
    assert "timed out" in str(fault)
    real.server.unpause()
    try:
        until_done(lambda: objects.put_new("k", b"ours"))
    except KeyTakenError:
        assert objects.get("k") == b"ours"
    with pytest.raises(KeyTakenError):
        objects.put_new("k", b"another's")
    assert objects.get("k") == b"ours"


def test_an_object_of_twenty_megabytes_is_one_request(real):
    body = BODY * 100
    objects = real.open()
    objects.put("large", body)
    assert objects.get("large") == body
    assert b"<Upload>" not in real.server.curl(f"{real.bucket}?uploads=")
