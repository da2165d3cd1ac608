"""The outermost layer, in front of the framework; one rule: cheap, and no route of its own.

It refuses what should not be read at all, gives every request its id, trace and deadline, answers
public reads from bytes, bounds bodies and the number of requests at work, and sees to it that
every answer has what all answers have. Measured: see `docs` of `HotReads` and `Outgoing`.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
import uuid_utils

from tradewind.platform import consistency
from tradewind.platform.cache import Answer, ResponseCache
from tradewind.platform.errors import Limited, StoreError, Unavailable
from tradewind.platform.limits import RateLimit, WideLimit
from tradewind.platform.metrics.requests import Requests
from tradewind.platform.sessions import client_address, parse_networks
from tradewind.platform.web.asgi import Application, RawHeaders, Receive, Scope, Send
from tradewind.platform.web.context import enter, parse_traceparent
from tradewind.platform.web.hot_reads import HotReads, kept_messages
from tradewind.platform.web.problems import internal_error, log_unexpected, send_problem
from tradewind.platform.web.receiving import Replay, read_body
from tradewind.platform.web.screening import (
    Screen,
    coding_fault,
    declared_length,
    has_body,
)
from tradewind.platform.web.sending import CLOSE, Outgoing, OutgoingRules
from tradewind.platform.web.settings import WebSettings

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_NEVER_LIMITED = frozenset({"/healthz", "/readyz"})
_READS = frozenset({"GET", "HEAD"})
_FAILED = 500

_log = structlog.stdlib.get_logger("tradewind.request")


def _new_request_id() -> str:
    return str(uuid_utils.uuid7())


class Front:
    """An ASGI application around another one. One instance a listener and event loop."""

    def __init__(  # noqa: PLR0913  all that a listener is made of, by name
        self,
        app: Application,
        settings: WebSettings,
        *,
        cache: ResponseCache | None = None,
        wide_limit: WideLimit | None = None,
        public: bool = True,
        position: Callable[[], Awaitable[int]] | None = None,
        new_request_id: Callable[[], str] = _new_request_id,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.in_flight = 0
        """Requests at work now, those answered from the cache not counted."""
        self.draining = False
        self.cached = 0
        """Requests answered from the cache so far."""
        self.requests = Requests()
        """All others."""
        self.cache = cache
        self._app = app
        self._settings = settings
        self._new_request_id = new_request_id
        self._clock = clock
        self._screen = Screen(settings, public=public)
        self._sound_paths = self._screen.sound_paths
        self._surely_small = settings.header_limit_bytes // 2
        """Below this no exact count is needed, what it counts besides being less than the rest."""
        self._rules = OutgoingRules(settings, position)
        self._more_to_say = self._rules.cors.used
        self._slow_seconds = -1.0 if settings.log_requests else settings.slow_seconds
        self._proxies = parse_networks(settings.trusted_proxies)
        self._limit: RateLimit | None = None
        self._wide_limit = wide_limit
        if wide_limit is None and settings.client_requests_per_second is not None:
            self._limit = RateLimit(settings.client_requests_per_second, settings.client_burst)
        self._hot: HotReads | None = None
        if cache is not None and settings.cached_paths:
            self._hot = HotReads(app, cache, settings, self._rules)
        self._idle = asyncio.Event()

    @property
    def replays(self) -> int:
        """Writes answered with the stored answer of their key so far."""
        return self._rules.replays

    def drain(self) -> None:
        """From now on every answer asks the client to close its connection."""
        self.draining = True
        self._more_to_say = True

    async def wait_idle(self) -> None:
        """Return when no request is at work."""
        while self.in_flight:
            self._idle.clear()
            await self._idle.wait()

    async def __call__(  # noqa: C901, PLR0912  one straight line, on the path of every request
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        started = self._clock()
        headers: RawHeaders = scope["headers"]
        named: dict[bytes, bytes] = dict(headers)
        given = named.get(b"x-request-id")
        request_id = self._new_request_id() if given is None else self._take_over(given)
        method: str = scope["method"]
        size = len(b"".join(named)) + len(b"".join(named.values()))
        size += len(scope["raw_path"]) + len(scope["query_string"])
        unreadable = None
        if size > self._surely_small or len(named) != len(headers) or not named.get(b"host"):
            unreadable = self._screen.headers(scope, named)
        if unreadable is None and self._hot is not None and method in _READS:
            kept = self._hot.find(scope, named, started, request_id)
            if kept is not None:
                self.cached += 1
                more = [(b"x-request-id", request_id.encode())]
                if self._more_to_say:
                    more += self._more_headers(named)
                start, body = kept_messages(kept, named, more, head=method == "HEAD")
                await send(start)
                await send(body)
                if self._slow_seconds < 0:
                    self._note(scope, request_id, start["status"], 0.0, cached=True)
                return
        out = Outgoing(send, self._rules, request_id.encode(), named, method, self.draining)
        refusal = unreadable
        if refusal is None and scope["raw_path"] not in self._sound_paths:
            refusal = self._screen.path(scope)
        if refusal is None:
            refusal = self._too_many(scope) or (
                await self._too_many_anywhere(scope, self._wide_limit) if self._wide_limit else None
            )
        if refusal is not None:
            close = unreadable is not None or has_body(named)
            await send_problem(out, refusal, request_id, close=close)
            self._note(scope, request_id, out.status, self._clock() - started)
            return
        self.in_flight += 1
        try:
            await self._answer(scope, named, receive, out, request_id, started)
        except Exception as error:
            log_unexpected(error)
            if out.status:
                raise  # half an answer is out: the server breaks the connection off
            await send_problem(out, internal_error(), request_id)
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()
            self._note(scope, request_id, out.status, self._clock() - started)

    async def _answer(
        self,
        scope: Scope,
        named: Mapping[bytes, bytes],
        receive: Receive,
        out: Outgoing,
        request_id: str,
        started: float,
    ) -> None:
        settings = self._settings
        method: str = scope["method"]
        if method == "OPTIONS" and (preflight := self._rules.cors.preflight(named)) is not None:
            await out({"type": "http.response.start", "status": 204, "headers": preflight})
            await out({"type": "http.response.body", "body": b""})
            return
        traceparent = named.get(b"traceparent")
        trace = None if traceparent is None else parse_traceparent(traceparent)
        enter(request_id, trace, started + settings.request_seconds)
        consistency.enter(named)
        if has_body(named):
            body = await self._body(scope["path"], named, receive)
            if isinstance(body, StoreError):
                await send_problem(out, body, request_id, close=True)
                return
            receive = Replay(body, receive)
        if method in _READS:
            if self._hot is not None and await self._shared(scope, named, out, request_id):
                return
            if method == "HEAD":
                scope["method"] = "GET"
        await self._app(scope, receive, out)

    async def _body(
        self, path: str, named: Mapping[bytes, bytes], receive: Receive
    ) -> bytes | StoreError:
        limit = self._screen.body_limit(path)
        refusal = coding_fault(named.get(b"transfer-encoding"))
        refusal = refusal or declared_length(named.get(b"content-length"), limit)
        if refusal is not None:
            return refusal
        return await read_body(receive, limit, self._settings.body_seconds)

    async def _shared(
        self, scope: Scope, named: Mapping[bytes, bytes], out: Outgoing, request_id: str
    ) -> bool:
        """Answer with a fetch shared by all who ask now; False where there is none."""
        found = await self._hot.fetch(scope, named, request_id) if self._hot is not None else None
        if found is None:
            return False
        scope["path_template"] = found.route
        if isinstance(found, Answer):
            start = {"type": "http.response.start", "status": found.status}
            await out({**start, "headers": found.headers})
            await out({"type": "http.response.body", "body": found.body})
        else:
            start, body = kept_messages(found, named, [], head=scope["method"] == "HEAD")
            await out(start)
            await out(body)
        return True

    def _take_over(self, given: bytes) -> str:
        return given.decode() if _REQUEST_ID.fullmatch(given) else self._new_request_id()

    def _too_many(self, scope: Scope) -> StoreError | None:
        """Whether all clients together ask more than we can do, or one more than it may."""
        if self.in_flight >= self._settings.max_in_flight:
            return Unavailable(
                "Too many requests are being answered just now; try again shortly.",
                retry_after_seconds=self._settings.retry_after_seconds,
            )
        if self._limit is None or scope["path"] in _NEVER_LIMITED:
            return None
        return _slow_down(self._limit.take(client_address(scope, self._proxies), self._clock()))

    async def _too_many_anywhere(self, scope: Scope, limit: WideLimit) -> StoreError | None:
        """Whether one client asks more of all instances than it may."""
        if scope["path"] in _NEVER_LIMITED:
            return None
        return _slow_down(await limit.take(client_address(scope, self._proxies), self._clock()))

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    def _more_headers(self, named: Mapping[bytes, bytes]) -> RawHeaders:
        more = self._rules.cors.headers(named)
        return [*more, CLOSE] if self.draining else more

    def _note(
        self, scope: Scope, request_id: str, status: int, seconds: float, *, cached: bool = False
    ) -> None:
        """Counts it; one line a request: always for the failed and slow, for all where it is set.

        It names the route, not the path: what stands in a path or query may be a secret.
        """
        route: str = scope.get("path_template") or ""
        if not cached:
            self.requests.note(scope["method"], route, status, seconds)
        failed = not 0 < status < _FAILED
        if not (failed or seconds > self._slow_seconds):
            return
        log = _log.warning if failed else _log.info
        log(
            "request",
            request_id=request_id,
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            cached=cached,
        )


def _slow_down(seconds: float) -> StoreError | None:
    """What a client is told that may ask again in so many seconds; None for 0."""
    if not seconds:
        return None
    return Limited(
        "You ask more often than one client may; slow down.",
        retry_after_seconds=max(1, round(seconds)),
    )
