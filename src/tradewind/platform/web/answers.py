"""What answers say about themselves to caches and to later edits; one rule: headers only.

Entity tags and preconditions follow RFC 9110 (8.8.3, 13.1), caching RFC 9111 and 5861.
"""

import hashlib
import re
from collections.abc import Iterable

from tradewind.platform.errors import PreconditionFailed

_TAG = re.compile(r'(?:W/)?"[^"]*"')
_SURROGATE_KEY = re.compile(r"[^\s]{1,200}")


def etag_of_body(body: bytes) -> str:
    """A strong entity tag made from the bytes themselves."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def etag_of_version(version: int) -> str:
    """A strong entity tag for a row that counts its changes."""
    return f'"v{version}"'


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether the client's copy is still good (304): weak comparison, lists and `*` included."""
    if not if_none_match:
        return False
    if if_none_match == etag or if_none_match.strip() == "*":
        return True
    bare = etag.removeprefix("W/")
    return any(tag.removeprefix("W/") == bare for tag in _TAG.findall(if_none_match))


def require_match(if_match: str | None, etag: str) -> None:
    """Raise `PreconditionFailed` where the edit was meant for another version (`If-Match`).

    Strong comparison: a weak tag matches nothing. No header at all asks for nothing.
    """
    if if_match is None or if_match.strip() == "*":
        return
    if not etag.startswith("W/") and etag in _TAG.findall(if_match):
        return
    message = "It was changed since you read it; read it again and repeat the edit."
    raise PreconditionFailed(message)


def public_headers(
    *,
    seconds: int,
    stale_seconds: int,
    surrogate_keys: Iterable[str] = (),
    etag: str | None = None,
) -> dict[str, str]:
    """Headers of an answer that is the same for everybody.

    Shared caches may keep it `seconds`, and show it `stale_seconds` longer while they fetch it
    anew; browsers ask each time (and get 304). `surrogate_keys` are the tags to drop it by; they
    must not contain spaces.
    """
    headers = {
        "Cache-Control": (
            f"public, max-age=0, s-maxage={seconds}, stale-while-revalidate={stale_seconds}"
        )
    }
    keys = sorted({key for key in surrogate_keys if _SURROGATE_KEY.fullmatch(key)})
    if keys:
        headers["Surrogate-Key"] = " ".join(keys)
    if etag is not None:
        headers["ETag"] = etag
    return headers


def retry_after(seconds: float) -> dict[str, str]:
    """`Retry-After` in whole seconds, at least one."""
    return {"Retry-After": str(max(1, round(seconds)))}
