"""What is played: Binance's own words in a realistic mix, ready as WebSocket frames."""

from __future__ import annotations

import itertools
import random
import struct
from collections import Counter

from quantlab_collector.contracts.events import StreamType
from quantlab_collector.simulators.binance_messages import BinanceMessages
from quantlab_collector.simulators.market import Market

_BBO, _TRADE, _MARK = ("bookTicker", StreamType.BBO), ("aggTrade", StreamType.TRADE), ("markPrice@1s", StreamType.MARK_PRICE)
TEN = (_BBO, _BBO, _TRADE, _BBO, _BBO, _BBO, _MARK, _BBO, _TRADE, _BBO)
"""Any ten messages in a row: 70 % best bid and offer, 20 % trades, 10 % mark prices."""

EVENTS_OF_TEN = 11
"""A mark price is two events: the price and the funding rate."""

STREAMS_OF_SYMBOL = 3
KNOWN = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT", "LINKUSDT", "ADAUSDT", "AVAXUSDT", "LTCUSDT", "POLUSDT")
POOL = 50_000
"""Different messages; a multiple of ten."""
_START_MS = 1_790_000_000_000


def symbol_names(count: int) -> tuple[str, ...]:
    """So many symbols; the well-known ones come first."""
    more = (f"COIN{number:04d}USDT" for number in itertools.count())
    return tuple(itertools.islice(itertools.chain(KNOWN, more), count))


def pool(symbols: tuple[str, ...], size: int = POOL) -> list[tuple[str, bytes]]:
    """Different messages, each with the name of its stream. Whoever plays more than the pool begins anew."""
    dice = random.Random(1)
    texts = BinanceMessages(Market(1, symbols))
    numbers: Counter[tuple[StreamType, str]] = Counter()
    messages = []
    for at, (suffix, kind) in zip(range(size), itertools.cycle(TEN), strict=False):
        symbol = dice.choice(symbols)
        stream = f"{symbol.lower()}@{suffix}"
        text = texts.text(kind, symbol, numbers[kind, symbol], _START_MS + at)
        numbers[kind, symbol] += 1
        messages.append((stream, text_frame(f'{{"stream":"{stream}","data":{text}}}'.encode())))
    return messages


def text_frame(payload: bytes) -> bytes:
    """A frame as a server sends it."""
    size = len(payload)
    header = struct.pack(">BB", 0x81, size) if size < 126 else struct.pack(">BBH", 0x81, 126, size)
    return header + payload
