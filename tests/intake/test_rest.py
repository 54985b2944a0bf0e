"""REST: a budget that is never exceeded, answers that are read or refused, refusals that are obeyed."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from quantlab_collector.exchanges.protocol import RestLimits, RestRequest
from quantlab_collector.intake.rest import RestClient, RestFault, WeightBudget


@given(
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 40)), min_size=1, max_size=50),
)
def test_the_weight_of_any_minute_is_within_the_limit(steps):
    budget, now, spent = WeightBudget(RestLimits(100, 60.0)), 1000.0, []
    for step, weight in steps:
        now += step
        while wait := budget.take(now, weight):
            assert 0 < wait <= 60.001
            now += wait
        spent.append((now, weight))
    for start, _ in spent:
        assert sum(weight for when, weight in spent if start <= when < start + 60.0 - 1e-6) <= 100


def test_shut_is_for_everyone():
    budget = WeightBudget(RestLimits(100, 60.0))
    budget.shut(50.0)
    budget.shut(20.0)
    assert budget.take(10.0, 1) == 40.0
    assert budget.take(50.0, 1) == 0.0


async def answering(nursery, *answers):
    """A server that gives these raw answers, one a connection or one a request; and what it was asked."""
    asked = []
    left = list(answers)

    async def talk(stream):
        async with stream:
            async for data in stream:
                asked.append((trio.current_time(), data.split(b"\r\n", 1)[0].decode()))
                if not left:
                    return
                await stream.send_all(left.pop(0))

    listeners = await nursery.start(trio.serve_tcp, talk, 0)
    return f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", asked


def http(status, body=b"", **headers):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


REQUEST = RestRequest("/x?y=1", 1, lambda body: int(body))
LIMITS = RestLimits(100, 60.0)


async def test_an_answer_is_read(nursery):
    url, asked = await answering(nursery, http(200, b"7"), http(200, b"8"))
    async with RestClient(url, LIMITS) as client:
        assert [await client.ask(REQUEST), await client.ask(REQUEST)] == [7, 8]
    assert [line for _, line in asked] == ["GET /x?y=1 HTTP/1.1"] * 2
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http(200, b"seven"), "/x"),
        (http(500, b"oops"), "HTTP 500"),
        (http(302, b"", Location="http://elsewhere"), "HTTP 302"),
        (b"nonsense\r\n\r\n", "ProtocolError"),
        (b"", "Error"),
    ],
)
async def test_what_is_no_answer_is_a_fault(nursery, answer, words):
    url, _ = await answering(nursery, *([answer] if answer else []))
    async with RestClient(url, LIMITS) as client:
        with pytest.raises(RestFault, match=words):
            await client.ask(REQUEST)
    nursery.cancel_scope.cancel()


async def test_nobody_there_is_a_fault():
    async with RestClient("http://127.0.0.1:9", LIMITS) as client:
        with pytest.raises(RestFault, match="ConnectError"):
            await client.ask(REQUEST)


async def test_retry_after_is_obeyed(nursery):
    url, asked = await answering(nursery, http(429, b"", Retry_After=1), http(200, b"7"))
    async with RestClient(url, LIMITS) as client:
        with pytest.raises(RestFault, match="HTTP 429"):
            await client.ask(REQUEST)
        assert await client.ask(REQUEST) == 7
    (first, _), (second, _) = asked
    assert second - first >= 0.99
    nursery.cancel_scope.cancel()


async def test_a_body_without_end_is_cut(nursery, monkeypatch):
    monkeypatch.setattr("quantlab_collector.intake.rest.MAX_BODY_BYTES", 1000)
    url, _ = await answering(nursery, http(200, b"7" * 5000))
    async with RestClient(url, LIMITS) as client:
        with pytest.raises(RestFault, match="more than 1000 bytes"):
            await client.ask(REQUEST)
    nursery.cancel_scope.cancel()
