"""Answers on their way out; one rule: every answer leaves here with what all of them must have.

That is: the request id, `nosniff`, a word for caches (private unless the handler says otherwise),
for pages a content security policy, and `connection: close` while the process drains.
"""

from collections.abc import Awaitable, Callable, Mapping

from tradewind.platform import consistency
from tradewind.platform.web.answers import is_unchanged
from tradewind.platform.web.asgi import Message, RawHeaders, Send
from tradewind.platform.web.cross_origin import CrossOrigin
from tradewind.platform.web.settings import WebSettings

NOSNIFF = (b"x-content-type-options", b"nosniff")
PRIVATE = (b"cache-control", b"private, no-store")
CLOSE = (b"connection", b"close")
REPLAYED_HEADER = b"idempotent-replayed"
NOT_MODIFIED = 304
_BAD_REQUEST = 400
_OK = 200
_READS = ("GET", "HEAD")
_NOT_FOR_304 = frozenset({b"content-length", b"content-type", b"content-encoding"})


class OutgoingRules:
    """What is the same for all answers of one listener."""

    __slots__ = (
        "cors",
        "page_headers",
        "personal_cookies",
        "personal_headers",
        "position",
        "replays",
    )

    def __init__(
        self, settings: WebSettings, position: Callable[[], Awaitable[int]] | None
    ) -> None:
        self.position = position
        """Asked for a position in the record that covers a write; None where all reads see all."""
        self.replays = 0
        """Writes that were answered with a stored answer."""
        self.cors = CrossOrigin(settings)
        self.page_headers = page_headers(settings)
        self.personal_headers = frozenset(
            name.lower().encode("latin-1") for name in settings.personal_headers
        )
        self.personal_cookies = tuple(f"{name}=".encode() for name in settings.personal_cookies)

    def is_personal(self, named: Mapping[bytes, bytes]) -> bool:
        """Whether the answer may depend on who asks, so that no shared cache may see it."""
        if not self.personal_headers.isdisjoint(named):
            return True
        cookie = named.get(b"cookie")
        return cookie is not None and any(name in cookie for name in self.personal_cookies)


class Outgoing:
    """A `send` for one request. Made for every request, so it does little and allocates less."""

    __slots__ = (
        "_bodiless",
        "_closing",
        "_method",
        "_named",
        "_request_id",
        "_rules",
        "_send",
        "status",
    )

    def __init__(
        self,
        send: Send,
        rules: OutgoingRules,
        request_id: bytes,
        named: Mapping[bytes, bytes],
        method: str,
        closing: bool,  # noqa: FBT001  on the path of every request
    ) -> None:
        self.status = 0
        """Of the answer that was started; 0 before that."""
        self._bodiless = method == "HEAD"
        self._send = send
        self._rules = rules
        self._request_id = request_id
        self._named = named
        self._method = method
        self._closing = closing

    def __call__(self, message: Message) -> Awaitable[None]:
        """Pass an event on to the client."""
        if message["type"] == "http.response.start":
            position = self._rules.position
            if position is None or self._method in _READS or message["status"] >= _BAD_REQUEST:
                return self._send(self._start(message, 0))
            return self._start_after(message, position)
        if self._bodiless:
            message = {**message, "body": b""}
        return self._send(message)

    async def _start_after(self, message: Message, position: Callable[[], Awaitable[int]]) -> None:
        await self._send(self._start(message, await position()))

    def _start(self, message: Message, position: int) -> Message:
        status: int = message["status"]
        headers: RawHeaders = list(message["headers"])
        known: Mapping[bytes, bytes] = dict(headers)
        rules = self._rules
        headers.append((b"x-request-id", self._request_id))
        if NOSNIFF[0] not in known:
            headers.append(NOSNIFF)
        caching = known.get(b"cache-control")
        if caching is None:
            headers.append(PRIVATE)
        elif b"public" in caching and rules.is_personal(self._named):
            # Whoever showed who they are may have been shown more than everybody sees.
            dropped = (b"cache-control", b"surrogate-key")
            headers = [header for header in headers if header[0] not in dropped]
            headers.append(PRIVATE)
        if known.get(b"content-type", b"").startswith(b"text/html"):
            headers.extend(header for header in rules.page_headers if header[0] not in known)
        if self._method not in _READS:
            rules.replays += REPLAYED_HEADER in known
            if status < _BAD_REQUEST:
                headers.extend(self._consistency(position))
        if rules.cors.used:
            headers.extend(rules.cors.headers(self._named))
        if self._closing and b"connection" not in known:
            headers.append(CLOSE)
        if status == _OK and b"etag" in known and self._has_it_already(known[b"etag"]):
            status = NOT_MODIFIED
            headers = without_body_headers(headers)
            self._bodiless = True
        self.status = status
        return {"type": "http.response.start", "status": status, "headers": headers}

    def _consistency(self, position: int) -> RawHeaders:
        """What a read after this write is to show, so that it is at least as fresh."""
        token = consistency.write_token(position)
        told: RawHeaders = [(consistency.HEADER, token)]
        if b"cookie" in self._named:
            cookie = b"%b=%b; Path=/; Max-Age=60; SameSite=Lax; HttpOnly"
            told.append((b"set-cookie", cookie % (consistency.COOKIE, token)))
        return told

    def _has_it_already(self, etag: bytes) -> bool:
        unless = self._named.get(b"if-none-match")
        if unless is None or self._method not in _READS:
            return False
        return is_unchanged(unless.decode("latin-1"), etag.decode("latin-1"))


def without_body_headers(headers: RawHeaders) -> RawHeaders:
    """The headers of an answer that shall carry no body (304)."""
    return [header for header in headers if header[0] not in _NOT_FOR_304]


def page_headers(settings: WebSettings) -> RawHeaders:
    """What HTML pages carry in addition."""
    return [
        (b"content-security-policy", settings.content_security_policy.encode("latin-1")),
        (b"referrer-policy", settings.referrer_policy.encode("latin-1")),
    ]
