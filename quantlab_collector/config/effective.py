"""The effective config as it may be shown."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from cattrs import Converter

from quantlab_collector.config.tree import Config
from quantlab_collector.config.units import format_duration, format_size
from quantlab_collector.contracts.masking import MASK, mask_text, smells_of_secret
from quantlab_collector.contracts.units import Bytes, Seconds

_WHERE_SECRETS_ARE: Final = ("credentials_file", "kms_key_id")
"""They are named like secrets, and only say where one is."""


def cover(value: Any, *, secret: bool = False) -> Any:
    """Plain data with its secrets masked; ``secret`` when the key above it smells of one."""
    if isinstance(value, dict):
        return {key: cover(item, secret=secret or _is_secret(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [cover(item, secret=secret) for item in value]
    if secret:
        return MASK
    return mask_text(value) if isinstance(value, str) else value


def _is_secret(key: str) -> bool:
    return smells_of_secret(key) and key not in _WHERE_SECRETS_ARE


def _plain_converter() -> Converter:
    converter = Converter()
    converter.register_unstructure_hook(Seconds, format_duration)
    converter.register_unstructure_hook(Bytes, format_size)
    converter.register_unstructure_hook(StrEnum, lambda choice: choice.value)
    return converter


_PLAIN = _plain_converter()


def masked(config: Config) -> dict[str, Any]:
    """The effective config as plain data, for ``check`` and for the log: in the form of the file, with its secrets masked."""
    plain: dict[str, Any] = cover(_PLAIN.unstructure(config))
    return plain
