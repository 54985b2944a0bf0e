"""What may be shown, and what never is."""

import json
import re

import pytest

from quantlab_collector.config import ConfigError, load, mask_text, masked
from quantlab_collector.config.effective import cover
from quantlab_collector.config.sources import variable
from quantlab_collector.config.structure import build
from quantlab_collector.config.tree import settings
from quantlab_collector.contracts.masking import smells_of_secret

MASKED = [
    ("wss://host.test:443", "wss://host.test:443"),
    ("wss://user:pass@host.test:443", "wss://***@host.test:443"),
    ("wss://token@host.test", "wss://***@host.test"),
    ("wss://a:b@c:d@host.test", "wss://***@host.test"),
    ("wss://user:pa/ss@host.test", "wss://***@host.test"),
    ("https://host.test/x?token=abc&y=1", "https://host.test/x?***"),
    ("https://host.test/x#abc", "https://host.test/x#***"),
    ("https://host.test?mail=a@b", "https://***"),
    ("https://user:a?b@host.test", "https://***"),
    ("S3://key:secret@bucket", "S3://***@bucket"),
    ("user:pass@host.test", "***@host.test"),
    ("./data@home", "./data@home"),
    ("/srv/data?x", "/srv/data?x"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "expected"), MASKED)
def test_mask_text(text, expected):
    assert mask_text(text) == expected


@pytest.mark.parametrize(
    "key", ["secret_access_key", "token", "apiKey", "PASSWORD", "aws-session-token", "credentials", "sse_keys"]
)
def test_keys_that_smell(key):
    assert smells_of_secret(key)


@pytest.mark.parametrize("key", ["symbols", "KEYUSDT", "TOKENUSDT", "url", "retry_cap", "keyed"])
def test_keys_that_do_not(key):
    assert not smells_of_secret(key)


def test_what_stands_below_a_key_that_smells_is_covered():
    plain = {"options": {"secret_key": "a", "region": "b", "tokens": ["c", {"x": 1}]}}
    assert cover(plain) == {"options": {"secret_key": "***", "region": "b", "tokens": ["***", {"x": "***"}]}}


def test_the_effective_config_is_plain_and_can_be_loaded_again(load_text, exchanges):
    text = """
        [collector]
        heartbeat = "1.5s"
        [exchanges.binance]
        symbols = ["A"]
        symbol_map = { A = "B" }
        [flush]
        max_bytes = "2MB"
        [reconnect]
        first = "0.3ms"
        cap = "24h"
        """
    config = load_text(text)
    plain = json.loads(json.dumps(masked(config)))
    assert build(plain, exchanges) == (config, [])
    assert plain["collector"]["heartbeat"] == "1500ms"
    assert plain["reconnect"]["first"] == "0.3ms"
    assert plain["reconnect"]["cap"] == "24h"
    assert plain["flush"]["max_bytes"] == "2MB"
    assert plain["spool"]["max_bytes"] == "20GiB"
    assert plain["exchanges"]["binance"]["streams"] == ["bbo", "trade", "mark_price", "funding"]
    assert plain["intake"]["wire"] == "fast"


CANARY = "c4n4ry"
CARRIERS = [
    f"wss://user:{CANARY}@host.test",
    f"wss://{CANARY}@host.test:1",
    f"https://user:{CANARY}@host.test",
    f"https://user:{CANARY}@host.test/path",
    f"wss://host.test?token={CANARY}",
    f"wss://host.test/?mail=a@{CANARY}",
    f"wss://user:x?{CANARY}@host.test",
    f"wss://user:{CANARY}@[::1",
    f"s3://key:{CANARY}@bucket",
    f"file://user:{CANARY}@host/x",
    f"user:{CANARY}@host.test",
]


def shown(values, exchanges, path):
    """All that anybody is shown of a config."""
    try:
        config = load(path, values, exchanges=exchanges)
    except ConfigError as error:
        return str(error)
    addresses = [repr(options) for options in config.exchanges.values()]
    return json.dumps(masked(config)) + "".join(addresses)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_no_secret_is_ever_shown(carrier, exchanges, tmp_path):
    path = tmp_path / "collector.toml"
    one = {"binance": exchanges["binance"]}
    quoted = json.dumps(carrier)
    for setting in settings(one):
        for text in (carrier, f"A={carrier}"):
            assert CANARY not in shown({variable(setting): text}, one, None)
        *tables, key = setting
        for value in (quoted, f"[{quoted}]", f"{{ {quoted} = {quoted} }}"):
            path.write_text(f"[{'.'.join(tables)}]\n{key} = {value}\n{quoted} = 1\napi_key = {value}")
            assert CANARY not in shown({}, one, path)
    path.write_text(f'[exchanges.binance]\nws_url = "{carrier}\n')
    assert CANARY not in shown({}, exchanges, path)


def test_the_canary_would_sing(exchanges):
    """An address that is accepted is shown, without its secret."""
    text = shown({"QUANTLAB_EXCHANGES__BINANCE__WS_URL": CARRIERS[0]}, exchanges, None)
    assert len(re.findall(re.escape("wss://***@host.test"), text)) == 2
