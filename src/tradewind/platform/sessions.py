"""Who is asking; one rule: a session is believed only after the authenticator has looked it up.

A token comes as `Authorization: Bearer` or in the session cookie. Whatever rides on the cookie
and changes something must prove that it comes from our own pages (OWASP CSRF cheat sheet, signed
double submit): `X-CSRF-Token` equal to the readable `csrf` cookie, itself derived from the session
token, and an `Origin` of ours. Handlers name their guard and take `principal`:

    @get("/v1/me", guards=[signed_in])
    async def get_me(principal: NamedDependency[Principal]) -> Me: ...

    @get("/v1/orders/{order_id:uuid}")
    async def get_order(principal: NamedDependency[Principal | None]) -> Order: ...

    @get("/v1/products")
    async def list_products(viewer: NamedDependency[Principal | None]) -> Page[Product]: ...
"""

import hmac
import ipaddress
from base64 import urlsafe_b64encode
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from tradewind.platform.errors import Denied, Unauthenticated
from tradewind.platform.principals import Authenticator, Principal
from tradewind.platform.web.asgi import RawHeaders, Scope
from tradewind.platform.web.problems import ANSWER_HEADERS_KEY
from tradewind.platform.web.settings import WebSettings

Connection = ASGIConnection[Any, Any, Any, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SESSIONS_STATE_KEY: Final = "sessions"
"""Where an application's state keeps its `Sessions`."""
CSRF_COOKIE: Final = "csrf"

_LONGEST_TOKEN = 512
_PRINCIPAL_KEY = "tradewind.principal"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_MISSING: Final = object()
_LONGEST_CHAIN = 32


class CsrfFailed(Denied):
    """The request rides on a cookie and cannot prove that it comes from our own pages."""

    code = "csrf_failed"
    title = "Not from our own pages"


class Sessions:
    """Reads, checks and writes sessions as the listener's settings say."""

    def __init__(self, authenticator: Authenticator, settings: WebSettings) -> None:
        self.cookie_name = "__Host-session" if settings.https else "session"
        self._authenticator = authenticator
        self._https = settings.https
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.origins)

    async def identify(self, scope: Scope) -> Principal | None:
        """Who asks, or None where no token is shown; looked up once a request.

        Raises `Unauthenticated` where the token shown is dead, `CsrfFailed` where a change rides
        on the cookie without proof.
        """
        known = scope.get(_PRINCIPAL_KEY, _MISSING)
        if known is not _MISSING:
            return known
        headers: dict[bytes, bytes] = dict(scope["headers"])
        token, on_cookie = self._token(headers)
        principal: Principal | None = None
        if token is not None:
            if on_cookie and scope["method"] not in _SAFE_METHODS:
                self._check_origin(token, headers)
            principal = await self._look_up(token)
            if principal is None:
                if on_cookie:
                    scope[ANSWER_HEADERS_KEY] = self.clearing_headers()
                message = "The session is over; sign in again."
                raise Unauthenticated(message)
        scope[_PRINCIPAL_KEY] = principal
        return principal

    def token(self, scope: Scope) -> str | None:
        """The token that a request shows, looked up or not; None without one."""
        return self._token(dict(scope["headers"]))[0]

    def cookies(self, token: str, seconds: int) -> list[str]:
        """`Set-Cookie` values for a new session: the session's own and the readable `csrf`."""
        return [
            self._cookie(self.cookie_name, token, seconds, readable=False),
            self._cookie(CSRF_COOKIE, csrf_token(token), seconds, readable=True),
        ]

    def clearing(self) -> list[str]:
        """`Set-Cookie` values that make the browser forget its session."""
        return [
            self._cookie(self.cookie_name, "", 0, readable=False),
            self._cookie(CSRF_COOKIE, "", 0, readable=True),
        ]

    def clearing_headers(self) -> RawHeaders:
        """The same as raw headers."""
        return [(b"set-cookie", value.encode()) for value in self.clearing()]

    def _cookie(self, name: str, value: str, seconds: int, *, readable: bool) -> str:
        parts = [f"{name}={value}", "Path=/", f"Max-Age={seconds}", "SameSite=Lax"]
        if not readable:
            parts.append("HttpOnly")
        if self._https:
            parts.append("Secure")
        return "; ".join(parts)

    def _token(self, headers: dict[bytes, bytes]) -> tuple[str | None, bool]:
        """The token and whether it came by cookie. An empty one is presented, and dead."""
        authorization = headers.get(b"authorization")
        if authorization is not None:
            scheme, _, token = authorization.decode("latin-1").partition(" ")
            return (token.strip() if scheme.lower() == "bearer" else ""), False
        token = read_cookie(headers, self.cookie_name)
        return (token or None), True

    async def _look_up(self, token: str) -> Principal | None:
        if not token or len(token) > _LONGEST_TOKEN or not token.isascii():
            return None
        return await self._authenticator.authenticate(token)

    def _check_origin(self, token: str, headers: dict[bytes, bytes]) -> None:
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        host = headers.get(b"host", b"").decode("latin-1").lower()
        own = self._origins or {f"{'https' if self._https else 'http'}://{host}"}
        expected = csrf_token(token).encode()
        sent = headers.get(b"x-csrf-token", b"")
        cookie = read_cookie(headers, CSRF_COOKIE).encode("utf-8", "replace")
        matches = hmac.compare_digest(sent, expected) & hmac.compare_digest(cookie, expected)
        if not matches or origin not in own:
            message = "This change must come from our own pages, with its X-CSRF-Token."
            raise CsrfFailed(message)


def csrf_token(session_token: str) -> str:
    """The value of the `csrf` cookie of a session: an HMAC keyed with the session token itself.

    So it is bound to the session and needs no secret of the store's; it says nothing about the
    token, which has 128 bits or more of randomness.
    """
    mac = hmac.digest(session_token.encode(), b"tradewind csrf", "sha256")
    return urlsafe_b64encode(mac[:24]).decode()


def read_cookie(headers: dict[bytes, bytes], name: str) -> str:
    """A cookie's value, or the empty string."""
    raw = headers.get(b"cookie")
    if raw is None:
        return ""
    for pair in raw.decode("latin-1").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value.strip('"')
    return ""


async def principal(request: Connection) -> Principal | None:
    """Dependency `principal`: who asks, or None for a guest."""
    return await _sessions(request).identify(request.scope)  # pyright: ignore[reportArgumentType]  a mapping


async def viewer(request: Connection) -> Principal | None:
    """Dependency `viewer`: who looks at what is for everybody; a cookie that is dead is a guest's.

    So that browsing goes on where a session ended. A dead bearer token is 401 here too: whoever
    sends one wants to be somebody. The cookie is not cleared, for such answers are kept for all.
    """
    try:
        return await principal(request)
    except Unauthenticated:
        if "authorization" in request.headers:
            raise
        request.scope.pop(ANSWER_HEADERS_KEY, None)
        return None


async def signed_in(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: anybody with a session."""
    await _require(connection)


async def staff(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: staff and administrators."""
    if not (await _require(connection)).is_staff:
        message = "Only staff may do this."
        raise Denied(message)


async def admin(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: administrators only."""
    if (await _require(connection)).role != "admin":
        message = "Only an administrator may do this."
        raise Denied(message)


async def _require(connection: Connection) -> Principal:
    found = await principal(connection)
    if found is None:
        message = "This needs a session; sign in first."
        raise Unauthenticated(message)
    return found


def _sessions(connection: Connection) -> Sessions:
    return connection.app.state[SESSIONS_STATE_KEY]


def client_address(scope: Scope, trusted_proxies: tuple[Network, ...]) -> str:
    """The address of the client: the peer's, or what our own proxies say of it.

    `X-Forwarded-For` is read from its right end, as long as whoever wrote the entry is trusted;
    so an entry that the client itself made up is never reached. Empty where there is no peer.
    """
    peer = scope.get("client")
    address: str = peer[0] if peer else ""
    if not trusted_proxies or not _is_trusted(address, trusted_proxies):
        return address
    forwarded = [
        value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"
    ]
    entries = [entry.strip() for entry in ",".join(forwarded).split(",")]
    for entry in reversed(entries[-_LONGEST_CHAIN:]):
        named = _bare_address(entry)
        if named is None:
            return address
        address = named
        if not _is_trusted(address, trusted_proxies):
            return address
    return address


def parse_networks(addresses: tuple[str, ...]) -> tuple[Network, ...]:
    """Addresses and networks from settings; raises ValueError naming the bad one."""
    return tuple(ipaddress.ip_network(address, strict=False) for address in addresses)


def _is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in trusted)


def _bare_address(entry: str) -> str | None:
    """An address without port or brackets; None where it is none."""
    text = entry
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
