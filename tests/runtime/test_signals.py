"""What is missing is counted once, told to each manifest until it has ended, and remembered for a while."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quantlab_collector.contracts.manifest import Gap, Mute, Silence
from quantlab_collector.runtime import notices as told
from quantlab_collector.runtime.account import account, account_told
from quantlab_collector.runtime.signals import MAX_UNTOLD, MEMORY
from quantlab_collector.runtime.state import ConnectionState
from runtime.test_notices import Desk


def mute(symbol: str | None = "BTCUSDT", to: int | None = None, stream: str | None = "bbo", since: int = 5) -> Mute:
    return Mute("okx", "public-0", stream, symbol, since, to, "stopped")


def silence(symbol: str = "BTCUSDT", to: int | None = None) -> Silence:
    return Silence("okx", "public-0", "mark_price", symbol, 5, to, 10.0)


def test_an_open_one_stands_in_each_manifest_and_an_ended_one_once() -> None:
    desk = Desk()
    desk.tell(told.StreamMute((mute(),)), told.SilenceDetected((silence(),)))
    for _ in range(2):
        known = account(desk.state)
        assert (known.mutes, known.silences) == ((mute(),), (silence(),))
        account_told(desk.state, known)

    desk.tell(told.StreamMuteEnded((mute(to=7),)), told.SilenceEnded((silence(to=8),)))
    known = account(desk.state)
    assert (known.mutes, known.silences) == ((mute(to=7),), (silence(to=8),))
    assert known.has_news
    account_told(desk.state, known)
    assert not account(desk.state).has_news
    assert desk.state.signals.mutes.total == 1


@given(st.lists(st.sampled_from(["begin", "end", "seal", "sealed"]), max_size=60))
def test_whatever_comes_in_between_each_end_is_told_exactly_once(steps: list[str]) -> None:
    desk, sealing, ends, number = Desk(), None, [], 0
    for step in [*steps, "end", "sealed", "seal", "sealed"]:
        signals = desk.state.signals.mutes
        if step == "begin" and not signals.open:
            number += 1
            desk.tell(told.StreamMute((mute(since=number),)))
        elif step == "end" and signals.open:
            desk.tell(told.StreamMuteEnded((mute(since=number, to=number + 1),)))
        elif step == "seal" and sealing is None:
            sealing = account(desk.state)
        elif step == "sealed" and sealing is not None:
            ends += [trouble.since for trouble in sealing.mutes if trouble.to is not None]
            account_told(desk.state, sealing)
            sealing = None

    assert ends == list(range(1, number + 1))


def test_an_open_gap_has_the_reason_of_its_loss() -> None:
    desk = Desk()
    lost = ConnectionState("okx", "public-0", "wss://localhost", (), lost_ns=3, lost_reason="cut")
    desk.state.connections.append(lost)

    gap = Gap("okx", "public-0", 3, None, "cut")
    assert account(desk.state).gaps == (gap,)
    assert desk.state.snapshot(0.0).signals.gaps.open == (gap,)


def test_wild_numbers_fill_nothing() -> None:
    desk = Desk()
    holes = [
        told.GapDetected("binance", "market-0", n, n + 1, 0.0, told.MISSING, "trade", "BTCUSDT", 2)
        for n in range(MAX_UNTOLD + 50)
    ]
    lines = desk.tell(*holes)

    signals = desk.state.signals
    assert len(lines) == 1  # and says how many more there were when the next one is told
    assert (len(signals.gaps.untold), len(signals.gaps.recent)) == (MAX_UNTOLD, MEMORY)
    assert (signals.gaps.total, signals.missed["binance", "trade"]) == (MAX_UNTOLD + 50, 2 * (MAX_UNTOLD + 50))


def test_many_that_fall_mute_together_are_one_line() -> None:
    mutes = [mute(f"S{n}USDT") for n in range(500)]
    lines = Desk().tell(
        *(told.StreamMute(group) for group in told.together([*mutes, mute("X", stream="trade"), mute(None, stream=None)]))
    )

    assert lines == [
        {"exchange": "okx", "connection": "public-0", "since": 5, "reason": "stopped"},
        {
            "exchange": "okx",
            "connection": "public-0",
            "stream": "bbo",
            "topics": 500,
            "symbols": tuple(f"S{n}USDT" for n in range(told.MAX_NAMED)),
            "since": 5,
            "reason": "stopped",
        },
        {"exchange": "okx", "connection": "public-0", "stream": "trade", "symbol": "X", "since": 5, "reason": "stopped"},
    ]


def test_the_end_tells_how_long_it_was() -> None:
    (line,) = Desk().tell(told.StreamMuteEnded((mute(to=2_500_000_005),)))
    assert (line["symbol"], line["seconds"]) == ("BTCUSDT", 2.5)
    (line,) = Desk().tell(told.SilenceEnded((silence(to=1_000_000_005),)))
    assert line["seconds"] == 1.0
