"""What holds when nothing is set, and that the example and the reference say the same."""

import re
import tomllib
from pathlib import Path

import attrs
import pytest
import trustme

from quantlab_collector.config import SYMBOLS, Config, ConfigError, LogLevel, load, wanted
from quantlab_collector.config.sources import variable
from quantlab_collector.config.structure import build
from quantlab_collector.config.tree import settings
from quantlab_collector.contracts.events import StreamType
from quantlab_collector.exchanges.protocol import Endpoints, Wanted
from quantlab_collector.exchanges.registry import EXCHANGES
from quantlab_collector.intake.options import WireKind

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "conf" / "collector.toml"
REFERENCE = ROOT / "docs" / "configuration.md"


def test_nothing_has_to_be_set(exchanges):
    config = load(None, {}, exchanges=exchanges)
    assert attrs.evolve(config, exchanges={}) == Config()
    assert config.enabled_exchanges == ("binance", "okx-spot")
    assert config.exchanges["binance"].symbols == config.collector.symbols == SYMBOLS
    assert config.exchanges["okx-spot"].streams == (StreamType.TRADE,)
    assert config.exchanges["okx-spot"].ws_url == "wss://o.test:8443"


def test_the_defaults_break_no_rule(exchanges):
    config, faults = build({"exchanges": {name: {} for name in exchanges}}, exchanges)
    assert not faults
    assert config == load(None, {}, exchanges=exchanges)


def test_choices_are_of_their_own_type(load_text):
    """A StrEnum equals its text, so equality would not tell."""
    config = load_text('[intake]\nwire = "trio-websocket"\n[log]\nlevel = "debug"\n[exchanges.binance]\nstreams = ["bbo"]')
    assert config.intake.wire is WireKind.TRIO_WEBSOCKET
    assert config.log.level is LogLevel.DEBUG
    assert config.exchanges["binance"].streams[0] is StreamType.BBO


def test_an_exchange_without_a_table_is_recorded_with_its_defaults(load_text):
    config = load_text('[exchanges.binance]\nenabled = false\n[collector]\nsymbols = ["A"]')
    assert config.enabled_exchanges == ("okx-spot",)
    assert config.exchanges["okx-spot"].symbols == ("A",)


def test_what_is_wanted_of_an_exchange(load_text, exchanges):
    config = load_text(
        '[exchanges.binance]\nstreams = ["trade"]\nsymbols = ["A"]\nsymbol_map = {A = "1a/b"}\nws_url = "ws://[::1]:1"'
    )
    assert wanted(config, exchanges["binance"]) == Wanted(
        ("A",), (StreamType.TRADE,), Endpoints("ws://[::1]:1", "https://b.test"), {"A": "1a/b"}
    )


@pytest.mark.parametrize("symbol", ["BTCUSDT", "1000PEPEUSDT", "BTCUSDT_250328", "BTC-USDT.P", "币安人生USDT"])
def test_symbols_that_exchanges_have(symbol, load_text):
    assert load_text(symbols=[symbol]).collector.symbols == (symbol,)


def test_two_symbols_may_change_places(load_text):
    assert load_text('[exchanges.binance]\nsymbols = ["A", "B"]\nsymbol_map = {A = "B", B = "A"}')


def test_a_certificate_that_is_there(load_text, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    assert load_text('[exchanges.binance]\nca_file = "ca.pem"').exchanges["binance"].ca_file == "ca.pem"


@pytest.mark.parametrize(("url", "spool"), [("./data", "data"), ("file:///a%20b/c", "/a b/c"), ("/x", "/x")])
def test_an_address_of_a_folder_is_that_folder(url, spool, load_text):
    assert load_text(f'[storage]\nurl = "{url}"')
    with pytest.raises(ConfigError, match="are the same folder"):
        load_text(f'[storage]\nurl = "{url}"\n[spool]\ndir = "{spool}"')


def test_folders_are_compared_where_they_really_are(load_text, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").symlink_to("data")
    with pytest.raises(ConfigError, match=r"spool\.dir is inside storage\.url"):
        load_text('[spool]\ndir = "elsewhere/spool"')
    assert load_text('[spool]\ndir = "data-spool"')  # begins with the same letters, and is not inside


# --------------------------------------------------------------------------------------- the example and the reference


def uncommented(text):
    return re.sub(r"(?m)^#(?=[a-z])", "", text)


def test_the_example_changes_nothing():
    assert load(EXAMPLE, {}) == load(None, {})


def test_the_example_holds_every_setting_with_its_default(tmp_path):
    text = uncommented(EXAMPLE.read_text(encoding="utf-8"))
    path = tmp_path / "collector.toml"
    path.write_text(text, encoding="utf-8")
    assert load(path, {}) == load(None, {})

    tables = tomllib.loads(text)
    known = set(settings(tables["exchanges"]))
    assert set(leaves(tables, known)) == known


def leaves(table, known, path=()):
    """The settings in a table; a table that is itself a setting is one."""
    for key, value in table.items():
        if isinstance(value, dict) and (*path, key) not in known:
            yield from leaves(value, known, (*path, key))
        else:
            yield (*path, key)


def reference_rows():
    """Table and key, default, and variable of each row."""
    table = None
    for line in REFERENCE.read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"## `\[(.+)\]`", line):
            table = tuple(heading[1].split("."))
        elif table and (row := re.match(r"\| `(\w+)` \| (.+?) \| `(\w+)` \| \S", line)):
            yield (*table, row[1]), row[2], row[3]


def test_the_reference_names_every_setting_its_variable_and_its_default():
    rows = list(reference_rows())
    assert {path for path, _, _ in rows} == set(settings(["NAME"]))
    given = {}
    for path, default, name in rows:
        assert name == variable(path)
        if found := re.fullmatch("`(.+)`", default):
            *tables, key = path
            table = given
            for step in tables:
                table = table.setdefault(step, {})
            table[key] = tomllib.loads(f"x = {found[1]}")["x"]
    binance = {"binance": EXCHANGES["binance"]}
    given["exchanges"] = {"binance": given["exchanges"]["NAME"]}
    assert build(given, binance) == (load(None, {}, exchanges=binance), [])


def test_the_reference_names_every_exchange():
    text = REFERENCE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in EXCHANGES)
