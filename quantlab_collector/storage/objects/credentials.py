"""Where the keys of a store come from: a file, the older names in the environment, or wherever obstore looks by itself.

obstore looks at the environment (``AWS_ACCESS_KEY_ID`` and so on), then asks the machine for its role. What is found here goes
above that, and whole: an access key from one source with the session token of another would be refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from quantlab_collector.storage.objects.address import Scheme

KEY_ID: Final = "AWS_ACCESS_KEY_ID"
SECRET: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 (the name of a variable)
TOKEN: Final = "AWS_SESSION_TOKEN"  # noqa: S105 (the name of a variable)

NAMES: Final[Mapping[Scheme, tuple[str, ...]]] = {
    Scheme.S3: (KEY_ID, SECRET, TOKEN),
    Scheme.AZURE: (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
    ),
}
"""What a credentials file may set. That of Google is a JSON file, which obstore reads."""

OLDER_BACKEND: Final = "STORAGE_BACKEND"
OLDER_KEY: Final = "S3_ACCESS_KEY"
OLDER_SECRET: Final = "S3_SECRET_KEY"  # noqa: S105 (the name of a variable)
OLDER_REMOTE: Final = ("s3", "minio")


class CredentialsError(ValueError):
    """A source of credentials cannot be used. Its text holds no secret."""


def given_credentials(scheme: Scheme, path: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Credentials by the names in ``NAMES``, from a file or the older names; nothing where obstore is to look for them."""
    if path and scheme in NAMES:
        return read_credentials(path, scheme)
    if scheme is Scheme.S3 and environ.get(OLDER_BACKEND, "").lower() in OLDER_REMOTE and environ.get(OLDER_KEY):
        return {KEY_ID: environ[OLDER_KEY], SECRET: environ.get(OLDER_SECRET, "")}
    return {}


def read_credentials(path: str, scheme: Scheme) -> dict[str, str]:
    """The lines ``NAME=VALUE`` of a file, as a mounted secret has them."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise CredentialsError("the credentials file is not UTF-8") from None
    except OSError as fault:
        raise CredentialsError(f"the credentials file cannot be read: {fault.strerror}") from None
    except ValueError:
        raise CredentialsError("the credentials file has an impossible name") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or name not in NAMES[scheme]:
            raise CredentialsError(f"line {number} of the credentials file is not NAME=VALUE of {', '.join(NAMES[scheme])}")
        found[name] = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value
    missing = [name for name in (KEY_ID, SECRET) if not found.get(name)] if scheme is Scheme.S3 else []
    if missing or not found:
        raise CredentialsError(f"the credentials file lacks {' and '.join(missing or NAMES[scheme][:1])}")
    return found
