"""Wrong files, and everything that is said about them. The texts are what users see, so they stand here to the letter."""

import textwrap

import pytest

from quantlab_collector.config import ConfigError, load

DURATION = 'must be a duration such as "500ms", "60s", "5m" or "24h"'
SIZE = 'must be a size such as "128MiB", "20GiB" or "2MB", or a number of bytes'
RANGE = "must be longer than nothing and at most 8760h"
ADDRESS = "is not an address: its host or port cannot be read"
NO_PATH = "must end after host and port: the path belongs to the exchange"
INSTANCE = "must be up to 32 lower-case letters, digits and underscores, beginning with no underscore"
HOST = "must be a name or an address, without a port"
ANY_STORE = "must be a path, file:///path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
TABLES = "collector, intake, queue, journal, flush, storage, spool, raw_archive, reconnect, silence, status, log, exchanges"

WRONG = {
    "names": (
        """
        symbls = ["BTCUSDT"]
        [storge]
        [collector]
        Symbols = ["BTCUSDT"]
        heart_beat = "5s"
        zzz = 1
        [exchanges.binanse]
        [exchanges.bitmex]
        [exchanges.okx-spot]
        "stre ams" = []
        """,
        [
            f"symbls: unknown table; known: {TABLES}",
            "storge: unknown table; did you mean storage?",
            "collector.Symbols: unknown key; did you mean symbols?",
            "collector.heart_beat: unknown key; did you mean heartbeat?",
            "collector.zzz: unknown key; known: instance_id, symbols, stop_timeout, heartbeat",
            "exchanges.binanse: unknown exchange; did you mean binance?",
            "exchanges.bitmex: unknown exchange; known: binance, okx-spot",
            'exchanges.okx-spot."stre ams": unknown key; did you mean streams?',
        ],
    ),
    "tables that are none": (
        """
        queue = 5
        log = "debug"
        exchanges = []
        [[storage]]
        """,
        [
            "queue: must be a table, not 5",
            "storage: must be a table, not a list",
            'log: must be a table, not "debug"',
            "exchanges: must hold a table for each exchange, not a list",
        ],
    ),
    "an exchange that is no table": ("[exchanges]\nbinance = false", ["exchanges.binance: must be a table, not false"]),
    "types": (
        """
        [collector]
        instance_id = 1
        symbols = "BTCUSDT"
        heartbeat = 30
        stop_timeout = true
        [exchanges.binance]
        enabled = "true"
        streams = "bbo"
        ws_url = ["wss://h"]
        symbol_map = ["A"]
        ca_file = 2026-01-01
        [intake]
        wire = 1
        [queue]
        max_events = "12"
        [journal]
        batch_rows = true
        [flush]
        interval = 1979-05-27T07:32:00Z
        max_bytes = 1.5
        [spool]
        max_bytes = "20 Gigs"
        [storage]
        upload_threads = 1.5
        retry_cap = {}
        [status]
        enabled = 1
        port = "9100"
        allowed_hosts = [1, "a", nan]
        """,
        [
            "collector.instance_id: must be text, not 1",
            'collector.symbols: must be a list, not "BTCUSDT"',
            f"collector.stop_timeout: {DURATION}, not true",
            f"collector.heartbeat: {DURATION}, not 30",
            "intake.wire: 1 is not one of fast, trio-websocket",
            'queue.max_events: must be a whole number, not "12"',
            "journal.batch_rows: must be a whole number, not true",
            f"flush.interval: {DURATION}, not a date or time",
            f"flush.max_bytes: {SIZE}, not 1.5",
            "storage.upload_threads: must be a whole number, not 1.5",
            f"storage.retry_cap: {DURATION}, not a table",
            f'spool.max_bytes: {SIZE}, not "20 Gigs"',
            "status.enabled: must be true or false, not 1",
            'status.port: must be a whole number, not "9100"',
            "status.allowed_hosts[0]: must be text, not 1",
            "status.allowed_hosts[2]: must be text, not nan",
            'exchanges.binance.enabled: must be true or false, not "true"',
            'exchanges.binance.streams: must be a list, not "bbo"',
            "exchanges.binance.ws_url: must be text, not a list",
            "exchanges.binance.symbol_map: must be a table, not a list",
            "exchanges.binance.ca_file: must be text, not a date or time",
        ],
    ),
    "streams and symbols": (
        """
        [collector]
        symbols = ["BTCUSDT", "ethusdt", 3, "../etc", "SOL/USDT", ""]
        [exchanges.binance]
        streams = ["bbo", "trade", "bboo", "open_interest", 4]
        symbols = []
        [exchanges.binance.symbol_map]
        lower = "X"
        A = "B C"
        B = 1
        "A B" = "X"
        [exchanges.okx-spot]
        symbols = ["BTCUSDT", "ETHUSDT", "BTCUSDT"]
        streams = ["trade", "trade"]
        """,
        [
            "collector.symbols[2]: must be text, not 3",
            'collector.symbols[1]: "ethusdt" must be written ETHUSDT',
            'collector.symbols[3]: "../etc" is not a symbol such as BTCUSDT',
            'collector.symbols[4]: "SOL/USDT" is not a symbol such as BTCUSDT',
            'collector.symbols[5]: "" is not a symbol such as BTCUSDT',
            'exchanges.binance.streams[2]: "bboo" is not one of bbo, trade, mark_price, funding',
            'exchanges.binance.streams[3]: "open_interest" is not one of bbo, trade, mark_price, funding',
            "exchanges.binance.streams[4]: 4 is not one of bbo, trade, mark_price, funding",
            "exchanges.binance.symbol_map.B: must be text, not 1",
            "exchanges.binance.symbols: must name at least one",
            'exchanges.binance.symbol_map.lower: "lower" must be written LOWER',
            'exchanges.binance.symbol_map.A: "B C" cannot be the name of a symbol',
            'exchanges.binance.symbol_map."A B": "A B" is not a symbol such as BTCUSDT',
            'exchanges.okx-spot.symbols: "BTCUSDT" is there twice',
            'exchanges.okx-spot.streams: "trade" is there twice',
        ],
    ),
    "numbers": (
        """
        [queue]
        max_events = 0
        [journal]
        batch_rows = -1
        [storage]
        upload_threads = 65
        takeover_after = "4s"
        [reconnect]
        max_attempts = 0
        [status]
        port = 65536
        [spool]
        max_bytes = 0
        [flush]
        part_rows = -1
        max_bytes = 99999999999999999999
        """,
        [
            "queue.max_events: must be between 1 and 100000000, not 0",
            "journal.batch_rows: must be between 1 and 1000000, not -1",
            "flush.max_bytes: must be more than nothing and within 64 bits, not a number beyond 64 bits",
            "flush.part_rows: must be between 0 and 1000000000, not -1",
            "storage.upload_threads: must be between 1 and 64, not 65",
            "storage.takeover_after: must be at least 5s, not 4s",
            "spool.max_bytes: must be more than nothing and within 64 bits, not 0",
            "reconnect.max_attempts: must be between 1 and 1000000, not 0",
            "status.port: must be between 0 and 65535, not 65536",
        ],
    ),
    "durations": (
        """
        [collector]
        stop_timeout = "0s"
        heartbeat = "-5s"
        [intake]
        connect_timeout = "10"
        idle_timeout = "1d"
        [journal]
        interval = "2s"
        [reconnect]
        first = "999999h"
        cap = ""
        """,
        [
            f'collector.stop_timeout: {RANGE}, not "0s"',
            f'collector.heartbeat: {DURATION}, not "-5s"',
            f'intake.connect_timeout: {DURATION}, not "10"',
            f'intake.idle_timeout: {DURATION}, not "1d"',
            "journal.interval: must be at most 1s, not 2s: a crash loses what came since",
            f'reconnect.first: {RANGE}, not "999999h"',
            f'reconnect.cap: {DURATION}, not ""',
        ],
    ),
    "addresses": (
        """
        [exchanges.binance]
        ws_url = "https://b.test"
        rest_url = "wss://b.test"
        [exchanges.okx-spot]
        ws_url = "wss://o.test/ws/v5/public"
        rest_url = "https://o.test?x=1"
        """,
        [
            "exchanges.binance.ws_url: must begin with wss:// or ws://",
            "exchanges.binance.rest_url: must begin with https:// or http://",
            f"exchanges.okx-spot.ws_url: {NO_PATH}",
            f"exchanges.okx-spot.rest_url: {NO_PATH}",
        ],
    ),
    "more addresses": (
        """
        [exchanges.binance]
        ws_url = "wss://"
        rest_url = "https://h:port"
        [exchanges.okx-spot]
        ws_url = "wss://[::1"
        rest_url = "https://two words"
        """,
        [
            f"exchanges.binance.ws_url: {ADDRESS}",
            f"exchanges.binance.rest_url: {ADDRESS}",
            f"exchanges.okx-spot.ws_url: {ADDRESS}",
            f"exchanges.okx-spot.rest_url: {ADDRESS}",
        ],
    ),
    "names and hosts": (
        """
        [collector]
        instance_id = "Collector-1"
        [status]
        host = "127.0.0.1:9100"
        allowed_hosts = ["status.example.org", "http://x", "a:80"]
        [log]
        level = "INFO"
        format = "text"
        [reconnect]
        after_max_attempts = "give up"
        """,
        [
            f'collector.instance_id: {INSTANCE}, not "Collector-1"',
            'reconnect.after_max_attempts: "give up" is not one of probe, stop',
            f'status.host: {HOST}, not "127.0.0.1:9100"',
            f'status.allowed_hosts[1]: {HOST}, not "http://x"',
            f'status.allowed_hosts[2]: {HOST}, not "a:80"',
            'log.level: "INFO" is not one of debug, info, warning, error',
            'log.format: "text" is not one of auto, json, console',
        ],
    ),
    "folders": (
        """
        [storage]
        url = "s3://key:hunter2@bucket/prefix"
        [spool]
        dir = ""
        """,
        [
            "storage.url: must end after bucket and prefix: users, passwords and queries do not belong into it",
            "spool.dir: must name a folder",
        ],
    ),
    "more folders": (
        """
        [storage]
        url = "~/data"
        [spool]
        dir = "file:///spool"
        """,
        ["storage.url: must be a whole path: ~ is not expanded here", "spool.dir: must be a folder, not a URL"],
    ),
    "a folder that is a file": (
        """
        [storage]
        url = "collector.toml"
        [spool]
        dir = "a\\u0000b"
        """,
        ['storage.url: "collector.toml" is a file, not a folder', "spool.dir: holds a character that cannot be printed"],
    ),
    "certificates": (
        """
        [exchanges.binance]
        ca_file = "nowhere.pem"
        [exchanges.okx-spot]
        ca_file = "collector.toml"
        """,
        [
            'exchanges.binance.ca_file: "nowhere.pem" cannot be read: No such file or directory',
            'exchanges.okx-spot.ca_file: "collector.toml" holds no certificates in PEM form',
        ],
    ),
    "what contradicts itself": (
        """
        [reconnect]
        first = "1m"
        [storage]
        retry_cap = "900ms"
        [flush]
        interval = "100ms"
        max_bytes = "1GiB"
        [spool]
        dir = "data/spool"
        max_bytes = "1GiB"
        [exchanges]
        okx-spot.enabled = false
        [exchanges.binance]
        enabled = false
        [exchanges.binance.symbol_map]
        BTCUSDT = "ETHUSDT"
        """,
        [
            "reconnect.first: reconnect.cap (30s) is shorter than reconnect.first (1m)",
            "storage.retry_cap: storage.retry_cap (900ms) is shorter than storage.retry_first (1s)",
            "flush.interval: flush.interval (100ms) is shorter than journal.interval (500ms)",
            "spool.max_bytes: spool.max_bytes (1GiB) has no room for two segments of flush.max_bytes (1GiB)",
            "spool.dir: spool.dir is inside storage.url: readers of the data would find unfinished files",
            "exchanges.binance.enabled: no exchange is enabled",
            'exchanges.binance.symbol_map: BTCUSDT and ETHUSDT both mean "ETHUSDT"',
        ],
    ),
    "an archive without room": (
        """
        [raw_archive]
        compression = "brotli"
        rotate_bytes = "1kB"
        queue_bytes = "64kB"
        max_bytes = "1MB"
        enabled = 1
        """,
        [
            "raw_archive.enabled: must be true or false, not 1",
            'raw_archive.compression: "brotli" is not one of gzip, zstd',
            "raw_archive.rotate_bytes: must be between 10kB and 1GiB, not 1kB",
            "raw_archive.queue_bytes: must be between 1MiB and 64GiB, not 64kB",
        ],
    ),
    "an archive whose files are larger than itself": (
        '[raw_archive]\nmax_bytes = "1MB"',
        ["raw_archive.max_bytes: raw_archive.max_bytes (1MB) has no room for one file of raw_archive.rotate_bytes (2MB)"],
    ),
    "one folder for two": (
        '[storage]\nurl = "./here"\n[spool]\ndir = "there/../here"',
        ["spool.dir: spool.dir and storage.url are the same folder"],
    ),
    "data inside the spool": (
        '[storage]\nurl = "spool/data"',
        ["storage.url: storage.url is inside spool.dir: a spool holds nothing but its own files"],
    ),
    # What is wrong by itself is not also said to contradict something.
    "no echo": (
        """
        [reconnect]
        first = "1m"
        cap = "30"
        [spool]
        dir = "./data"
        [storage]
        url = "ftp://bucket"
        """,
        [
            f"storage.url: {ANY_STORE}",
            f'reconnect.cap: {DURATION}, not "30"',
        ],
    ),
    "every kind at once": (
        """
        [flush]
        interval = "100ms"
        intervall = "1s"
        [queue]
        max_events = "many"
        [status]
        port = -1
        """,
        [
            'queue.max_events: must be a whole number, not "many"',
            "flush.intervall: unknown key; did you mean interval?",
            "status.port: must be between 0 and 65535, not -1",
            "flush.interval: flush.interval (100ms) is shorter than journal.interval (500ms)",
        ],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_every_error_at_once_with_its_place(name, errors):
    text, expected = WRONG[name]
    assert errors(textwrap.dedent(text)) == [f"collector.toml: {line}" for line in expected]


def test_a_long_or_strange_value_does_not_disturb_the_terminal(errors):
    (long,) = errors(f'[status]\nhost = "{"x y" * 1000}"')
    assert len(long) < 200
    (strange,) = errors('[log]\nlevel = "\\u001b[31m\\u2028"')
    assert strange.isprintable()
    (key,) = errors('[log]\n"a\\u001b\\nb" = 1')
    assert key.isprintable()


def test_a_number_of_thousands_of_digits(errors):
    digits = "f" * 5000
    assert errors(f"[queue]\nmax_events = 0x{digits}") == [
        "collector.toml: queue.max_events: must be between 1 and 100000000, not a number beyond 64 bits"
    ]


def test_a_mapped_name_and_a_made_one_may_be_the_same(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('[exchanges.okx]\nsymbols = ["BTCUSDT", "XUSDT"]\nsymbol_map = { XUSDT = "BTC-USDT-SWAP" }\n')
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert [error.split(": ", 1)[1] for error in caught.value.errors] == [
        'exchanges.okx.symbol_map: BTCUSDT and XUSDT both mean "BTC-USDT-SWAP"'
    ]
