"""What is asked over REST, and how the answers of the documentation are read."""

import json

import pytest

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.contracts.topics import Topic
from quantlab_collector.exchanges.protocol import Instruments, Newest
from quantlab_collector.exchanges.registry import EXCHANGES

BBO, TRADE, MARK, FUNDING, OI = StreamType
SYMBOLS = ("BTCUSDT", "ETHUSDT")

ANSWERS = {
    "/fapi/v1/ticker/bookTicker": [{"symbol": "BTCUSDT", "bidPrice": "4.0", "time": 1589437530011}, {"symbol": "X", "time": 1}],
    "/fapi/v1/premiumIndex": [{"symbol": "BTCUSDT", "markPrice": "1", "time": 1597370495002}],
    "/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1": [{"a": 26129, "T": 1498793709153, "m": True}],
    "/fapi/v1/aggTrades?symbol=ETHUSDT&limit=1": [],
    "/api/v3/trades?symbol=BTCUSDT&limit=1": [{"id": 28457, "time": 1499865549590}],
    "/api/v3/trades?symbol=ETHUSDT&limit=1": [],
    "/v5/market/orderbook?category=linear&symbol=BTCUSDT&limit=1": {
        "retCode": 0, "retMsg": "OK", "result": {"s": "BTCUSDT", "ts": 1716863719031, "u": 1, "cts": 1716863718905}, "time": 1,
    },
    "/v5/market/recent-trade?category=linear&symbol=BTCUSDT&limit=1": {
        "retCode": 0, "result": {"category": "linear", "list": [{"execId": "1", "time": "1672052955758"}]},
    },
    "/api/v5/public/mark-price?instType=SWAP": {"code": "0", "msg": "", "data": [{"instId": "BTC-USDT-SWAP", "ts": "1597026383085"}]},
    "/api/v5/public/open-interest?instType=SWAP": {"code": "0", "data": [{"instId": "BTC-USDT-SWAP", "oi": "1", "ts": "1597026383086"}]},
    "/api/v5/public/funding-rate?instId=BTC-USDT-SWAP": {"code": "0", "data": [{"instId": "BTC-USDT-SWAP", "ts": "1597026383087"}]},
    "/api/v5/market/trades?instId=BTC-USDT-SWAP&limit=1": {"code": "0", "data": [{"instId": "BTC-USDT-SWAP", "ts": "1654161646974"}]},
}  # fmt: skip
EXPECTED = {
    "binance": {BBO: 1589437530011, MARK: 1597370495002, FUNDING: 1597370495002, TRADE: 1498793709153},
    "binance-spot": {TRADE: 1499865549590},
    "bybit": {BBO: 1716863718905, TRADE: 1672052955758},
    "okx": {MARK: 1597026383085, OI: 1597026383086, FUNDING: 1597026383087, TRADE: 1654161646974},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_newest_times_of_what_is_asked(name):
    exchange = EXCHANGES[name]
    topics = [Topic(name, stream, "BTCUSDT") for stream in exchange.streams]
    found = [
        newest
        for request in exchange.rest.newest(topics, {})
        for newest in request.read(json.dumps(ANSWERS[request.path]).encode())
    ]
    expected = [Newest(Topic(name, stream, "BTCUSDT"), ms * 1_000_000) for stream, ms in EXPECTED[name].items()]
    assert sorted(found, key=str) == sorted(expected, key=str)


@pytest.mark.parametrize("name", EXCHANGES)
def test_a_thousand_symbols_are_asked_within_reason(name):
    exchange = EXCHANGES[name]
    topics = [Topic(name, stream, f"S{n}USDT") for n in range(1000) for stream in exchange.streams]
    requests = exchange.rest.newest(topics, {})
    assert len({request.path for request in requests}) == len(requests) <= 2002
    assert all(0 < request.weight <= exchange.rest.limits.weight for request in requests)


@pytest.mark.parametrize(
    ("name", "answer", "expected"),
    [
        ("binance", {"symbols": [
            {"symbol": "BTCUSDT", "status": "TRADING", "contractType": "PERPETUAL"},
            {"symbol": "TSLAUSDT", "status": "TRADING", "contractType": "TRADIFI_PERPETUAL"},
            {"symbol": "BTCUSDT_260327", "status": "TRADING", "contractType": "CURRENT_QUARTER"},
            {"symbol": "MATICUSDT", "status": "SETTLING", "contractType": "PERPETUAL"},
        ]}, Instruments(frozenset({"BTCUSDT", "TSLAUSDT"}))),
        ("binance-spot", {"symbols": [{"symbol": "BTCUSDT", "status": "TRADING"}, {"symbol": "X", "status": "BREAK"}]},
         Instruments(frozenset({"BTCUSDT"}))),
        ("bybit", {"retCode": 0, "result": {"list": [{"symbol": "BTCUSDT", "status": "Trading"}, {"symbol": "X", "status": "Closed"}],
                                            "nextPageCursor": "a=b&c"}}, Instruments(frozenset({"BTCUSDT"}), "a=b&c")),
        ("bybit-spot", {"retCode": 0, "result": {"list": [], "nextPageCursor": ""}}, Instruments(frozenset())),
        ("okx", {"code": "0", "data": [{"instId": "BTC-USDT-SWAP", "state": "live"}, {"instId": "X-SWAP", "state": "suspend"}]},
         Instruments(frozenset({"BTC-USDT-SWAP"}))),
    ],
)  # fmt: skip
def test_the_instruments_that_trade(name, answer, expected):
    rest = EXCHANGES[name].rest
    assert rest.instruments().read(json.dumps(answer).encode()) == expected
    if expected.cursor:
        assert rest.instruments(expected.cursor).path.endswith("&cursor=a%3Db%26c")


@pytest.mark.parametrize("name", EXCHANGES)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"retCode":10006,"retMsg":"Too many visits!"}', b'{"code":"50011","data":[]}', b'"x"']
)
def test_what_is_no_answer_is_a_value_error(name, body):
    rest = EXCHANGES[name].rest
    with pytest.raises(ValueError):
        rest.instruments().read(body)


def test_native_names():
    assert EXCHANGES["okx"].rest.native("BTCUSDT", {}) == "BTC-USDT-SWAP"
    assert EXCHANGES["bybit"].rest.native("POLUSDT", {"POLUSDT": "1000POLUSDT"}) == "1000POLUSDT"
