"""What is refused before anybody reads it; one rule: pure functions over the ASGI scope.

They look at what a load balancer in front might have read differently: framing, `Host`, the
spelling of paths. Most requests pass every check without leaving C.

Known and accepted: with both `Transfer-Encoding: chunked` and `Content-Length`, the server (hyper)
drops the length before we see it, reads the body as chunked and closes the connection after the
answer. RFC 9112 6.3 allows exactly that; a smuggled second request dies with the connection.
Granian offers no option to refuse it.
"""

from collections.abc import Mapping
from itertools import chain

from tradewind.platform.errors import NotFound, StoreError
from tradewind.platform.web.asgi import RawHeaders, Scope
from tradewind.platform.web.problems import BadRequest, HeadersTooLarge, TooLarge
from tradewind.platform.web.settings import WebSettings

_GREATEST_LENGTH = 2**63 - 1
_SINGLE = (b"host", b"content-length", b"transfer-encoding", b"content-type", b"authorization")
_PATHS_REMEMBERED = 4_096
_LONGEST_REMEMBERED = 128
_ENCODED_SEPARATORS = (b"%2f", b"%5c", b"%00")


class Screen:
    """The checks that hold for one listener; `public` hides what is internal."""

    def __init__(self, settings: WebSettings, *, public: bool) -> None:
        self._header_limit = settings.header_limit_bytes
        self._private = tuple(settings.private_prefixes) if public else ()
        self._body_limit = settings.body_limit_bytes
        longest_first = sorted(settings.body_limits.items(), key=lambda item: -len(item[0]))
        self._body_limits = tuple(longest_first)
        self.sound_paths: set[bytes] = set()
        """Raw paths that were found sound; bounded."""

    def headers(self, scope: Scope, named: Mapping[bytes, bytes]) -> StoreError | None:
        """Why the headers are refused, or None. `named` is a dict of `scope["headers"]`."""
        headers: RawHeaders = scope["headers"]
        size = len(b"".join(chain.from_iterable(headers))) + 4 * len(headers)
        if size + len(scope["raw_path"]) + len(scope["query_string"]) > self._header_limit:
            return HeadersTooLarge(f"Request line and headers go up to {self._header_limit} bytes.")
        if not named.get(b"host"):
            return BadRequest("The Host header is missing.")
        if len(named) != len(headers):
            names = [name for name, _ in headers]
            for single in _SINGLE:
                if names.count(single) > 1:
                    return BadRequest(f"The header {single.decode()} may occur only once.")
        return None

    def path(self, scope: Scope) -> StoreError | None:
        """Why the path is refused, or None. It was decoded once, by the server, and stays so."""
        raw: bytes = scope["raw_path"]
        if raw in self.sound_paths:
            return None
        path: str = scope["path"]
        # `OPTIONS *` and CONNECT name no resource of ours.
        known = path.startswith("/") and not _is_odd(raw, path)
        if not known or (self._private and path.lower().startswith(self._private)):
            return NotFound("There is nothing at this address.")
        if len(raw) <= _LONGEST_REMEMBERED:
            if len(self.sound_paths) >= _PATHS_REMEMBERED:
                self.sound_paths.clear()
            self.sound_paths.add(raw)
        return None

    def body_limit(self, path: str) -> int:
        """How many bytes of body this path takes; the longest matching prefix decides."""
        for prefix, limit in self._body_limits:
            if path.startswith(prefix):
                return limit
        return self._body_limit


def declared_length(value: bytes | None, limit: int) -> StoreError | None:
    """Why a `Content-Length` is refused, or None. The server has checked that it is digits."""
    if value is None:
        return None
    if not value.isdigit() or len(value) > len(str(_GREATEST_LENGTH)):
        return BadRequest("The Content-Length is not a length.")
    length = int(value)
    if length > _GREATEST_LENGTH:
        return BadRequest("The Content-Length is not a length.")
    if length > limit:
        return too_large(limit)
    return None


def coding_fault(value: bytes | None) -> StoreError | None:
    """Why a `Transfer-Encoding` is refused, or None: a body in another coding would be misread."""
    if value is None or value.strip().lower() == b"chunked":
        return None
    return BadRequest("The only Transfer-Encoding that is read is chunked.")


def too_large(limit: int) -> StoreError:
    """The refusal of a body beyond its limit."""
    return TooLarge(f"The body may have up to {limit} bytes.")


def has_body(named: Mapping[bytes, bytes]) -> bool:
    """Whether a body follows the headers (RFC 9112 6)."""
    return named.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in named


def _is_odd(raw: bytes, path: str) -> bool:
    """Spellings that other parsers would read as another path than ours."""
    if not (b"%" in raw or b"//" in raw or b"/." in raw or b"\\" in raw):
        return False
    if "//" in path or "\\" in path or "\ufffd" in path or not path.isprintable():
        return True
    if any(segment in (".", "..") for segment in path.split("/")):
        return True
    lowered = raw.lower()
    return any(separator in lowered for separator in _ENCODED_SEPARATORS)
