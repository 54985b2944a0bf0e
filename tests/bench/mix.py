"""What is played: each exchange's own words in a realistic mix, ready as WebSocket frames.

Of ten events seven are best bids and offers, two are trades, one is something else, as near as each exchange's protocol comes:

binance   the tenth message is a mark price, which is two events: the price and the funding rate. Ten messages, eleven events.
bybit     the tenth is a ticker: of ten tickers eight tell prices, one the funding, one the open interest. A message has one event.
okx       the tenth: of ten, eight are mark prices, one a funding rate, one an open interest. A message has one event.
"""

from __future__ import annotations

import itertools
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator

import attrs

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.binance_messages import BinanceMessages
from quantlab_collector.simulators.bybit_messages import BybitMessages, Numbered
from quantlab_collector.simulators.market import Market
from quantlab_collector.simulators.okx_messages import OkxMessages, inst_id

BBO, TRADE, MARK = StreamType.BBO, StreamType.TRADE, StreamType.MARK_PRICE
FUNDING, INTEREST = StreamType.FUNDING, StreamType.OPEN_INTEREST

TEN = (BBO, BBO, TRADE, BBO, BBO, BBO, None, BBO, TRADE, BBO)
"""Any ten messages in a row. ``None`` is something else."""
OTHERS = {"binance": (MARK,), "bybit": (MARK,) * 4 + (FUNDING,) + (MARK,) * 4 + (INTEREST,)}
OTHERS["okx"] = OTHERS["bybit"]

KNOWN = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "LINKUSDT", "ADAUSDT", "AVAXUSDT", "LTCUSDT", "POLUSDT")
POOL = 100_000
"""Different messages; a multiple of a hundred, in which the mix is exact."""
_START_MS = 1_790_000_000_000


@attrs.frozen
class Message:
    """One message: who is subscribed gets the frame, and owes so many events for it."""

    topic: str
    frame: bytes
    events: int = 1
    number: int | None = None
    """Of a trade whose exchange leaves out none. When the pool is played again, its trades have new numbers."""


def symbol_names(count: int) -> tuple[str, ...]:
    """So many symbols; the well-known ones come first."""
    more = (f"COIN{number:04d}USDT" for number in itertools.count())
    return tuple(itertools.islice(itertools.chain(KNOWN, more), count))


def pool(exchange: str, symbols: tuple[str, ...], size: int = POOL) -> list[Message]:
    """Different messages. Whoever plays more than the pool begins anew."""
    dice = random.Random(1)
    say = _WORDS[exchange](symbols)
    numbers: Counter[tuple[StreamType, str]] = Counter()
    messages = []
    for at, kind in zip(range(size), kinds(exchange), strict=False):
        symbol = dice.choice(symbols)
        messages.append(say(kind, symbol, numbers[kind, symbol], _START_MS + at))
        numbers[kind, symbol] += 1
    return messages


def kinds(exchange: str) -> Iterator[StreamType]:
    """What follows on what."""
    others = itertools.cycle(OTHERS[exchange])
    return (next(others) if kind is None else kind for kind in itertools.cycle(TEN))


def prelude(exchange: str, symbols: tuple[str, ...]) -> list[Message]:
    """What an exchange sends to everyone who subscribes: Bybit's tickers begin with all there is."""
    if exchange != "bybit":
        return []
    words = BybitMessages(Market(1, symbols), exchange)
    return [Message(f"tickers.{s}", text_frame(words.snapshot(s, 0, 0, 0, _START_MS).encode()), 3) for s in symbols]


# ------------------------------------------------------------------------------------------------------ in whose words

_Say = Callable[[StreamType, str, int, int], Message]


def _binance(symbols: tuple[str, ...]) -> _Say:
    words = BinanceMessages(market := Market(1, symbols))
    names = {BBO: "bookTicker", TRADE: "aggTrade", MARK: "markPrice@1s"}

    def say(kind: StreamType, symbol: str, number: int, ms: int) -> Message:
        topic = f"{symbol.lower()}@{names[kind]}"
        frame = text_frame(f'{{"stream":"{topic}","data":{words.text(kind, symbol, number, ms)}}}'.encode())
        trade_id = market[symbol].trade(number).trade_id if kind is TRADE else None
        return Message(topic, frame, 2 if kind is MARK else 1, trade_id)

    return say


def _bybit(symbols: tuple[str, ...]) -> _Say:
    words = BybitMessages(Market(1, symbols), "bybit")

    def say(kind: StreamType, symbol: str, number: int, ms: int) -> Message:
        match kind:
            case StreamType.BBO:
                topic, text = "orderbook.1", words.book(symbol, number, ms)
            case StreamType.TRADE:
                topic, text = "publicTrade", words.trades(symbol, [Numbered(number, ms)])
            case StreamType.MARK_PRICE:
                topic, text = "tickers", words.ticker(symbol, words.prices(symbol, number, sparse=True), ms)
            case StreamType.FUNDING:
                topic, text = "tickers", words.ticker(symbol, words.funding(symbol, number, ms, sparse=True), ms)
            case _:
                topic, text = "tickers", words.ticker(symbol, words.open_interest(number), ms)
        return Message(f"{topic}.{symbol}", text_frame(text.encode()))

    return say


def _okx(symbols: tuple[str, ...]) -> _Say:
    words = OkxMessages(Market(1, symbols))
    names = {BBO: "bbo-tbt", TRADE: "trades", MARK: "mark-price", FUNDING: "funding-rate", INTEREST: "open-interest"}

    def say(kind: StreamType, symbol: str, number: int, ms: int) -> Message:
        return Message(f"{names[kind]}:{inst_id(symbol)}", text_frame(words.text(kind, symbol, number, ms).encode()))

    return say


_WORDS: dict[str, Callable[[tuple[str, ...]], _Say]] = {"binance": _binance, "bybit": _bybit, "okx": _okx}
EXCHANGES = tuple(_WORDS)


def text_frame(payload: bytes) -> bytes:
    """A frame as a server sends it."""
    size = len(payload)
    header = struct.pack(">BB", 0x81, size) if size < 126 else struct.pack(">BBH", 0x81, 126, size)
    return header + payload
