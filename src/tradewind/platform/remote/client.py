"""Calls to a service in another process; one rule: every call has an end, and one layer retries.

A call has a deadline (its caller's, and never more than `total_seconds`), each try a time-out of
its own within it. Tries go to another address where there is one; how many there may be is capped,
spread by jitter, and paid from a budget. Only calls that may be carried out twice are tried again
after they may have arrived. A bulkhead bounds how many are under way: one slow dependency never
takes all of this process.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import msgspec
import structlog

from tradewind.platform.database import assert_no_transaction
from tradewind.platform.errors import StoreError, Unavailable
from tradewind.platform.remote.endpoints import Budget, Endpoint, Gauges, choose
from tradewind.platform.web.context import current, remaining_seconds
from tradewind.platform.wire import Method, methods_of

_TRIES_MOST = 4
_PAUSE_SECONDS = 0.025
_IDS_NAMED_MOST = 50
_ERROR_STATUS = 400

_log = structlog.get_logger(__name__)


class DependencyDown(Unavailable):
    """Another service does not answer, or not in time; nothing is known of what became of it."""

    code = "dependency_unavailable"


class RemoteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of calls to one service; seconds."""

    connect_seconds: float = 0.5
    try_seconds: float = 2.0
    total_seconds: float = 5.0
    at_once: int = 64
    """Requests under way at the same time; one carries many calls."""
    waiting_most: int = 512
    """Requests that may wait for their turn; more are refused at once."""


class _NeverArrived(Exception):
    """A try of which the other side cannot have seen anything."""


class _MayHaveArrived(Exception):
    """A try that ended without an answer."""


class Remote:
    """One service, reached at any of its addresses."""

    def __init__(
        self,
        service: str,
        contract: type[Any],
        urls: Sequence[str],
        token: Callable[[str], str],
        settings: RemoteSettings | None = None,
    ) -> None:
        self.service = service
        self.endpoints = [Endpoint(url.rstrip("/")) for url in urls]
        self.gauges = Gauges()
        self._methods = methods_of(contract)
        self._token = token
        self._settings = settings or RemoteSettings()
        self._budget = Budget()
        self._places = asyncio.Semaphore(self._settings.at_once)
        self._waiting = 0
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, name: str, *arguments: Any, twice: bool = True) -> Any:
        """Calls a method; raises the contract's errors, or Unavailable.

        `twice`: whether it may be carried out twice, and so be tried again whatever happened.
        """
        [answer] = await self.call_many(name, [arguments], twice=twice)
        if isinstance(answer, StoreError):
            raise answer
        return answer

    async def call_many(
        self,
        name: str,
        calls: Sequence[Sequence[Any]],
        *,
        twice: bool = True,
        request_ids: Sequence[str] = (),
        seconds: float | None = None,
    ) -> list[Any]:
        """Many calls of one method in one request; a call's own error is a value among them.

        `request_ids` name whoever waits, for the logs over there; `seconds` is how long they do,
        where it is not the running request that asks. Raises Unavailable where none was answered.
        """
        assert_no_transaction(f"a call of {self.service}.{name}")
        method = self._methods[name]
        body = b"[" + b",".join(method.encode_arguments(one) for one in calls) + b"]"
        waits = remaining_seconds() if seconds is None else seconds
        deadline = time.monotonic() + min(self._settings.total_seconds, waits)
        self.gauges.calls += 1
        self._budget.first_try()
        answer = await self._in_turn(method, body, deadline, twice, request_ids)
        return [method.decode_outcome(one) for one in answer]

    async def _in_turn(
        self,
        method: Method,
        body: bytes,
        deadline: float,
        twice: bool,  # noqa: FBT001  private, and named by its callers' own argument
        request_ids: Sequence[str],
    ) -> list[msgspec.Raw]:
        if self._waiting >= self._settings.waiting_most:
            self.gauges.refused += 1
            raise DependencyDown(f"too much is waiting for {self.service}")
        self._waiting += 1
        try:
            async with asyncio.timeout_at(_loop_time(deadline)):
                await self._places.acquire()
        except TimeoutError:
            self.gauges.refused += 1
            raise DependencyDown(f"{self.service} is too slow just now") from None
        finally:
            self._waiting -= 1
        try:
            return await self._patiently(method, body, deadline, twice, request_ids)
        finally:
            self._places.release()

    async def _patiently(
        self,
        method: Method,
        body: bytes,
        deadline: float,
        twice: bool,  # noqa: FBT001  the same
        request_ids: Sequence[str],
    ) -> list[msgspec.Raw]:
        tried: list[Endpoint] = []
        why: Exception | None = None
        for attempt in range(_TRIES_MOST):
            if attempt and not await self._may_retry(attempt, deadline):
                break
            endpoint = choose(self.endpoints, tried)
            if endpoint is None:
                self.gauges.refused += 1
                break
            tried.append(endpoint)
            try:
                return await self._try(endpoint, method, body, deadline, request_ids)
            except _NeverArrived as error:
                why = error
            except _MayHaveArrived as error:
                why = error
                if not twice:
                    break
        self.gauges.failures += 1
        _log.warning("call failed", service=self.service, method=method.name, error=str(why))
        raise DependencyDown(f"{self.service} does not answer just now") from why

    async def _may_retry(self, attempt: int, deadline: float) -> bool:
        pause = random.uniform(0, _PAUSE_SECONDS * 2**attempt)  # noqa: S311  jitter
        if time.monotonic() + pause >= deadline or not self._budget.take():
            return False
        self.gauges.retries += 1
        await asyncio.sleep(pause)
        return True

    async def _try(
        self,
        endpoint: Endpoint,
        method: Method,
        body: bytes,
        deadline: float,
        request_ids: Sequence[str],
    ) -> list[msgspec.Raw]:
        left = deadline - time.monotonic()
        seconds = max(0.001, min(self._settings.try_seconds, left))
        endpoint.begin()
        ended = endpoint.abandoned
        try:
            answer = await self._post(
                f"{endpoint.url}/internal/{self.service}/{method.name}",
                body,
                self._headers(seconds, request_ids),
                aiohttp.ClientTimeout(total=seconds, sock_connect=self._settings.connect_seconds),
            )
            ended = endpoint.succeeded
        except (_NeverArrived, _MayHaveArrived):
            ended = endpoint.failed
            raise
        finally:
            ended()
        return answer

    async def _post(
        self, url: str, body: bytes, headers: dict[str, str], limit: aiohttp.ClientTimeout
    ) -> list[msgspec.Raw]:
        try:
            request = self._opened().post(url, data=body, headers=headers, timeout=limit)
            async with request as response:
                text = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _NeverArrived(repr(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _MayHaveArrived(repr(error)) from error
        if response.status >= _ERROR_STATUS:
            raise _MayHaveArrived(f"{response.status}: {text[:200]!r}")
        try:
            return msgspec.json.decode(text, type=list[msgspec.Raw])
        except msgspec.DecodeError as error:
            raise _MayHaveArrived(f"an answer that is none: {error}") from error

    def _headers(self, seconds: float, request_ids: Sequence[str]) -> dict[str, str]:
        headers = {
            "authorization": f"Bearer {self._token(self.service)}",
            "content-type": "application/json",
            "x-deadline-ms": str(int(seconds * 1000)),
        }
        asking = current()
        if asking is not None:
            headers["x-request-id"] = asking.request_id
            if asking.trace is not None:
                headers["traceparent"] = asking.trace.header()
        if request_ids:
            headers["x-request-ids"] = ",".join(request_ids[:_IDS_NAMED_MOST])
        return headers

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=5),
                # Bodies are ours, and there is no cookie between services.
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


def _loop_time(monotonic: float) -> float:
    return asyncio.get_running_loop().time() + monotonic - time.monotonic()
