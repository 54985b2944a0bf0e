"""The few reads over REST: one client and one request budget for each exchange.

REST failing changes nothing for the recording. A refusal (418, 429, or Bybit's 403) shuts the budget for as long as the exchange
says, for everyone who wanted to ask.
"""

from __future__ import annotations

import ssl
from collections import deque
from types import TracebackType
from typing import Final, Self, TypeVar

import httpcore
import trio

from quantlab_collector.exchanges.protocol import RestLimits, RestRequest
from quantlab_collector.intake.transport import retry_after_seconds

_T = TypeVar("_T")

TIMEOUT: Final = 10.0
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
_OK: Final = 200
_REFUSALS: Final = {418: 120.0, 429: 30.0, 403: 600.0}
"""Statuses that mean "you come too often", and how long to stay away when no header says."""


class RestFault(Exception):
    """No answer, or none that can be used."""


class WeightBudget:
    """At most so much weight in so many seconds. Pure: the caller brings the time."""

    def __init__(self, limits: RestLimits) -> None:
        self._limits = limits
        self._spent: deque[tuple[float, int]] = deque()
        self._shut_until = 0.0

    def shut(self, until: float) -> None:
        """The exchange wants to hear nothing more for a while."""
        self._shut_until = max(self._shut_until, until)

    def take(self, now: float, weight: int) -> float:
        """Book a request now and give 0, or give the seconds after which to ask again."""
        spent, limits = self._spent, self._limits
        while spent and spent[0][0] + limits.period <= now:
            spent.popleft()
        allowed = self._shut_until
        total = sum(cost for _, cost in spent)
        for when, cost in spent:
            if total + weight <= limits.weight:
                break
            total -= cost
            allowed = max(allowed, when + limits.period)
        if now < allowed:
            return max(allowed - now, 0.001)
        spent.append((now, weight))
        return 0.0


class RestClient:
    """GETs to one exchange."""

    def __init__(self, url: str, limits: RestLimits, tls: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._budget = WeightBudget(limits)
        self._pool = httpcore.AsyncConnectionPool(ssl_context=tls, max_connections=2, keepalive_expiry=30.0)

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with trio.move_on_after(1.0, shield=True):
            await self._pool.__aexit__(kind, error, traceback)

    async def ask(self, request: RestRequest[_T]) -> _T:
        """Wait until the budget allows it, ask, and read the answer. Raises ``RestFault``."""
        while wait := self._budget.take(trio.current_time(), request.weight):  # noqa: ASYNC110 - time decides
            await trio.sleep(wait)
        try:
            with trio.fail_after(TIMEOUT):
                body = await self._get(request.path)
        except trio.TooSlowError:
            raise RestFault(f"{request.path}: no answer within {TIMEOUT:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as fault:
            raise RestFault(f"{request.path}: {type(fault).__name__} {fault}") from fault
        try:
            return request.read(body)
        except ValueError as fault:
            raise RestFault(f"{request.path}: {fault}") from fault

    async def _get(self, path: str) -> bytes:
        async with self._pool.stream("GET", self._url + path, headers={"Accept": "application/json"}) as response:
            chunks, size = [], 0
            # Read to the end whatever its size: the library's generators do not like to be left in the middle. Time is limited.
            async for chunk in response.aiter_stream():
                size += len(chunk)
                if size <= MAX_BODY_BYTES:
                    chunks.append(chunk)
        if response.status in _REFUSALS:
            waits = (value.decode("latin-1") for name, value in response.headers if name.lower() == b"retry-after")
            wait = retry_after_seconds(next(waits, ""))
            self._budget.shut(trio.current_time() + (_REFUSALS[response.status] if wait is None else wait))
        if response.status != _OK:
            raise RestFault(f"{path}: HTTP {response.status}")
        if size > MAX_BODY_BYTES:
            raise RestFault(f"{path}: more than {MAX_BODY_BYTES} bytes")
        return b"".join(chunks)
