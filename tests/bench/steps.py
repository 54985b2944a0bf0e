"""The bytes that are sent, made of the pool: in steps, and with new numbers each time the pool begins anew.

A step is what is sent in one go. Either it holds so many messages in a row, for whoever is subscribed to each; or, in bunches,
so many messages for one client, as if each connection of an exchange sent when it has so much.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Protocol

import attrs
from mix import Message

_NUMBER = b'"a":'
"""Where the number of a trade stands."""


class Line(Protocol):
    def seal(self, frames: list[bytearray]) -> bytes: ...


class Receiver(Protocol):
    line: Line


@attrs.frozen
class _Mark:
    """A number in a frame: where it stands, what it is, and how much it grows with each turn of the pool."""

    frame: bytearray
    start: int
    end: int
    first: int
    stride: int

    def write(self, turn: int) -> None:
        text = b"%d" % (self.first + turn * self.stride)
        if len(text) != self.end - self.start:
            raise OverflowError("the numbers have become longer: play fewer messages")
        self.frame[self.start : self.end] = text


@attrs.frozen
class Step:
    """What is sent in one go, to whom."""

    parts: list[tuple[Receiver, list[bytearray]]]
    marks: list[_Mark]
    messages: int
    events: int

    def sealed(self, turn: int) -> list[tuple[Receiver, bytes]]:
        """The bytes in this turn of the pool."""
        if turn:
            for mark in self.marks:
                mark.write(turn)
        return [(receiver, receiver.line.seal(frames)) for receiver, frames in self.parts]


def in_rows(messages: list[Message], owner: Mapping[str, Receiver], size: int) -> list[Step]:
    """Steps of so many messages in a row."""
    strides = _strides(messages)
    return [_step(messages[end - size : end], owner, strides) for end in range(size, len(messages) + 1, size)]


def in_bunches(messages: list[Message], owner: Mapping[str, Receiver], size: int) -> list[Step]:
    """Steps of so many messages for one client, in the order in which they become full; last those that do not."""
    strides = _strides(messages)
    waiting: dict[int, list[Message]] = defaultdict(list)
    steps = []
    for message in messages:
        bunch = waiting[id(owner[message.topic])]
        bunch.append(message)
        if len(bunch) == size:
            steps.append(_step(bunch, owner, strides))
            bunch.clear()
    return steps + [_step(bunch, owner, strides) for bunch in waiting.values() if bunch]


def _strides(messages: list[Message]) -> Counter[str]:
    return Counter(message.topic for message in messages if message.number is not None)


def _step(messages: list[Message], owner: Mapping[str, Receiver], strides: Mapping[str, int]) -> Step:
    frames: dict[int, tuple[Receiver, list[bytearray]]] = {}
    marks = []
    for message in messages:
        frame = bytearray(message.frame)
        receiver = owner[message.topic]
        frames.setdefault(id(receiver), (receiver, []))[1].append(frame)
        if message.number is not None:
            start = frame.index(_NUMBER) + len(_NUMBER)
            end = start + len(str(message.number))
            marks.append(_Mark(frame, start, end, message.number, strides[message.topic]))
    return Step(list(frames.values()), marks, len(messages), sum(message.events for message in messages))


@attrs.frozen
class Turns:
    """Steps played again and again, until there are so many messages."""

    steps: list[Step] = attrs.field(validator=attrs.validators.min_len(1))
    total: int

    def __iter__(self) -> Iterator[tuple[int, Step]]:
        left = self.total
        for turn in itertools.count():
            for step in self.steps:
                left -= step.messages
                if left < 0:
                    return
                yield turn, step

    @property
    def messages(self) -> int:
        return sum(step.messages for _, step in self)

    @property
    def events(self) -> int:
        return sum(step.events for _, step in self)
