"""Durations and sizes, both directions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlab_collector.config.units import LARGEST, LONGEST, format_duration, format_size, parse_duration, parse_size

quick = settings(database=None, deadline=None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("300ms", 0.3),
        ("60s", 60.0),
        ("1.5 s", 1.5),
        ("5m", 300.0),
        ("24h", 86400.0),
        ("0s", 0.0),
        ("", None),
        ("5", None),
        ("s", None),
        ("-5s", None),
        ("5S", None),
        ("5d", None),
        ("1e3s", None),
        ("5s ", None),
        ("٥s", None),
        ("1.s", None),
        ("9" * 400 + "s", None),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("128MiB", 128 * 1024**2),
        ("20 GiB", 20 * 1024**3),
        ("2MB", 2_000_000),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1.5KiB", 1536),
        ("7B", 7),
        ("0.3B", None),
        ("128", None),
        ("128mib", None),
        ("128M", None),
        ("", None),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@quick
@given(st.integers(1, int(LONGEST) * 1000))
def test_a_duration_comes_back(milliseconds):
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


@quick
@given(st.integers(1, LARGEST // 10**3))
def test_a_size_comes_back(size):
    assert parse_size(format_size(size)) == size


@quick
@given(st.text())
def test_any_text_is_read_or_not(text):
    parse_duration(text)
    parse_size(text)
