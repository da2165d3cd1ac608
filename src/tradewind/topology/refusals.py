"""What the load balancer says by itself; one rule: in the words and the shape of the store.

Whoever reads an answer cannot tell, and need not know, who of the two refused.
"""

from collections.abc import Sequence

import msgspec

from tradewind.platform.errors import NotFound, StoreError, Unavailable
from tradewind.platform.web.problems import (
    PROBLEM_MEDIA_TYPE,
    BadRequest,
    Problem,
    TimedOut,
    TooLarge,
    internal_error,
    render,
)

REQUEST_ID = "%[var(txn.request_id)]"
"""HAProxy's own notation (log-format) for the id that it gave the request."""

_UNKNOWN = (
    "A part of the store broke off while it was at work, so this may or may not have been done. "
    "The same Idempotency-Key finds out."
)
_WRITTEN_BY_US = (b"cache-control", b"retry-after", b"connection")


def render_errors(body_seconds: float) -> list[str]:
    """`http-error` lines: every failure that HAProxy answers by itself, as a problem document."""
    known: Sequence[StoreError] = (
        BadRequest("The request is not well-formed HTTP."),
        TimedOut(f"A body must arrive within {body_seconds:g} seconds."),
        TooLarge("The body is too large."),
        internal_error(),
        Unavailable("This part of the store cannot be reached just now; try again shortly."),
    )
    # Who was refused by one of these may have been misread: nothing more is read from there.
    lines = [_line(*_told(error, close=isinstance(error, BadRequest))) for error in known]
    # The store itself never says these two: it is there, or it is not.
    lines.append(_line(502, _problem(502, "bad_gateway", "No answer", _UNKNOWN), []))
    lines.append(_line(504, _problem(504, "gateway_timeout", "No answer in time", _UNKNOWN), []))
    return lines


def render_nothing_here() -> str:
    """A `return` that says what the application says of an address that it does not know."""
    status, body, headers = _told(NotFound("There is nothing at this address."))
    return "http-request return " + _reply(status, body, headers)


def _told(error: StoreError, *, close: bool = False) -> tuple[int, str, list[str]]:
    told = render(error, REQUEST_ID, close=close)
    headers = [
        f"hdr {name.decode()} {value.decode()}"
        for name, value in told.headers
        if name in _WRITTEN_BY_US
    ]
    return told.status, told.body.decode(), headers


def _problem(status: int, code: str, title: str, detail: str) -> str:
    problem = Problem(
        type=f"urn:problem:{code}",
        title=title,
        status=status,
        code=code,
        detail=detail,
        request_id=REQUEST_ID,
    )
    return msgspec.json.encode(problem).decode()


def _line(status: int, body: str, headers: list[str]) -> str:
    headers = headers or ["hdr cache-control no-store"]
    return "http-error " + _reply(status, body, headers)


def _reply(status: int, body: str, headers: list[str]) -> str:
    headers = [*headers, "hdr x-content-type-options nosniff", f"hdr x-request-id {REQUEST_ID}"]
    what = f"status {status} content-type {PROBLEM_MEDIA_TYPE} lf-string '{body}'"
    return f"{what} {' '.join(headers)}"
