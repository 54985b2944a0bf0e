"""Faults by the clock: what a script says, and that it is done in time."""

from __future__ import annotations

import json
import time

import pytest
import trio

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.faults import Faults
from quantlab_collector.simulators.play import Playing, PlayOptions, simulate
from quantlab_collector.simulators.script import ScriptError, parse_script, play_script
from simulators.support import frame_client

SCRIPT = """
# a bad minute

at 1m    restart 2 code=none
at 5s    close 1001 "going away"          # politely
at 250ms on okx cut connection=1
at 8s    refuse 503 for_seconds=2.5 retry_after=1 rest=true
at 5s    mute kind=trade symbol=BTCUSDT
at 2h    skip BTCUSDT 3
"""


def test_a_script_is_sorted_and_read():
    steps = [(s.at, s.exchange, s.verb, s.arguments, s.options) for s in parse_script(SCRIPT.splitlines())]
    assert steps == [
        (0.25, "okx", "cut", (), {"connection": 1}),
        (5.0, None, "close", (1001, "going away"), {}),
        (5.0, None, "mute", (), {"kind": StreamType.TRADE, "symbol": "BTCUSDT"}),
        (8.0, None, "refuse", (503,), {"for_seconds": 2.5, "retry_after": 1.0, "rest": True}),
        (60.0, None, "restart", (2.0,), {"code": None}),
        (7200.0, None, "skip", ("BTCUSDT", 3), {}),
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("close 1001", "a step is: at TIME"),
        ("at 5 close", "not a time: 5"),
        ("at 5s", "a step is: at TIME"),
        ("at 5s explode", "no such verb: explode; there is refuse, ban"),
        ("at 5s __init__", "no such verb"),
        ("at 5s close soon", "invalid literal"),
        ("at 5s cut connection=1 2 3", "too many arguments"),
        ("at 5s cut 1", "too many positional arguments"),
        ("at 5s ban 1 seconds=2", "multiple values"),
        ("at 5s ban", "missing a required argument: 'seconds'"),
        ("at 5s mute kind=nonsense", "'nonsense' is not a valid StreamType"),
        ("at 5s hang rest=perhaps", "perhaps"),
        ('at 5s close 1001 "going', "No closing quotation"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line, why):
    with pytest.raises(ScriptError) as error:
        parse_script(["# first", line])
    assert str(error.value).startswith(f"line 2: {line!r}: ")
    assert why in str(error.value)


def test_an_equals_sign_in_a_word_is_no_name():
    (step,) = parse_script(["at 1s say '{\"a\"=1}'"])
    assert step.arguments == ('{"a"=1}',)


async def test_orders_are_given_when_they_are_due_and_each_time_the_same(autojump_clock):
    async def played(exchange):
        told = []
        faults = Faults(None, lambda: int(trio.current_time() * 1e9))
        start = trio.current_time()
        script = ["at 3s cut", "at 1s on okx hang 2", "at 2s on binance ban 5", "at 2500ms mute", "at 4s cut connection=7"]
        await play_script(parse_script(script), faults, exchange, lambda name, text: told.append((name, text)))
        return [(each.verb, each.detail, round(each.ordered_ns / 1e9 - start, 3)) for each in faults.injected], told

    done, told = await played("okx")
    assert done == [("hang", "count=2 rest=False", 1.0), ("cut", "", 3.0), ("cut", "connection=7", 4.0)]
    assert told == [
        ("okx", "at 1s on okx hang 2"),
        ("okx", "at 2500ms mute: in vain, no market here: what is sent was recorded"),
        ("okx", "at 3s cut"),
        ("okx", "at 4s cut connection=7: in vain, connection 7 is not open"),
    ]
    assert (await played("okx"))[0] == done
    assert [verb for verb, _, _ in (await played("binance"))[0]] == ["ban", "cut", "cut"]


async def test_a_script_is_played_along(tmp_path, nursery):
    script = tmp_path / "bad.script"
    script.write_text('at 150ms on binance close 1001 "going away"\nat 200ms on binance-spot cut\n')
    told: list[Playing] = []
    done: list[tuple[str, str]] = []
    options = PlayOptions(exchanges=("binance", "binance-spot"), symbols=("BTCUSDT",), rate=1000.0, script=script, time_scale=60)
    async with trio.open_nursery() as playing:
        await playing.start(simulate, options, told.append, lambda *order: done.append(order))
        assert [each.playing for each in told] == ["BTCUSDT; 1000 events/s; seed 1; time ×60; 2 steps of bad.script"] * 2
        async with frame_client(told[0], "/public/ws/btcusdt@bookTicker") as client:
            await client.read_all()
        assert client.protocol.close_code == 1001
        await trio.sleep(0.1)
        playing.cancel_scope.cancel()
    assert done == [
        ("binance", 'at 150ms on binance close 1001 "going away"'),
        ("binance-spot", "at 200ms on binance-spot cut"),
    ]


async def test_a_day_passes_in_no_time(play):
    simulator = await play(rate=200.0, time_scale=86_400 / 0.6, shutdown_notice=0.2 * 144_000, pong_timeout=10 * 86_400.0)
    start = time.monotonic()
    async with frame_client(simulator, "/public/stream?streams=btcusdt@bookTicker") as client:
        await client.read_until(5)
        assert not any(b"serverShutdown" in message for message in client.messages)
        await client.read_all()
        assert client.protocol.close_code == 1001
    assert 0.55 < time.monotonic() - start < 1.0
    (place,) = [place for place, message in enumerate(client.messages) if b"serverShutdown" in message]
    notice = json.loads(client.messages[place])
    assert notice == {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": notice["data"]["E"]}}
    assert place < len(client.messages) - 5  # the data went on


async def test_pings_are_as_often_and_patience_as_short_as_the_time_is_fast(play):
    simulator = await play(rate=100.0, time_scale=3600.0)  # a ping every 50 ms, 170 ms to answer
    async with frame_client(simulator, "/public/ws/btcusdt@bookTicker", answer_pings=False) as client:
        await client.read_all()
        assert (client.protocol.close_code, client.protocol.close_reason) == (1008, "Pong timeout")
        assert 3 <= len(client.pings) <= 6
