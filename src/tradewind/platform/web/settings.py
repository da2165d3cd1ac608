"""What can be set about the HTTP side; one rule: values only, passed in by `compose`.

Every default is safe for a public listener on plain http with nobody in front.
"""

from collections.abc import Mapping

import msgspec

from tradewind.platform.config import PlatformSettings

MEBIBYTE = 1024 * 1024


class CachedPath(msgspec.Struct, frozen=True):
    """GETs at or below `path` may be answered from the response cache.

    Only `parameters` of the query are passed on and tell answers apart: a query cannot be varied
    without bound by parameters that nobody reads.
    """

    path: str
    parameters: frozenset[str] = frozenset()


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits, origins and habits of one listener; sizes in bytes, times in seconds."""

    https: bool = False
    """Clients reach us over https (ended here or at a proxy): sets the cookies' names and flags."""
    origins: tuple[str, ...] = ()
    """Where our own pages are served; with none, the request's own `Host` is the only one."""
    cross_origins: tuple[str, ...] = ()
    """Foreign origins whose scripts may read answers (CORS). They never ride on our cookie."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose `X-Forwarded-For` counts; loopback is not among them."""

    body_limit_bytes: int = MEBIBYTE
    body_limits: Mapping[str, int] = msgspec.field(default_factory=dict[str, int])
    """Other limits by path prefix; the longest prefix decides."""
    body_seconds: float = 30.0
    header_limit_bytes: int = 32 * 1024
    request_seconds: float = 30.0
    """How long a request may take altogether; its deadline."""
    max_in_flight: int = 2_000
    retry_after_seconds: int = 1
    client_requests_per_second: float | None = None
    """What one client may ask on average; None: whatever it likes. Cached answers do not count."""
    client_burst: int = 100

    private_prefixes: tuple[str, ...] = ("/internal", "/metrics")
    """Paths that do not exist on a public listener, whatever the spelling."""

    cached_paths: tuple[CachedPath, ...] = ()
    personal_headers: tuple[str, ...] = ("authorization",)
    """Request headers that may change a public answer: they pass the cache by."""
    personal_cookies: tuple[str, ...] = ("session", "__Host-session")
    """Cookies that may; a name that merely ends like one of them counts too."""

    log_requests: bool = False
    """Log every request, not only the failed (>= 500) and the slow."""
    slow_seconds: float = 1.0
    content_security_policy: str = (
        "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    referrer_policy: str = "strict-origin-when-cross-origin"


def web_settings(
    platform: PlatformSettings, cached: tuple[CachedPath, ...], personal_headers: tuple[str, ...]
) -> WebSettings:
    """The public listener's settings, with what its routes say of themselves."""
    own = (platform.public_url.rstrip("/"),) if platform.public_url else ()
    return WebSettings(
        https=bool(own and own[0].startswith("https://")),
        origins=own,
        cross_origins=platform.allowed_origins,
        trusted_proxies=platform.trusted_proxies,
        max_in_flight=platform.in_flight_most,
        client_requests_per_second=platform.client_requests_per_second,
        client_burst=platform.client_burst,
        log_requests=platform.log_requests,
        personal_headers=personal_headers,
        personal_cookies=("session", "__Host-session", "consistency"),
        cached_paths=cached,
    )
