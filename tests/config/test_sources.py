"""Where settings come from, and which goes above which."""

from pathlib import Path

import pytest

from quantlab_collector.config import ConfigError, load
from quantlab_collector.config.sources import variable
from quantlab_collector.config.tree import settings
from quantlab_collector.contracts.events import StreamType


def value(config, path):
    for step in path:
        config = config[step] if isinstance(config, dict) else getattr(config, step)
    return config


ENVIRONMENT = [
    ("COLLECTOR__INSTANCE_ID", "b_2", ("collector", "instance_id"), "b_2"),
    ("COLLECTOR__SYMBOLS", "BTCUSDT, ETHUSDT", ("collector", "symbols"), ("BTCUSDT", "ETHUSDT")),
    ("COLLECTOR__SYMBOLS", "BTCUSDT", ("exchanges", "okx-spot", "symbols"), ("BTCUSDT",)),
    ("COLLECTOR__HEARTBEAT", "5m", ("collector", "heartbeat"), 300.0),
    ("EXCHANGES__BINANCE__WS_URL", "ws://127.0.0.1:8080", ("exchanges", "binance", "ws_url"), "ws://127.0.0.1:8080"),
    ("EXCHANGES__BINANCE__STREAMS", "trade,bbo", ("exchanges", "binance", "streams"), (StreamType.TRADE, StreamType.BBO)),
    ("EXCHANGES__OKX_SPOT__ENABLED", "false", ("exchanges", "okx-spot", "enabled"), False),
    ("EXCHANGES__BINANCE__SYMBOL_MAP", "A=1A, B=1B", ("exchanges", "binance", "symbol_map"), {"A": "1A", "B": "1B"}),
    ("EXCHANGES__BINANCE__SYMBOL_MAP", "", ("exchanges", "binance", "symbol_map"), {}),
    ("QUEUE__MAX_EVENTS", "12", ("queue", "max_events"), 12),
    ("FLUSH__MAX_BYTES", "1048576", ("flush", "max_bytes"), 1048576),
    ("FLUSH__MAX_BYTES", "2MB", ("flush", "max_bytes"), 2_000_000),
    ("STATUS__ENABLED", "true", ("status", "enabled"), True),
    ("STATUS__ALLOWED_HOSTS", "", ("status", "allowed_hosts"), ()),
    ("STORAGE__URL", "file:///srv/data", ("storage", "url"), "file:///srv/data"),
    ("STORAGE__OPTIONS__ENDPOINT", "https://minio.test:9000", ("storage", "options", "endpoint"), "https://minio.test:9000"),
    ("STORAGE__OPTIONS__ALLOW_HTTP", "true", ("storage", "options", "allow_http"), True),
    ("LOG__FORMAT", "json", ("log", "format"), "json"),
]


@pytest.mark.parametrize(("name", "text", "path", "expected"), ENVIRONMENT)
def test_environment(name, text, path, expected, exchanges):
    assert value(load(None, {f"QUANTLAB_{name}": text}, exchanges=exchanges), path) == expected


SECRET = "secrets do not belong into the config: set {} in the environment, or storage.options.credentials_file"
WRONG_ENVIRONMENT = [
    ("QUEUE__MAX_EVENTS", "many", ': must be a whole number, not "many"'),
    ("QUEUE__MAX_EVENTS", "1_000", ': must be a whole number, not "1_000"'),
    ("QUEUE__MAX_EVENTS", "", ': must be a whole number, not ""'),
    ("QUEUE__MAX_EVENTS", "0", ": must be between 1 and 100000000, not 0"),
    ("STATUS__ENABLED", "yes", ': must be true or false, not "yes"'),
    ("COLLECTOR__SYMBOLS", "", ": must name at least one"),
    ("COLLECTOR__SYMBOLS", "BTCUSDT,eth", '[1]: "eth" must be written ETH'),
    ("COLLECTOR__SYMBOLS", "BTCUSDT,", '[1]: "" is not a symbol such as BTCUSDT'),
    ("EXCHANGES__BINANCE__SYMBOL_MAP", "A", ': must be a table, not "A"'),
    ("EXCHANGES__BINANCE__SYMBOL_MAP", "A=b c", '.A: "b c" cannot be the name of a symbol'),
    ("STORAGE__URL", "az://x", ": must name a bucket after az://"),
    ("STORAGE__URL", "memory://x1", ": memory:// forgets: it is for tests"),
    ("STORAGE__OPTIONS__SECRET_ACCESS_KEY", "hunter2", f": {SECRET.format('AWS_SECRET_ACCESS_KEY')}"),
    ("STORAGE__ACCESS_KEY", "hunter2", f": {SECRET.format('AWS_ACCESS_KEY_ID')}"),
    ("STORAGE__OPTIONS__ALLOW_HTTP", "yes", ': must be true or false, not "yes"'),
    ("STORAGE__OPTIONS__ENDPONT", "x", ": unknown setting; did you mean QUANTLAB_STORAGE__OPTIONS__ENDPOINT?"),
    ("STORAGE__URL", "file://host/x", ": must be a path or file:///path"),
    ("STORAGE__URL", "file:///x?y", ": must be a path or file:///path"),
    ("STORAGE__URL", "//[x", ": must be a path or file:///path"),
    ("SPOOL__DIR", "data", ": spool.dir and storage.url are the same folder"),
    ("STORGE__URL", "x", ": unknown setting; did you mean QUANTLAB_STORAGE__URL?"),
    ("OKX_SPOT__ENABLED", "false", ": unknown setting; did you mean QUANTLAB_EXCHANGES__OKX_SPOT__ENABLED?"),
    ("ABC__XYZ", "1", ": unknown setting"),
    ("QUEUE__", "1", ": unknown setting; did you mean QUANTLAB_QUEUE__MAX_EVENTS?"),
]


@pytest.mark.parametrize(("name", "text", "expected"), WRONG_ENVIRONMENT)
def test_wrong_environment(name, text, expected, exchanges):
    with pytest.raises(ConfigError) as caught:
        load(None, {f"QUANTLAB_{name}": text}, exchanges=exchanges)
    assert caught.value.errors == (f"QUANTLAB_{name}{expected}",)


def test_only_names_with_two_underscores_are_settings(exchanges):
    environ = {
        "QUANTLAB_CORPUS": "/x",
        "QUANTLAB_QUEUE": "5",
        "OTHER_QUEUE__MAX_EVENTS": "x",
        "QUANTLABQUEUE__X": "1",
        "PATH": "",
    }
    assert load(None, environ, exchanges=exchanges) == load(None, {}, exchanges=exchanges)


def test_every_setting_has_a_variable_of_its_own(exchanges):
    paths = settings(exchanges)
    assert len({variable(path) for path in paths}) == len(paths)


def test_command_line_above_environment_above_file_above_defaults(load_text):
    text = '[collector]\nsymbols = ["FILE"]\ninstance_id = "file"\nheartbeat = "1s"\n[queue]\nmax_events = "nonsense"'
    environ = {"QUANTLAB_COLLECTOR__SYMBOLS": "ENV", "QUANTLAB_COLLECTOR__INSTANCE_ID": "env", "QUANTLAB_QUEUE__MAX_EVENTS": "3"}
    collector = load_text(text, environ, ["ARG"]).collector
    assert collector.symbols == ("ARG",)
    assert collector.instance_id == "env"
    assert collector.heartbeat == 1.0
    assert collector.stop_timeout == 25.0
    assert load_text(text, environ).collector.symbols == ("ENV",)
    assert load_text(text, environ).queue.max_events == 3


def test_symbols_of_the_command_line_go_for_every_exchange(load_text):
    text = '[exchanges.binance]\nsymbols = ["FILE"]'
    config = load_text(text, {"QUANTLAB_EXCHANGES__OKX_SPOT__SYMBOLS": "ENV"}, ["ARG"])
    assert [options.symbols for options in config.exchanges.values()] == [("ARG",), ("ARG",)]


def test_wrong_symbols_of_the_command_line(errors):
    assert errors("", symbols=[]) == ["--symbols: must name at least one"]
    assert errors("", symbols=["A", "b", "A"]) == ['--symbols: "A" is there twice', '--symbols[1]: "b" must be written B']


def test_errors_of_all_sources_at_once(errors):
    environ = {"QUANTLAB_QUEUE__MAX_EVENT": "1", "QUANTLAB_STATUS__PORT": "x", "QUANTLAB_JOURNAL__BATCH_ROWS": "1"}
    assert errors('queue = 5\n[journal]\nbatch_rows = "wrong"\ninterval = "1h"', environ, ["x"]) == [
        "QUANTLAB_QUEUE__MAX_EVENT: unknown setting; did you mean QUANTLAB_QUEUE__MAX_EVENTS?",
        '--symbols[0]: "x" must be written X',
        "collector.toml: queue: must be a table, not 5",
        "collector.toml: journal.interval: must be at most 1s, not 1h: a crash loses what came since",
        'QUANTLAB_STATUS__PORT: must be a whole number, not "x"',
    ]


def test_a_variable_does_not_hide_that_the_file_has_no_table_there(errors):
    environ = {"QUANTLAB_QUEUE__MAX_EVENTS": "1", "QUANTLAB_EXCHANGES__BINANCE__ENABLED": "true"}
    assert errors("queue = 5\nexchanges = 6", environ) == [
        "collector.toml: queue: must be a table, not 5",
        "collector.toml: exchanges: must hold a table for each exchange, not 6",
    ]


def test_a_conflict_is_told_where_the_user_set_something(errors):
    assert errors('[reconnect]\ncap = "5s"', {"QUANTLAB_RECONNECT__FIRST": "9s"}) == [
        "collector.toml: reconnect.cap: reconnect.cap (5s) is shorter than reconnect.first (9s)"
    ]
    assert errors("", {"QUANTLAB_RECONNECT__FIRST": "9m"}) == [
        "QUANTLAB_RECONNECT__FIRST: reconnect.cap (30s) is shorter than reconnect.first (9m)"
    ]


# ----------------------------------------------------------------------------------------------------------- the file

BROKEN = {
    "syntax": (b"[queue]\nmax_events = = 5\n", "is not TOML: Invalid value (at line 2, column 14)"),
    "twice": (b"[queue]\n[queue]\n", "is not TOML: Cannot declare ('queue',) twice (at line 2, column 7)"),
    "the end is missing": (b"[queue\n", "is not TOML: Expected ']' at the end of a table declaration (at line 1, column 7)"),
    "not UTF-8": (b"[queue]\n\xff", "is not UTF-8: byte 8 cannot be read"),
    "a long number": (b"a = " + b"9" * 5000, "cannot be read: a name or a number is impossible, or the nesting too deep"),
    "deep": (b"a = " + b"[" * 100_000, "cannot be read: a name or a number is impossible, or the nesting too deep"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_read(name, tmp_path, exchanges):
    content, text = BROKEN[name]
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path, {}, exchanges=exchanges)
    assert caught.value.errors == (f"{path}: {text}",)


def test_a_missing_file_is_told_with_what_is_wrong_elsewhere(exchanges):
    environ = {"QUANTLAB_STATUS__PORT": "x", "QUANTLAB_SPOOL__DIR": "./data"}
    with pytest.raises(ConfigError) as caught:
        load(Path("nowhere.toml"), environ, exchanges=exchanges)
    # Whether ./data is also the folder of the recording stands in the file, so nothing is said about that.
    assert caught.value.errors == (
        "nowhere.toml: there is no such file",
        'QUANTLAB_STATUS__PORT: must be a whole number, not "x"',
    )


def test_a_folder_and_an_impossible_name(tmp_path, exchanges):
    for path, text in ((tmp_path, "cannot be read: Is a directory"), (Path("a\0b"), "cannot be read: a name or")):
        with pytest.raises(ConfigError) as caught:
            load(path, {}, exchanges=exchanges)
        assert caught.value.errors[0].startswith(f"{path}: {text}")


def test_a_file_without_permission(exchanges, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigError, match=r"^x\.toml: cannot be read: Permission denied$"):
        load(Path("x.toml"), {}, exchanges=exchanges)


def test_the_variable_names_the_file_unless_the_caller_does(tmp_path, exchanges):
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text("[queue]\nmax_events = 1")
    other.write_text("\ufeff[queue]\r\nmax_events = 2\r\n", encoding="utf-8")
    environ = {"QUANTLAB_CONFIG": str(other)}
    assert load(None, environ, exchanges=exchanges).queue.max_events == 2
    assert load(one, environ, exchanges=exchanges).queue.max_events == 1
    assert load(None, {"QUANTLAB_CONFIG": ""}, exchanges=exchanges).queue.max_events == 500_000
