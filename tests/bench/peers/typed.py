"""Binance's messages, decoded straight to numbers: msgspec's own way of saying what one wants to know."""

from __future__ import annotations

import msgspec


class BookTicker(msgspec.Struct, gc=False, tag_field="e", tag="bookTicker"):
    s: str
    T: int
    b: float
    B: float
    a: float
    A: float


class AggTrade(msgspec.Struct, gc=False, tag_field="e", tag="aggTrade"):
    s: str
    T: int
    p: float
    q: float
    a: int
    m: bool


class MarkPrice(msgspec.Struct, gc=False, tag_field="e", tag="markPriceUpdate"):
    s: str
    E: int
    p: float
    i: float
    r: float
    T: int


class Envelope(msgspec.Struct, gc=False):
    data: BookTicker | AggTrade | MarkPrice


decode = msgspec.json.Decoder(Envelope, strict=False).decode
