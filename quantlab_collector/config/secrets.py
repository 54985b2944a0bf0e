"""Secrets stand in the environment or in a file of their own, never in the config: it is shown, copied and committed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_VARIABLES: Final[Mapping[str, str]] = {
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "access_key": "AWS_ACCESS_KEY_ID",
    "session_token": "AWS_SESSION_TOKEN",
    "service_account": "GOOGLE_APPLICATION_CREDENTIALS",
    "application_credentials": "GOOGLE_APPLICATION_CREDENTIALS",
    "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
    "sas": "AZURE_STORAGE_SAS_TOKEN",
    "client_secret": "AZURE_CLIENT_SECRET",
    "secret_key": "AWS_SECRET_ACCESS_KEY",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
}
"""By what a key holds, the more precise first: the variable that the store's library reads."""


def misplaced_secret(key: str) -> str | None:
    """That a key looks like one for a secret of the store, and where that belongs; nothing for any other key."""
    plain = key.lower().replace("-", "_")
    for part, name in _VARIABLES.items():
        if f"_{part}" in f"_{plain}":
            return f"secrets do not belong into the config: set {name} in the environment, or storage.options.credentials_file"
    return None
