"""Units that a type can carry, so that a setting says what it is."""

from __future__ import annotations

from typing import NewType

Seconds = NewType("Seconds", float)
Bytes = NewType("Bytes", int)
