"""The `Idempotency-Key` header; one rule: a key belongs to its principal and to one request.

`once: NamedDependency[Once]` gives a POST action its key, if one came; `key_of` is for routes that
need one. All anonymous callers are one principal.
"""

from typing import Any

from litestar import Request, Response

from tradewind.platform.errors import FieldError, Invalid
from tradewind.platform.idempotency import (
    ANONYMOUS,
    LENGTH_MOST,
    Key,
    KeyRequired,
    Once,
    Replay,
    fingerprint,
)
from tradewind.platform.sessions import principal

REPLAYED_HEADER = "Idempotent-Replayed"


async def find_key(request: Request[Any, Any, Any]) -> Key | None:
    """The request's key, or None without one. Raises Invalid where it is too long or not ASCII."""
    given = request.headers.get("idempotency-key")
    if given is None:
        return None
    if not 1 <= len(given) <= LENGTH_MOST or not (given.isascii() and given.isprintable()):
        message = f"must be 1 to {LENGTH_MOST} printable ASCII characters"
        raise Invalid(
            "The Idempotency-Key cannot be used.", errors=[FieldError("Idempotency-Key", message)]
        )
    who = await principal(request)
    return Key(
        principal=str(who.user_id) if who else ANONYMOUS,
        key=given,
        fingerprint=fingerprint(request.method, request.scope["path"], await request.body()),
    )


async def key_of(request: Request[Any, Any, Any]) -> Key:
    """The request's key; raises KeyRequired (400) without one."""
    key = await find_key(request)
    if key is None:
        raise KeyRequired(
            "This request moves money or stock: send an Idempotency-Key header, new for each "
            "purchase and the same for each try of it."
        )
    return key


async def once(request: Request[Any, Any, Any]) -> Once:
    """Dependency `once`: the wish to be carried out once, where a key came."""
    return Once(await find_key(request), request.route_handler.status_code)


def answer_replay(_request: Request[Any, Any, Any], replay: Replay) -> Response[bytes]:
    """Exception handler: the stored answer again, byte for byte."""
    problem = replay.status >= 400  # noqa: PLR2004  where errors begin (RFC 9110)
    return Response(
        replay.body,
        status_code=replay.status,
        media_type="application/problem+json" if problem else "application/json",
        headers={REPLAYED_HEADER: "true", "Cache-Control": "private, no-store"},
    )
