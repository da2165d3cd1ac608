"""Public GETs answered from bytes; one rule: what is kept was asked for by nobody in particular.

An answer is fetched with a request that carries the path, the query parameters that the route is
known to read, and nothing else: no header of any client can colour what others will be given.
Requests that show who is asking (`WebSettings.personal_headers`, `personal_cookies`) pass by.
"""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tradewind.platform.cache import Answer, Kept, Produce, ResponseCache
from tradewind.platform.web.answers import is_unchanged
from tradewind.platform.web.asgi import Application, Message, RawHeaders, Scope
from tradewind.platform.web.context import enter
from tradewind.platform.web.sending import NOT_MODIFIED, OutgoingRules
from tradewind.platform.web.settings import CachedPath, WebSettings

_OK = 200
_EMPTY: Message = {"type": "http.response.body", "body": b"", "more_body": False}
_OWN_BODY_OR_PART = frozenset({b"content-length", b"transfer-encoding", b"range"})
_LONGEST_QUERY = 1_024
_QUERIES_REMEMBERED = 4_096
_CLEAN_HEADERS: RawHeaders = [(b"host", b"localhost"), (b"accept", b"application/json")]


class HotReads:
    """Finds, fetches and renders what the response cache may answer."""

    def __init__(
        self, app: Application, cache: ResponseCache, settings: WebSettings, rules: OutgoingRules
    ) -> None:
        self._app = app
        self._cache = cache
        self._settings = settings
        self._paths = sorted(settings.cached_paths, key=lambda cached: -len(cached.path))
        self._rules = rules
        self._never_shared = _OWN_BODY_OR_PART | rules.personal_headers
        self._queries: dict[tuple[str, bytes], str] = {}

    def find(
        self, scope: Scope, named: Mapping[bytes, bytes], now: float, request_id: str
    ) -> Kept | None:
        """The kept answer to this request, if it may have one; refreshes it beside if stale."""
        query: bytes = scope["query_string"]
        key: str = scope["path"]
        known: str | None = ""
        if query:
            known = self._queries.get((self._prefix(key), query))
            if known is None:
                return None
            if known:
                key = f"{key}?{known}"
        kept = self._cache.get(key, now)
        if kept is None or not self._may_share(named):
            return None
        if now >= kept.stale_at:
            produce = self._producer(scope, scope["path"], known, request_id)
            self._cache.refresh(key, kept, produce)
        return kept

    async def fetch(
        self, scope: Scope, named: Mapping[bytes, bytes], request_id: str
    ) -> Kept | Answer | None:
        """Fetch the answer for all who ask now; None where this request must ask by itself."""
        path: str = scope["path"]
        cached = self._rule(path)
        if cached is None or not self._may_share(named):
            return None
        query = self._normalise(cached, scope["query_string"])
        if query is None:
            return None
        key = f"{path}?{query}" if query else path
        if (kept := self._cache.get(key)) is not None:
            return kept  # kept under another spelling of the same query
        return await self._cache.fill(key, self._producer(scope, path, query, request_id))

    def _may_share(self, named: Mapping[bytes, bytes]) -> bool:
        if not self._never_shared.isdisjoint(named):
            return False
        return b"cookie" not in named or not self._rules.is_personal(named)

    def _rule(self, path: str) -> CachedPath | None:
        for cached in self._paths:
            if path == cached.path or path.startswith(cached.path + "/"):
                return cached
        return None

    def _prefix(self, path: str) -> str:
        cached = self._rule(path)
        return "" if cached is None else cached.path

    def _normalise(self, cached: CachedPath, query: bytes) -> str | None:
        """The query with its known parameters only, in order of name; None if it is too long."""
        if not query:
            return ""
        if len(query) > _LONGEST_QUERY:
            return None
        known = self._queries.get((cached.path, query))
        if known is None:
            pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
            kept = [pair for pair in pairs if pair[0] in cached.parameters]
            known = urlencode(sorted(kept, key=lambda pair: pair[0]))
            if len(self._queries) >= _QUERIES_REMEMBERED:
                self._queries.clear()
            self._queries[cached.path, query] = known
        return known

    def _producer(self, scope: Scope, path: str, query: str, request_id: str) -> Produce:
        clean: dict[str, Any] = {
            "type": "http",
            "asgi": scope["asgi"],
            "http_version": scope["http_version"],
            "server": scope["server"],
            "client": None,
            "scheme": scope["scheme"],
            "method": "GET",
            "path": path,
            "raw_path": scope["raw_path"],
            "query_string": query.encode("latin-1"),
            "headers": _CLEAN_HEADERS,
            "root_path": scope.get("root_path", ""),
            "state": dict(scope.get("state") or {}),
        }

        async def produce() -> Answer:
            enter(request_id, None, time.monotonic() + self._settings.request_seconds)
            collected = _Collected()
            await self._app(clean, _no_body, collected)
            return collected.answer(clean.get("path_template") or "")

        return produce


def kept_messages(
    kept: Kept, named: Mapping[bytes, bytes], more: RawHeaders, *, head: bool
) -> tuple[Message, Message]:
    """The two events that answer a request from a kept answer: 304 where the client has it."""
    status, headers, body = _OK, kept.headers, kept.body
    unless = named.get(b"if-none-match")
    if unless is not None and is_unchanged(unless.decode("latin-1"), kept.etag):
        status, headers, body = NOT_MODIFIED, kept.unchanged_headers, _EMPTY
    elif head:
        headers, body = kept.head_headers, _EMPTY
    return {"type": "http.response.start", "status": status, "headers": [*headers, *more]}, body


class _Collected:
    """A `send` that keeps the whole answer."""

    __slots__ = ("_headers", "_parts", "_status")

    def __init__(self) -> None:
        self._status = 500
        self._headers: RawHeaders = []
        self._parts: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = list(message["headers"])
        elif message["type"] == "http.response.body":
            self._parts.append(message.get("body", b""))

    def answer(self, route: str) -> Answer:
        return Answer(self._status, self._headers, b"".join(self._parts), route)


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
