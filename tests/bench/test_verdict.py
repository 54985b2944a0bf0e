"""Ratios and targets, from samples that are made up."""

import math

import attrs
import pytest
import table
import verdict
from exposition import between, distribution
from measure import Sample, Wrong
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from results import Result, find
from stored import Files
from watching import Look, Seen

from quantlab_collector.runtime.histograms import Distribution

QUICK = Distribution((0.01, 0.05, 0.5), (990, 10, 0, 0), 5.0)
SAMPLE = Sample(
    messages=1000,
    events=1100,
    cpu=0.003,
    seconds=2.0,
    read_within=1.5,
    lost=0,
    rss_mb=100.0,
    feed_busy=0.1,
    files=Files(10, 1100, 11_000),
    seen=Seen(QUICK, QUICK, []),
)


def result(row, cpu, *, exchange="binance", transport="plain", rate=None, lost=0):
    sample = attrs.evolve(SAMPLE, cpu=cpu, lost=lost)
    return Result(
        row, exchange, transport, 10, rate, [attrs.evolve(sample, cpu=3 * cpu), sample, attrs.evolve(sample, cpu=0.9 * cpu)]
    )


def named(figures):
    return {figure.text: figure for figure in figures}


def test_the_median_of_cost_speaks_for_a_row():
    assert result("service", 0.003).middle.per_message == pytest.approx(3.0)
    assert result("service", 0.0033).middle.per_event == pytest.approx(3.0)


def test_a_ratio_is_of_one_line_and_one_rate():
    results = [
        result("service", 0.003),
        result("bare", 0.004),
        result("bare", 0.001, transport="tls"),
        result("bare", 0.002, rate=5.0),
        result("service", 0.0033, exchange="okx"),
    ]
    figures = named(verdict.comparison(results, {"cryptofeed": "no interpreter"}))
    assert figures["plain, a message, the service to bare"].value == pytest.approx(0.75)
    assert figures["plain, an event, okx to binance"].value == pytest.approx(1.1)
    assert figures["plain, an event, bybit to binance"].value is None
    assert "no interpreter" in figures["plain, a message, the service to cryptofeed"].line
    assert figures["tls, a message, the service to picows"].kept is None


def test_a_run_that_lost_events_counts_for_nothing():
    lossy, slower = result("service", 0.001, lost=1), result("service", 0.004, rate=5.0)
    results = [lossy, result("bare", 0.001), slower, result("bare", 0.002, rate=5.0)]
    assert find(results, "service", "binance", "plain") is slower
    assert named(verdict.comparison(results, {}))["plain, a message, the service to bare"].value == pytest.approx(2.0)
    assert find([lossy], "service", "binance", "plain") is None


@pytest.mark.parametrize(("value", "kept"), [(0.33, True), (0.331, False), (math.inf, False)])
def test_a_target_is_kept_up_to_itself(value, kept):
    figure = verdict.Figure("it", value, 0.33)
    assert figure.kept is kept
    assert figure.line.endswith("kept" if kept else "MISSED")


MEMORY = "RSS of the second half to the first, from the second minute on"


def looks(rss, every=20.0):
    return [
        Look(at * every, at * 0.5, mb, 20, 0, 0, *(("/metrics", at / 1e3) if at % 2 else ("/status", 0.03)))
        for at, mb in enumerate(rss)
    ]


def test_a_steady_load_is_judged_by_its_worst():
    slow = Distribution((0.01, 0.05, 0.5), (998, 0, 2, 0), 5.0)
    endless = Distribution((0.01, 0.05, 0.5), (980, 0, 0, 20), 5.0)
    sample = attrs.evolve(SAMPLE, seen=Seen(endless, slow, looks([50.0, 50.0, 50.0, 100.0, 100.0, 120.0, 120.0])))
    figures = named(verdict.sustained(sample))
    assert figures["loop stall p99.9"].value == 500
    assert figures["receive → synced p99"].kept is False
    assert figures[MEMORY].value == pytest.approx(1.2)
    assert figures["/metrics p99"].value == pytest.approx(5.0)
    assert [figures["/metrics p99"].kept, figures["/status p99"].kept] == [True, False]


def test_a_run_without_a_second_minute_says_nothing_of_memory():
    figures = named(verdict.sustained(attrs.evolve(SAMPLE, seen=Seen(QUICK, QUICK, looks([50.0, 100.0], every=5.0)))))
    assert figures[MEMORY].kept is None


def committed(cpu, commits):
    """A look a second, with so much CPU before each, and with the segments that were committed by then."""
    return [Look(float(at), sum(cpu[: at + 1]), 100.0, 20, 0, count) for at, count in enumerate(commits)]


def grown(cpu):
    """The start and the stop are dear, and not meant."""
    seen = Seen(QUICK, QUICK, committed([9.0, 9.0, cpu, cpu, 9.0], [0, 1, 1, 2, 2]))
    return attrs.evolve(SAMPLE, events=4000, read_within=4.0, seen=seen)


def test_growth_compares_the_most_with_the_fewest():
    samples = {symbols: grown(cpu) for symbols, cpu in ((10, 0.002), (150, 0.009), (1500, 0.003))}
    assert verdict.cost_of_whole_segments(samples[10]) == pytest.approx(2.0)
    assert next(verdict.growth(samples)).value == pytest.approx(1.5)


def test_growth_says_nothing_of_a_run_without_a_whole_segment():
    short = attrs.evolve(SAMPLE, seen=Seen(QUICK, QUICK, committed([1.0, 1.0, 1.0], [0, 0, 1])))
    with pytest.raises(Wrong, match="long enough"):
        verdict.cost_of_whole_segments(short)


def test_a_flat_run_is_flat():
    flat = named(verdict.steadiness(attrs.evolve(SAMPLE, seen=Seen(QUICK, QUICK, looks([100.0] * 30)))))
    assert all(figure.kept for figure in flat.values())
    assert flat["CPU of the last third to the first"].value == pytest.approx(1.0)


def test_quantiles_are_values_that_were_measured():
    assert [verdict.quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.5, 0.51, 0.99, 1.0)] == [1.0, 2.0, 3.0, 4.0, 4.0]


def test_a_histogram_is_read_out_of_the_exposition():
    registry = CollectorRegistry()
    histogram = Histogram("it_seconds", "It.", ("of", "stream"), buckets=(0.1, 1.0), registry=registry)
    histogram.labels("a", "x").observe(0.05)
    histogram.labels("b", "y").observe(0.5)
    before = distribution(generate_latest(registry).decode(), "it_seconds")
    assert before == Distribution((0.1, 1.0), (1, 1, 0), 0.55)
    for seconds in (0.01, 5.0, 6.0):
        histogram.labels("a", "x").observe(seconds)
    added = between(before, distribution(generate_latest(registry).decode(), "it_seconds"))
    assert added.counts == (1, 0, 2)
    assert added.quantile(0.99) is None
    nothing = distribution("", "it_seconds")
    assert between(nothing, before) == before
    assert nothing.quantile(0.5) is None


def test_a_table_has_a_cell_for_each_column():
    results = [result("service", 0.003), result("bare", 0.004), result("wire", 0.001, exchange="okx")]
    lines = table.rows(results)
    assert {len(line) for line in lines} == {len(table.HEADER)}
    column = table.HEADER.index("service ÷ this")
    assert [line[column] for line in lines[1:]] == ["", "0.75", ""]
    assert len(set(map(len, table.text(lines).splitlines()))) == 1
    assert table.markdown(lines).splitlines()[1].count("---:") == len(table.HEADER) - 3
