"""The listener that other services call; one rule: whoever calls proves who they are, every time.

`POST /internal/{service}/{method}` carries a JSON array of calls (each the array of its arguments)
and answers an array of outcomes in the same order, so that one request is many calls. Besides it
serves `/metrics`, `/healthz`, and `/readyz`, where a draining instance answers 404: HAProxy gives
such a one no new requests and lets it finish what it has (`http-check disable-on-404`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from tradewind.platform.errors import Limited, NotFound, StoreError, Unavailable
from tradewind.platform.lifecycle import Health
from tradewind.platform.remote.identity import NotAllowed, Verifier
from tradewind.platform.web.asgi import RawHeaders, Receive, Scope, Send
from tradewind.platform.web.context import enter, parse_traceparent
from tradewind.platform.web.problems import (
    MalformedJson,
    internal_error,
    log_unexpected,
    send_problem,
)
from tradewind.platform.web.receiving import read_body
from tradewind.platform.wire import Method, methods_of

DEADLINE_HEADER = b"x-deadline-ms"
REQUEST_IDS_HEADER = b"x-request-ids"
CALL_PREFIX = "/internal/"
_BODY_LIMIT_BYTES = 64 * 1024 * 1024
_BODY_SECONDS = 10.0
_LONGEST_SECONDS = 30.0
_OK, _GONE, _NOT_READY = 200, 404, 503
_TEXT = b"text/plain; charset=utf-8"

_log = structlog.get_logger(__name__)


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
        path: str = scope["path"]
        if path.startswith(CALL_PREFIX):
            await self._call_safely(scope, receive, send)
        elif path == "/metrics":
            body, kind = await self._metrics()
            await _send(send, _OK, body, kind.encode())
        elif path == "/healthz":
            await _send(send, _OK, b"alive\n", _TEXT)
        elif path == "/readyz":
            await _send(send, *self._readiness(), _TEXT)
        else:
            await send_problem(send, NotFound("There is nothing here."), "")

    def _readiness(self) -> tuple[int, bytes]:
        if self._health.draining:
            return _GONE, b"about to end\n"
        if not self._health.ready:
            return _NOT_READY, b"starting\n"
        return _OK, b"ready\n"

    async def _call_safely(self, scope: Scope, receive: Receive, send: Send) -> None:
        named: dict[bytes, bytes] = dict(scope["headers"])
        request_id = named.get(b"x-request-id", b"").decode("latin-1")
        if self.calls_at_work >= self._calls_most:
            await send_problem(send, Unavailable("too many calls at work"), request_id)
            return
        self.calls_at_work += 1
        try:
            body = await self._call(scope, named, receive, request_id)
            await _send(send, _OK, body, b"application/json")
        except StoreError as error:
            await send_problem(send, error, request_id)
        except Exception as error:  # noqa: BLE001  logged, and told without any of it
            log_unexpected(error)
            await send_problem(send, internal_error(), request_id)
        finally:
            self.calls_at_work -= 1

    async def _call(
        self, scope: Scope, named: Mapping[bytes, bytes], receive: Receive, request_id: str
    ) -> bytes:
        _, _, rest = scope["path"].partition(CALL_PREFIX)
        service, _, name = rest.partition("/")
        exposed = self._exposed.get(service)
        if exposed is None or name not in exposed.methods or scope["method"] != "POST":
            raise NotFound(f"there is no {service}.{name} here")
        self._check_caller(exposed, named)
        seconds = _seconds_of(named.get(DEADLINE_HEADER))
        trace = parse_traceparent(named.get(b"traceparent"))
        enter(request_id, trace, time.monotonic() + seconds)
        structlog.contextvars.bind_contextvars(
            request_ids=named.get(REQUEST_IDS_HEADER, b"").decode("latin-1")
        )
        body = await read_body(receive, _BODY_LIMIT_BYTES, min(_BODY_SECONDS, seconds))
        if isinstance(body, StoreError):
            raise body
        method, function = exposed.methods[name]
        try:
            calls = [
                method.decode_arguments(one)
                for one in msgspec.json.decode(body, type=list[msgspec.Raw])
            ]
        except msgspec.DecodeError as error:
            raise MalformedJson(f"{service}.{name} is not called so: {error}") from error
        try:
            async with asyncio.timeout(seconds):
                answers = await asyncio.gather(*(_answer(method, function, one) for one in calls))
        except TimeoutError:
            raise Unavailable(f"{service}.{name} was not done by its deadline") from None
        return b"[" + b",".join(answers) + b"]"

    def _check_caller(self, exposed: Exposed, named: Mapping[bytes, bytes]) -> None:
        scheme, _, token = named.get(b"authorization", b"").decode("latin-1").partition(" ")
        caller = self._verifiers[exposed.service].caller(token if scheme == "Bearer" else "")
        if caller not in exposed.callers:
            _log.warning("service not allowed", caller=caller, called=exposed.service)
            raise NotAllowed(f"{caller} does not call {exposed.service}")


async def _answer(
    method: Method, function: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]
) -> bytes:
    """One call's outcome; what the contract may raise is a value, and so is what nobody expected.

    One bad call never fails its neighbours in the same request.
    """
    try:
        return method.encode_answer(await function(*arguments))
    except StoreError as error:
        return method.encode_error(error)
    except Exception as error:  # noqa: BLE001  logged, and told without any of it
        log_unexpected(error)
        return method.encode_error(internal_error())


def _seconds_of(given: bytes | None) -> float:
    """How long the caller still waits: it sends what is left, for clocks of machines differ."""
    if given is None or not given.isdigit():
        return _LONGEST_SECONDS
    seconds = min(_LONGEST_SECONDS, int(given[:9]) / 1000)
    if not seconds:
        raise Limited("the caller waits no longer")
    return seconds


async def _send(send: Send, status: int, body: bytes, kind: bytes) -> None:
    headers: RawHeaders = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
