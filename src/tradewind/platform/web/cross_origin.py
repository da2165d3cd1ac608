"""Scripts of other origins (CORS, Fetch standard); one rule: an allow-list, and never cookies.

A listed origin may call with a bearer token. Credentials are not allowed, so a browser keeps our
cookie to itself, and nothing here weakens the check against forged requests.
"""

from collections.abc import Mapping

from tradewind.platform.web.asgi import RawHeaders
from tradewind.platform.web.settings import WebSettings

_VARY = (b"vary", b"Origin")
_EXPOSED = (
    b"access-control-expose-headers",
    b"ETag, Retry-After, X-Request-Id, Consistency-Token, Idempotent-Replayed, Location",
)
_PREFLIGHT: RawHeaders = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (b"access-control-max-age", b"600"),
    (b"content-length", b"0"),
]


class CrossOrigin:
    """The allow-list of one listener. With none, it adds nothing to any answer."""

    def __init__(self, settings: WebSettings) -> None:
        self.used = bool(settings.cross_origins)
        self._allowed = frozenset(origin.encode("latin-1") for origin in settings.cross_origins)

    def headers(self, named: Mapping[bytes, bytes]) -> RawHeaders:
        """What an answer to this request carries; `Vary` also where the origin is not allowed."""
        if not self.used:
            return []
        origin = named.get(b"origin")
        if origin not in self._allowed:
            return [_VARY]
        return [(b"access-control-allow-origin", origin), _VARY, _EXPOSED]

    def preflight(self, named: Mapping[bytes, bytes]) -> RawHeaders | None:
        """The answer to an OPTIONS that asks before a call; None where this is not that."""
        if not self.used or b"access-control-request-method" not in named:
            return None
        if named.get(b"origin") not in self._allowed:
            return None
        asked = named.get(b"access-control-request-headers", b"")
        allowed = [(b"access-control-allow-headers", asked)] if asked else []
        return [*_PREFLIGHT, *allowed]
