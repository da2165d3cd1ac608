"""What a client has seen, as it says itself; one rule: a token is believed, never trusted.

An answer to a write carries a `Consistency-Token`: the WAL position, in hexadecimal, that a read
must show to show that write. Clients give it back as a header, browsers as the cookie
`consistency`. What cannot be a token is no token: it is ignored, and can hurt nobody but its giver.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar

HEADER = b"consistency-token"
COOKIE = b"consistency"
_TOKEN = re.compile(rb"[0-9a-f]{1,16}")
_COOKIE_TOKEN = re.compile(rb"(?:^|;)[ \t]*" + COOKIE + rb"=([0-9a-f]{1,16})[ \t]*(?=;|$)")

_headers: ContextVar[Mapping[bytes, bytes] | None] = ContextVar("request_headers", default=None)


def enter(named: Mapping[bytes, bytes]) -> None:
    """Make these the headers of the request that the running task answers; nothing is read yet."""
    _headers.set(named)


def needed_position() -> int:
    """The WAL position that the client of this request has seen; 0 where it names none."""
    named = _headers.get()
    if named is None:
        return 0
    given = [token] if (token := named.get(HEADER)) is not None and _TOKEN.fullmatch(token) else []
    if (cookie := named.get(b"cookie")) is not None:
        given += _COOKIE_TOKEN.findall(cookie)
    return max((int(token, 16) for token in given), default=0)


def write_token(position: int) -> bytes:
    """A position as clients get it."""
    return b"%x" % position
