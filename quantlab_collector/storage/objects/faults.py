"""From what obstore raises to what the writer has to know: the kind of fault, and one line of text.

obstore has few classes of its own, and texts of many lines with whole URLs and the store's answer in them. What tells most is the
answer's status and the code in its XML; where there is no answer, what the transport said. Everything else is cut off, so that no
signed address can end up in a log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs
from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

from quantlab_collector.contracts.masking import mask_addresses
from quantlab_collector.storage.objects.protocol import FaultKind, StoreFault

_DETAILS: Final = "Debug source:"
_LONGEST: Final = 300
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>\s*([A-Za-z0-9._-]{1,64})\s*</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_SOURCE = re.compile(r"^.*? in [0-9.]+[mµn]?s(?:, after \d+ retries[^-]*)? +- ", re.DOTALL)
_ROLE = re.compile(r"/latest/api/token|/latest/meta-data|/computeMetadata/|/metadata/identity/")
"""Where a machine is asked for its role, which is done last."""
_NO_ROLE: Final = "no credentials: the environment has none, and this machine has no role"
_TOKEN_REQUEST: Final = "token request"  # noqa: S105 (words in a text)
_QUERY = re.compile(r"\?[^\s\"'<>]*")

_BY_CODE: Final[Mapping[str, FaultKind]] = {
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired"), FaultKind.CLOCK),
    **dict.fromkeys(
        ("SlowDown", "ServerBusy", "TooManyRequests", "Throttling", "ThrottlingException", "RequestLimitExceeded"),
        FaultKind.THROTTLED,
    ),
    **dict.fromkeys(
        ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"),
        FaultKind.AUTH,
    ),
    **dict.fromkeys(
        (
            *("NoSuchBucket", "InvalidBucketName", "ContainerNotFound", "PermanentRedirect", "TemporaryRedirect"),
            *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "NotImplemented"),
        ),
        FaultKind.CONFIG,
    ),
}
_BY_STATUS: Final[Mapping[int, FaultKind]] = {
    301: FaultKind.CONFIG,
    401: FaultKind.AUTH,
    403: FaultKind.AUTH,
    404: FaultKind.CONFIG,
    429: FaultKind.THROTTLED,
    501: FaultKind.CONFIG,
}
_TRANSPORT: Final[tuple[tuple[str, str, FaultKind], ...]] = (
    ("InvalidCertificate", "the store's certificate is not trusted", FaultKind.CONFIG),
    ("incorrectly configured region", "the store redirects without saying where to", FaultKind.CONFIG),
    ("Account must be specified", "the account is not known", FaultKind.CONFIG),
    ("BadScheme", "http:// where only https:// is allowed", FaultKind.CONFIG),
    ("OpenCredentials", "the credentials file cannot be read", FaultKind.AUTH),
    ("DecodeCredentials", "the credentials file is not what the store's provider gives out", FaultKind.AUTH),
    ("kind: Timeout", "timed out", FaultKind.TRANSIENT),
    ("dns error", "the name of its host could not be resolved", FaultKind.TRANSIENT),
    ("ConnectionRefused", "connection refused", FaultKind.TRANSIENT),
    ("kind: Connect,", "no connection", FaultKind.TRANSIENT),
    ("ConnectionReset", "connection reset", FaultKind.TRANSIENT),
    ("IncompleteMessage", "connection closed before the answer", FaultKind.TRANSIENT),
    ("BrokenPipe", "connection closed while sending", FaultKind.TRANSIENT),
    ("ETag Header missing", "an answer that is no confirmation", FaultKind.TRANSIENT),
)
"""What obstore's text holds, what it means, in the order in which it is looked for."""

ADVICE: Final[Mapping[FaultKind, str]] = {
    FaultKind.TRANSIENT: "the store may be down or out of reach; look at the address and the network, and try again",
    FaultKind.THROTTLED: "the store asks for fewer requests; try again later, or with fewer storage.upload_threads",
    FaultKind.AUTH: "look at the credentials and at what they are permitted to do; docs/storage.md says what is needed",
    FaultKind.CLOCK: "set the clock of this machine: the store refuses requests with a wrong time",
    FaultKind.CONFIG: "look at storage.url and [storage.options]",
}
"""What to do, by kind."""


@attrs.frozen
class Place:
    """Which store it is, as it is told when something is wrong with its address."""

    bucket: str
    region: str = ""
    endpoint: str = attrs.field(default="", converter=mask_addresses)

    def __str__(self) -> str:
        told = (("bucket", self.bucket), ("region", self.region), ("endpoint", self.endpoint))
        return ", ".join(f"{name} {value}" for name, value in told if value)


def translate(fault: Exception, place: Place) -> StoreFault:
    """The same fault in our words."""
    text = str(fault)
    answer = text.partition(_DETAILS)[0]
    status = _STATUS.search(answer)
    if _ROLE.search(answer):
        kind, said = FaultKind.AUTH, _NO_ROLE
    elif status is None:
        kind, said = _without_answer(text, answer)
    elif _TOKEN_REQUEST in answer and int(status[1]) < 500:
        kind, said = FaultKind.AUTH, f"{status[1]} when asking for a token"
    else:
        kind, said = _answered(fault, int(status[1]), answer)
    return StoreFault(f"{said} ({place})" if kind in {FaultKind.CONFIG, FaultKind.AUTH} else said, kind)


def _answered(fault: Exception, status: int, answer: str) -> tuple[FaultKind, str]:
    code, message = _CODE.search(answer), _MESSAGE.search(answer)
    said = " ".join(part for part in (str(status), code and code[1]) if part)
    if message and message[1].strip():
        said += f": {_clean(message[1])}"
    kind = _BY_CODE.get(code[1]) if code else None
    if kind is None:
        kind = FaultKind.AUTH if isinstance(fault, PermissionDeniedError | UnauthenticatedError) else _BY_STATUS.get(status)
    return kind or FaultKind.TRANSIENT, said


def _without_answer(text: str, answer: str) -> tuple[FaultKind, str]:
    for sign, said, kind in _TRANSPORT:
        if sign in text:
            return kind, said
    # Something obstore found by itself: its own first words, which may hold an address.
    said = _clean(_SOURCE.sub("", answer))
    return FaultKind.TRANSIENT, said or "no answer"


def _clean(text: str) -> str:
    """One line of bearable length, without the user and the query of any address."""
    printable = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    line = _QUERY.sub("?***", mask_addresses(printable))
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def is_missing(fault: FileNotFoundError) -> bool:
    """Whether it is the object that is missing, and not the bucket."""
    code = _CODE.search(str(fault).partition(_DETAILS)[0])
    return code is None or _BY_CODE.get(code[1]) is not FaultKind.CONFIG
