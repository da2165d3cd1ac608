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

import msgspec
import structlog

from tradewind.platform.database import assert_no_transaction
from tradewind.platform.errors import StoreError, Unavailable
from tradewind.platform.remote.endpoints import Budget, Endpoint, Gauges, Worth, choose
from tradewind.platform.remote.sending import (
    MayHaveArrived,
    NeverArrived,
    NotUnderstood,
    Sender,
    TookTooLong,
)
from tradewind.platform.telemetry import Seldom
from tradewind.platform.web.context import Trace, current, remaining_seconds
from tradewind.platform.wire import Method, methods_of

_TRIES_MOST = 4
_PAUSE_SECONDS = 0.025
_IDS_NAMED_MOST = 50
_WORTH_ASKING_SECONDS = 0.002
"""Who waits no longer than this has no use for any answer."""
_FAIR_SECONDS = 0.25
"""Who waited less than this cannot say that an instance is not well."""

_log = structlog.get_logger(__name__)


class DependencyDown(Unavailable):
    """Another service does not answer, or not in time; nothing is known of what became of it."""

    code = "dependency_unavailable"


class CallNotUnderstood(Exception):
    """A call that the other side will never understand: a fault of ours; nothing was carried out.

    Not a StoreError, so that a batch is halved until the member that spoils it is alone.
    """


class RemoteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of calls to one service; seconds."""

    connect_seconds: float = 0.5
    first_seconds: float = 1.0
    """A first try may take so long where another instance is well and may be asked instead."""
    try_seconds: float = 2.0
    """Every other try."""
    total_seconds: float = 5.0
    at_once: int = 64
    """Requests under way at the same time; one carries many calls."""
    waiting_most: int = 512
    """Requests that may wait for their turn; more are refused at once."""


class _Call(msgspec.Struct, frozen=True):
    """What all tries of one request have in common."""

    method: Method
    body: bytes
    many: int
    deadline: float
    twice: bool
    headers: dict[str, str]


class Remote:
    """One service, reached at any of its addresses.

    `token` makes proof of who we are, for it; `clock` is that of the database, in seconds.
    """

    def __init__(
        self,
        service: str,
        contract: type[Any],
        urls: Sequence[str],
        token: Callable[[str], str],
        settings: RemoteSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.service = service
        self.endpoints = [Endpoint(url.rstrip("/")) for url in urls]
        self.gauges = Gauges()
        self.settings = settings or RemoteSettings()
        self._methods = methods_of(contract)
        self._token = token
        self._clock = clock
        self._budget = Budget()
        self._places = asyncio.Semaphore(self.settings.at_once)
        self._waiting = 0
        self._sender = Sender(self.settings.connect_seconds)
        self._knocks: set[asyncio.Task[None]] = set()
        self._failing = Seldom()

    async def close(self) -> None:
        """Closes the connections."""
        for task in self._knocks:
            task.cancel()
        await asyncio.gather(*self._knocks, return_exceptions=True)
        await self._sender.close()

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
        trace: Trace | None = None,
        seconds: float | None = None,
        each: bool = False,
    ) -> list[Any]:
        """Many calls of one method in one request; a call's own error is a value among them.

        `request_ids` and `trace` name whoever waits, for the logs over there, and `seconds` is how
        long they do, where it is not the running request that asks. `each`: the members of the
        call's only list are each another's, and one shall not fail the others.

        Raises Unavailable where none was answered, CallNotUnderstood where it never will be.
        """
        assert_no_transaction(f"a call of {self.service}.{name}")
        method = self._methods[name]
        body = b"[" + b",".join(method.encode_arguments(one) for one in calls) + b"]"
        waits = min(
            self.settings.total_seconds, remaining_seconds() if seconds is None else seconds
        )
        self.gauges.calls += 1
        call = _Call(
            method,
            body,
            len(calls),
            time.monotonic() + waits,
            twice,
            {**_about_who_asks(request_ids, trace), **({"x-each": "1"} if each else {})},
        )
        return await self._in_turn(call)

    async def _in_turn(self, call: _Call) -> list[Any]:
        if self._waiting >= self.settings.waiting_most:
            self.gauges.refused += 1
            raise DependencyDown(f"too much is waiting for {self.service}")
        self._waiting += 1
        try:
            if not self._places.locked():  # as nearly always: then a timer would be for nothing
                await self._places.acquire()
            else:
                async with asyncio.timeout_at(_loop_time(call.deadline)):
                    await self._places.acquire()
        except TimeoutError:
            self.gauges.refused += 1
            raise DependencyDown(f"{self.service} is too slow just now") from None
        finally:
            self._waiting -= 1
        try:
            if call.deadline - time.monotonic() < _WORTH_ASKING_SECONDS:
                self.gauges.refused += 1
                raise DependencyDown(f"no time is left to ask {self.service}")
            self._budget.first_try()
            return await self._patiently(call)
        finally:
            self._places.release()

    async def _patiently(self, call: _Call) -> list[Any]:
        tried: list[Endpoint] = []
        why = "every breaker is open"
        while len(tried) < _TRIES_MOST:
            if tried and not await self._may_retry(len(tried), call.deadline):
                break
            self._knock()
            endpoint = choose(self.endpoints, tried, twice=call.twice)
            if endpoint is None:
                self.gauges.refused += 1
                break
            try:
                return await self._try(endpoint, call, first=not tried)
            except NotUnderstood as error:
                raise CallNotUnderstood(f"{self.service}.{call.method.name}: {error}") from None
            except NeverArrived as error:
                why = str(error)
            except MayHaveArrived as error:
                why = str(error)
                if not call.twice:
                    break
            tried.append(endpoint)
        self.gauges.failures += 1
        self._say_failed(call.method.name, why)
        raise DependencyDown(f"{self.service} does not answer just now")

    async def _may_retry(self, tries: int, deadline: float) -> bool:
        pause = random.uniform(0, _PAUSE_SECONDS * 2**tries)  # noqa: S311  jitter
        late = time.monotonic() + pause + _WORTH_ASKING_SECONDS >= deadline
        if late or not self._budget.take():
            return False
        self.gauges.retries += 1
        await asyncio.sleep(pause)
        return True

    async def _try(self, endpoint: Endpoint, call: _Call, *, first: bool) -> list[Any]:
        # For aiohttp a limit of nothing is none at all.
        left = max(_WORTH_ASKING_SECONDS, call.deadline - time.monotonic())
        seconds = min(self._patience(endpoint, call, first=first), left)
        trial = endpoint.begin()
        ended = endpoint.abandoned
        try:
            answers, leaving = await self._sent(endpoint, call, seconds)
            self._say_back(endpoint)
            ended = endpoint.succeeded
        except TookTooLong as error:
            if seconds >= _FAIR_SECONDS:
                ended = self._failed(endpoint, error)
            raise
        except (NeverArrived, MayHaveArrived) as error:
            ended = self._failed(endpoint, error)
            raise
        finally:
            ended(trial=trial)
        if leaving:
            endpoint.leaving()
        return answers

    async def _sent(
        self, endpoint: Endpoint, call: _Call, seconds: float
    ) -> tuple[list[Any], bool]:
        answer = await self._sender.post(
            f"{endpoint.url}/internal/{self.service}/{call.method.name}",
            call.body,
            {
                "authorization": f"Bearer {self._token(self.service)}",
                "content-type": "application/json",
                "x-deadline-ms": str(int(seconds * 1000)),
                "x-asked-at-ms": str(int(self._clock() * 1000)),
                **call.headers,
            },
            seconds,
        )
        if len(answer.outcomes) != call.many:
            raise MayHaveArrived(f"{len(answer.outcomes)} answers to {call.many} calls")
        try:
            return [call.method.decode_outcome(one) for one in answer.outcomes], answer.leaving
        except (msgspec.DecodeError, RecursionError):
            raise MayHaveArrived("it answered what the contract does not know") from None

    def _patience(self, endpoint: Endpoint, call: _Call, *, first: bool) -> float:
        """Less for a first try that another instance can make good."""
        others = any(one is not endpoint and one.worth is Worth.WELL for one in self.endpoints)
        if first and call.twice and others:
            return self.settings.first_seconds
        return self.settings.try_seconds

    def _knock(self) -> None:
        """Asks those that were left alone whether they are well, while nobody waits for it."""
        for endpoint in self.endpoints:
            if endpoint.may_knock():
                endpoint.knock()
                task = asyncio.create_task(self._ask(endpoint), name=f"knock {endpoint.url}")
                self._knocks.add(task)
                task.add_done_callback(self._knocks.discard)

    async def _ask(self, endpoint: Endpoint) -> None:
        endpoint.knocked(answered=await self._sender.knock(endpoint.url))

    def _failed(self, endpoint: Endpoint, why: Exception) -> Callable[..., None]:
        if not endpoint.failures:
            _log.warning("address left alone", url=endpoint.url, error=str(why))
        return endpoint.failed

    def _say_back(self, endpoint: Endpoint) -> None:
        if endpoint.failures:
            _log.info("address answers again", url=endpoint.url)

    def _say_failed(self, method: str, why: str) -> None:
        if many := self._failing.due():
            _log.warning("calls failed", service=self.service, method=method, error=why, calls=many)


def _about_who_asks(request_ids: Sequence[str], trace: Trace | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    asking = current()
    if asking is not None:
        headers["x-request-id"] = asking.request_id
        trace = trace or asking.trace
    elif len(request_ids) == 1:
        headers["x-request-id"] = request_ids[0]
    if trace is not None:
        headers["traceparent"] = trace.header()
    if request_ids:
        headers["x-request-ids"] = ",".join(request_ids[:_IDS_NAMED_MOST])
    return headers


def _loop_time(monotonic: float) -> float:
    return asyncio.get_running_loop().time() + monotonic - time.monotonic()
