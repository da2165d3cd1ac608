"""The listener that other services call; one rule: whoever calls proves who they are, every time.

`POST /internal/{service}/{method}` carries a JSON array of calls (each the array of its arguments)
and answers an array of outcomes in the same order, so that one request is many calls. Whatever is
answered 4xx was not carried out. A caller that goes away is not noticed: what it asked for goes on
for as long as it said that it would wait, and no longer. Besides it
serves `/metrics`, `/healthz`, and `/readyz`, where a draining instance answers 404: HAProxy gives
such a one no new requests and lets it finish what it has (`http-check disable-on-404`).
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import structlog

from tradewind.platform.errors import Limited, NotFound, StoreError, Unavailable
from tradewind.platform.lifecycle import Health
from tradewind.platform.remote.identity import NotAllowed, Verifier
from tradewind.platform.web.asgi import RawHeaders, Receive, Scope, Send
from tradewind.platform.web.context import enter, parse_traceparent
from tradewind.platform.web.problems import (
    BadRequest,
    MethodNotAllowed,
    internal_error,
    log_unexpected,
    send_problem,
)
from tradewind.platform.web.receiving import read_body
from tradewind.platform.wire import Method, methods_of

DEADLINE_HEADER = b"x-deadline-ms"
ASKED_AT_HEADER = b"x-asked-at-ms"
REQUEST_IDS_HEADER = b"x-request-ids"
EACH_HEADER = b"x-each"
CALL_PREFIX = "/internal/"
_BODY_LIMIT_BYTES = 8 * 1024 * 1024
_BODY_SECONDS = 10.0
_LONGEST_SECONDS = 30.0
_CLOCKS_DIFFER_SECONDS = 5.0
_CALLS_MOST_IN_ONE = 1_024
LEAVING = (b"x-leaving", b"1")
"""Said of an instance that is about to end: it answers, and new calls should go elsewhere."""
_OK, _GONE, _NOT_READY = 200, 404, 503
_TEXT, _JSON = b"text/plain; charset=utf-8", b"application/json"

_log = structlog.get_logger(__name__)
_Calls = Annotated[list[msgspec.Raw], msgspec.Meta(max_length=_CALLS_MOST_IN_ONE)]


class NotUnderstood(BadRequest):
    """The body is no array of calls, or they are not what the contract says."""

    code = "call_not_understood"
    title = "Not called so"


class Exposed:
    """One contract that may be called from outside of this process."""

    def __init__(
        self, service: str, contract: type[Any], implementation: Any, callers: frozenset[str]
    ) -> None:
        self.service = service
        self.callers = callers
        self.methods: Mapping[str, tuple[Method, Callable[..., Awaitable[Any]]]] = {
            name: (method, getattr(implementation, name))
            for name, method in methods_of(contract).items()
        }


class InternalApplication:
    """An ASGI application for one process's internal listener.

    `verifiers` hold, for each exposed service, who may prove what; `metrics` renders them and
    gives their content type. `calls_most` bounds calls at work: more are refused at once.
    """

    def __init__(
        self,
        exposed: Sequence[Exposed],
        verifiers: Mapping[str, Verifier],
        health: Health,
        metrics: Callable[[], Awaitable[tuple[bytes, str]]],
        *,
        calls_most: int = 512,
    ) -> None:
        self.calls_at_work = 0
        self._exposed = {one.service: one for one in exposed}
        self._verifiers = verifiers
        self._health = health
        self._metrics = metrics
        self._calls_most = calls_most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        named: dict[bytes, bytes] = dict(scope["headers"])
        request_id = named.get(b"x-request-id", b"").decode("latin-1")
        path: str = scope["path"]
        try:
            if path.startswith(CALL_PREFIX):
                body = await self._call_in_bounds(scope, named, receive, request_id)
                await _send(send, _OK, body, _JSON, leaving=self._health.draining)
            else:
                await self._tell(path, scope["method"], send)
        except StoreError as error:
            # Its body may not have been read, and then the server cuts the connection.
            await send_problem(send, error, request_id, close=True)
        except Exception as error:  # noqa: BLE001  logged, and told without any of it
            log_unexpected(error)
            await send_problem(send, internal_error(), request_id, close=True)

    async def _tell(self, path: str, method: str, send: Send) -> None:
        """What anybody on this network may know."""
        if path not in ("/metrics", "/healthz", "/readyz"):
            raise NotFound("There is nothing here.")
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowed("It is only to be read.")
        if path == "/metrics":
            body, kind = await self._metrics()
            await _send(send, _OK, body, kind.encode())
        elif path == "/healthz":
            await _send(send, _OK, b"alive\n", _TEXT)
        else:
            await _send(send, *self._readiness(), _TEXT)

    def _readiness(self) -> tuple[int, bytes]:
        if self._health.draining:
            return _GONE, b"about to end\n"
        if not self._health.ready:
            return _NOT_READY, b"starting\n"
        return _OK, b"ready\n"

    async def _call_in_bounds(
        self, scope: Scope, named: Mapping[bytes, bytes], receive: Receive, request_id: str
    ) -> bytes:
        if self.calls_at_work >= self._calls_most:
            raise Limited("too many calls at work", retry_after_seconds=1)
        self.calls_at_work += 1
        try:
            return await self._call(scope, named, receive, request_id)
        finally:
            self.calls_at_work -= 1

    async def _call(
        self, scope: Scope, named: Mapping[bytes, bytes], receive: Receive, request_id: str
    ) -> bytes:
        _, _, rest = scope["path"].partition(CALL_PREFIX)
        service, _, name = rest.partition("/")
        exposed = self._exposed.get(service)
        if exposed is None or name not in exposed.methods:
            raise NotFound("there is no such call here")
        if scope["method"] != "POST":
            raise MethodNotAllowed("calls are posted")
        self._check_caller(exposed, named)
        since = self._verifiers[service].now() - _asked_at(named.get(ASKED_AT_HEADER))
        seconds = _seconds_of(named.get(DEADLINE_HEADER), since)
        trace = parse_traceparent(named.get(b"traceparent"))
        enter(request_id, trace, time.monotonic() + seconds)
        if REQUEST_IDS_HEADER in named:
            request_ids = named[REQUEST_IDS_HEADER].decode("latin-1")
            structlog.contextvars.bind_contextvars(request_ids=request_ids)
        method, function = exposed.methods[name]
        try:
            async with asyncio.timeout(seconds):
                calls = await _read_calls(method, receive)
                answers = await _answers(method, function, calls, each=EACH_HEADER in named)
        except TimeoutError:
            raise Unavailable(f"{service}.{name} was not done by its deadline") from None
        return b"[" + b",".join(answers) + b"]"

    def _check_caller(self, exposed: Exposed, named: Mapping[bytes, bytes]) -> None:
        scheme, _, token = named.get(b"authorization", b"").decode("latin-1").partition(" ")
        caller = self._verifiers[exposed.service].caller(token if scheme == "Bearer" else "")
        if caller not in exposed.callers:
            _log.warning("service not allowed", caller=caller, called=exposed.service)
            raise NotAllowed(f"{caller} does not call {exposed.service}")


async def _read_calls(method: Method, receive: Receive) -> list[tuple[Any, ...]]:
    body = await read_body(receive, _BODY_LIMIT_BYTES, _BODY_SECONDS)
    if isinstance(body, StoreError):
        raise body
    try:
        told = msgspec.json.decode(body, type=_Calls)
        return [method.decode_arguments(one) for one in told]
    except (msgspec.DecodeError, RecursionError) as error:  # the other is of nesting without end
        raise NotUnderstood(f"{method.name} is not called so: {error}") from None


async def _answers(
    method: Method,
    function: Callable[..., Awaitable[Any]],
    calls: Sequence[tuple[Any, ...]],
    *,
    each: bool,
) -> list[bytes]:
    if len(calls) == 1:  # as nearly always: a task costs more than all that it would do here
        return [await _answer(method, function, calls[0], each=each)]
    return await asyncio.gather(*(_answer(method, function, one, each=each) for one in calls))


async def _answer(
    method: Method,
    function: Callable[..., Awaitable[Any]],
    arguments: tuple[Any, ...],
    *,
    each: bool,
) -> bytes:
    """One call's outcome; what the contract may raise is a value, and so is what nobody expected.

    One bad call never fails its neighbours in the same request. Nor does one bad member of a list
    where the caller says that `each` is another's: then they are asked for one by one.
    """
    try:
        return method.encode_answer(await function(*arguments))
    except StoreError as error:
        return method.encode_error(error)
    except Exception as error:  # noqa: BLE001  logged, and told without any of it
        if each and len(arguments[0]) > 1:
            alone = (function([member]) for member in arguments[0])
            outcomes = await asyncio.gather(*alone, return_exceptions=True)
            return method.encode_answer([_alone(one) for one in outcomes])
        log_unexpected(error)
        return method.encode_error(internal_error())


def _alone(outcome: Any) -> Any:
    if isinstance(outcome, StoreError):
        return outcome
    if isinstance(outcome, BaseException):
        log_unexpected(outcome)
        return internal_error()
    return outcome[0]


def _seconds_of(given: bytes | None, since: float) -> float:
    """How long the caller still waits: it sends what is left, and when it said so.

    A call that was on its way for long (this process was stopped, or has more to do than it can)
    is of use to nobody any more. A few seconds of that may be clocks that differ, though each goes
    by the database's.
    """
    if given is None or not given.isdigit():
        return _LONGEST_SECONDS
    seconds = min(_LONGEST_SECONDS, int(given[:9]) / 1000)
    if since > _CLOCKS_DIFFER_SECONDS:
        seconds -= since
    if seconds <= 0:
        raise Limited("the caller waits no longer")
    return seconds


def _asked_at(given: bytes | None) -> float:
    """When it was sent, in milliseconds of database time; as if just now where that is not said."""
    return int(given[:15]) / 1000 if given is not None and given.isdigit() else math.inf


async def _send(
    send: Send, status: int, body: bytes, kind: bytes, *, leaving: bool = False
) -> None:
    headers: RawHeaders = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if leaving:
        headers += [LEAVING, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
