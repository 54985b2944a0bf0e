"""``/gaps``, the freshness of topics, and the same in figures."""

from __future__ import annotations

import pytest
from quart_trio import QuartTrio

from quantlab_collector.contracts.manifest import Gap, Mute, Silence
from quantlab_collector.runtime.health import Health
from quantlab_collector.runtime.state import ServiceState
from quantlab_collector.status import prometheus, trouble_views, views
from quantlab_collector.status.app import create_app
from quantlab_collector.status.options import StatusOptions
from quantlab_collector.status.trouble_views import gaps, read_limit
from status.test_prometheus import scrape

SECOND = 1_000_000_000
SINCE = 1_767_280_400 * SECOND
ISO = "2026-01-01T15:13:20.000000+00:00"


@pytest.fixture
def troubled(state: ServiceState) -> ServiceState:
    """One of each kind open, and one of each ended."""
    signals = state.signals
    for symbol, to in (("ETHUSDT", SINCE + 90 * SECOND), ("BTCUSDT", None)):
        muted = Mute("binance", "public-0", "bbo", symbol, SINCE, to, "stopped\x1b[0m")
        silent = Silence("okx", "public-0", "mark_price", symbol, SINCE, to, 10.0)
        signals.mutes.begin(muted)
        signals.silences.begin(silent)
        if to is not None:
            signals.mutes.end(muted)
            signals.silences.end(silent)
    signals.gaps.total = 1
    signals.gaps.end(Gap("binance", "market-0", SINCE, SINCE + SECOND, "numbers are missing", "trade", "BTCUSDT", 7))
    signals.missed["binance", "trade"] = 7
    signals.repeated["binance", "trade"] = 2
    lost = state.connections[1]
    lost.lost_ns, lost.lost_reason = SINCE, "cut"
    state.sample(1147.0, 0)
    return state


def test_open_ones_come_first(troubled: ServiceState) -> None:
    shown = gaps(troubled.snapshot(1147.82))

    assert shown == {
        "gaps": [
            {
                "exchange": "okx", "connection": "public-0", "stream": None, "symbol": None,
                "since": ISO, "to": None, "seconds": None, "reason": "cut", "missed": None,
            },
            {
                "exchange": "binance", "connection": "market-0", "stream": "trade", "symbol": "BTCUSDT",
                "since": ISO, "to": "2026-01-01T15:13:21.000000+00:00", "seconds": 1.0,
                "reason": "numbers are missing", "missed": 7,
            },
        ],
        "mutes": [
            {
                "exchange": "binance", "connection": "public-0", "stream": "bbo", "symbol": "BTCUSDT",
                "since": ISO, "to": None, "seconds": None, "reason": "stopped\\x1b[0m",
            },
            {
                "exchange": "binance", "connection": "public-0", "stream": "bbo", "symbol": "ETHUSDT",
                "since": ISO, "to": "2026-01-01T15:14:50.000000+00:00", "seconds": 90.0, "reason": "stopped\\x1b[0m",
            },
        ],
        "silences": [
            {
                "exchange": "okx", "connection": "public-0", "stream": "mark_price", "symbol": "BTCUSDT",
                "since": ISO, "to": None, "seconds": None, "expected": 10.0,
            },
            {
                "exchange": "okx", "connection": "public-0", "stream": "mark_price", "symbol": "ETHUSDT",
                "since": ISO, "to": "2026-01-01T15:14:50.000000+00:00", "seconds": 90.0, "expected": 10.0,
            },
        ],
        "totals": {
            "gaps": 1, "mutes": 2, "silences": 2,
            "missed_events": {"binance/trade": 7}, "repeated_numbers": {"binance/trade": 2},
        },
    }  # fmt: skip


def test_no_more_than_asked_for_and_the_newest_of_the_ended(troubled: ServiceState) -> None:
    for number in range(50):
        troubled.signals.mutes.end(Mute("okx", "public-0", "bbo", f"S{number}", SINCE, SINCE + number, "stopped"))

    shown = gaps(troubled.snapshot(1147.82), limit=3)["mutes"]
    assert [mute["symbol"] for mute in shown] == ["BTCUSDT", "S49", "S48"]


@pytest.mark.parametrize(
    ("text", "limit"),
    [(None, 100), ("1", 1), ("1000", 1000), ("1001", None), ("0", None), ("-1", None), ("x", None), ("²", None)],
)
def test_how_many(text: str | None, limit: int | None) -> None:
    assert read_limit(text) == limit


async def test_over_http(troubled: ServiceState) -> None:
    health = Health(0)
    app: QuartTrio = create_app(lambda: troubled.snapshot(1147.82), lambda: health.standing, StatusOptions())
    client = app.test_client()
    answer = await client.get("/gaps?limit=1", headers={"Host": "localhost"})
    assert (answer.status_code, len((await answer.get_json())["mutes"])) == (200, 1)
    answer = await client.get("/gaps?limit=many", headers={"Host": "localhost"})
    assert answer.status_code == 400


def test_each_topic_in_one_word(troubled: ServiceState) -> None:
    binance = troubled.connections[0]
    binance.seen_before = {binance.topics[1]: SINCE}
    shown = {(t["exchange"], t["symbol"]): t for t in views.streams(troubled.snapshot(1147.82))["topics"]}

    assert shown["binance", "BTCUSDT"]["freshness"] == trouble_views.MUTE  # although it has just been seen
    assert (shown["binance", "ETHUSDT"]["freshness"], shown["binance", "ETHUSDT"]["last_seen"]) == ("quiet", SINCE // 10**6)
    assert shown["binance", "XYZUSDT"]["freshness"] is None  # refused: that has been told
    assert shown["okx", "BTCUSDT"]["freshness"] == "quiet"

    troubled.signals.silences.begin(Silence("okx", "public-0", "trade", "BTCUSDT", SINCE, None, 10.0))
    troubled.signals.mutes.open.clear()
    words = [t["freshness"] for t in views.streams(troubled.snapshot(1147.82))["topics"]]
    assert words == ["fresh", "quiet", None, "silent"]
    assert next(t["freshness"] for t in views.streams(troubled.snapshot(1200.0))["topics"]) == "quiet"

    troubled.signals.mutes.begin(Mute("binance", "public-0", None, None, SINCE, None, "nothing"))
    words = [t["freshness"] for t in views.streams(troubled.snapshot(1147.82))["topics"]]
    assert words == ["mute", "mute", None, "silent"]


def test_the_figures_agree(troubled: ServiceState) -> None:
    snapshot = troubled.snapshot(1147.82)
    json, scraped = views.metrics(snapshot), scrape(prometheus.as_text(snapshot, Health(0).standing))

    assert (json["silence_intervals_15m"], json["silence_intervals_total"], json["mutes_open"], json["gaps_15m"]) == (2, 2, 1, 1)
    for figure in ("silence_intervals_total", "mutes_total", "gaps_total", "silence_intervals_15m", "gaps_15m", "mutes_open"):
        assert scraped(figure) == json[figure]
    assert scraped("events_missed_total", exchange="binance", stream="trade") == json["missed_events_total"] == 7
    assert scraped("numbers_repeated_total", exchange="binance", stream="trade") == json["repeated_numbers_total"] == 2
    assert scraped("gaps_open") == 1
    mutes = [labels for name, labels in scraped.values if name == "quantlab_stream_mute_since_timestamp_seconds"]
    assert mutes == [frozenset({("exchange", "binance"), ("connection", "public-0"), ("stream", "bbo"), ("symbol", "BTCUSDT")})]
    # Two of 110 were dropped, and seven were never received.
    assert json["effective_data_loss_rate_pct"] == pytest.approx(100 * 9 / 117)
    status = views.status(snapshot, Health(0).standing)["metrics"]
    assert (status["silence_15m"], status["gaps_15m"], status["mutes"]) == (2, 1, 1)


def test_a_day_on_which_all_is_mute_fits_into_a_scrape(troubled: ServiceState) -> None:
    for number in range(3_000):
        troubled.signals.mutes.begin(Mute("okx", "public-0", "bbo", f"S{number}", SINCE, None, "stopped"))
    scraped = scrape(prometheus.as_text(troubled.snapshot(1147.82), Health(0).standing))

    assert scraped("mutes_open") == 3_001
    assert len([name for name, _ in scraped.values if "stream_mute" in name]) == prometheus.MAX_MUTES
