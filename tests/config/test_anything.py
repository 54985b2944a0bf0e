"""Whatever is given, the answer is a config or a list of errors."""

import datetime as dt

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantlab_collector.config import Config, ConfigError, load, masked
from quantlab_collector.config.faults import written
from quantlab_collector.config.sources import variable
from quantlab_collector.config.structure import build
from quantlab_collector.config.tree import settings as all_settings

quick = settings(database=None, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "1s", "0s", "1MiB", "bbo", "BTCUSDT", "wss://h", "https://h", "wss://[", "s3://b", "file:///x", "./data", ".", "//["]
    ),
)
scalars = st.one_of(
    texts,
    st.booleans(),
    st.integers(),
    st.integers(-(2**80), 2**20_000),
    st.floats(),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.just(dt.UTC)),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)


@st.composite
def trees(draw):
    """Something like a config: mostly known names, anything below them."""
    tree = draw(st.dictionaries(texts, values, max_size=2))
    paths = list(all_settings(["binance", "okx-spot"]))
    for path in draw(st.lists(st.sampled_from(paths), max_size=12)):
        place = tree
        *tables, key = path[: draw(st.integers(1, len(path))) if draw(st.integers(0, 9)) == 0 else len(path)]
        for step in tables:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                break
        else:
            place[key] = draw(values)
    return tree


@quick
@given(tree=trees())
def test_any_data_gives_a_config_or_errors(tree, exchanges):
    config, faults = build(tree, exchanges)
    assert isinstance(config, Config)
    assert all(f"{written(fault.path)}: {fault.text}".isprintable() for fault in faults)
    # What is wrong was replaced, so what is left is a config without a fault of its own.
    again, left = build(masked(config), exchanges, whole=False)
    assert not left
    assert again == config


def errors_of(*args, **kwargs):
    try:
        load(*args, **kwargs)
    except ConfigError as error:
        return error.errors
    return None


@quick
@given(content=st.binary(max_size=200) | st.text().map(str.encode), symbols=st.none() | st.lists(texts, max_size=3))
def test_any_file_gives_a_config_or_errors(content, symbols, exchanges, tmp_path):
    path = tmp_path / "collector.toml"
    path.write_bytes(content)
    assert errors_of(path, {}, symbols, exchanges=exchanges) != ()


VARIABLES = [variable(path) for path in all_settings(["binance", "okx-spot"])]


@quick
@given(environ=st.dictionaries(st.sampled_from(VARIABLES) | texts.map("QUANTLAB_{}__X".format), texts, max_size=8))
def test_any_environment_gives_a_config_or_errors(environ, exchanges):
    assert errors_of(None, environ, exchanges=exchanges) != ()


@pytest.mark.parametrize("tree", [{"exchanges": {"binance": {"streams": [["bbo"]]}}}, {"collector": {"symbols": [[], {}]}}])
def test_lists_in_lists(tree, exchanges):
    assert build(tree, exchanges)[1]
