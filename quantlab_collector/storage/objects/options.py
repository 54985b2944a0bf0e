"""What can be set about a remote store. Secrets are not: they come from the environment, the machine's role, or a file."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import attrs

from quantlab_collector.contracts.masking import masked_repr


class Addressing(StrEnum):
    """Where the bucket stands in the address of an object."""

    AUTO = "auto"
    """In the path where an endpoint is given, else in the name of the host, as AWS wants it."""
    PATH = "path"
    VIRTUAL = "virtual"


class Encryption(StrEnum):
    """What the store is asked to encrypt with."""

    NONE = "none"
    """What the bucket does by itself."""
    AES256 = "AES256"
    KMS = "aws:kms"


class Checksum(StrEnum):
    """What the store checks an object against before it takes it."""

    NONE = "none"
    SHA256 = "SHA256"


@attrs.frozen
class StoreOptions:
    """Table ``[storage.options]``. What is empty is left to the store's own defaults and to the environment."""

    endpoint: str = attrs.field(default="", repr=masked_repr)
    region: str = ""
    addressing: Addressing = Addressing.AUTO
    allow_http: bool = False
    """Unencrypted to another machine. To this one it is always allowed."""
    ca_file: str = ""
    credentials_file: str = ""
    account: str = ""
    """Of Azure."""
    server_side_encryption: Encryption = Encryption.NONE
    kms_key_id: str = ""
    checksum: Checksum = Checksum.NONE


PLAIN: Final = StoreOptions()
"""Nothing set."""
