"""How a failure is told over HTTP; one rule: error status numbers stand here and nowhere else.

Every failure is an RFC 9457 problem document with a stable `code`. What we did not expect is a
bare 500: its traceback goes to the log under the request id, and nothing of it to the client.
"""

import re
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, cast

import msgspec
import structlog
from litestar import Request, Response
from litestar.enums import ParamType
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.response.base import ASGIResponse

from tradewind.platform import errors
from tradewind.platform.errors import FieldError, StoreError
from tradewind.platform.web.asgi import RawHeaders, Scope, Send
from tradewind.platform.web.context import current_request_id

PROBLEM_MEDIA_TYPE = "application/problem+json"
ANSWER_HEADERS_KEY = "tradewind.answer_headers"
"""Scope key: raw headers that an error answer to this request shall carry (a cleared cookie)."""

_MISSING_PARAMETER = re.compile(r"Missing required \w+ parameter '([^']+)'")
_SET_BY_FRAMEWORK = (b"content-type", b"content-length")
_log = structlog.stdlib.get_logger(__name__)
_encoder = msgspec.json.Encoder()


class BadRequest(StoreError):
    """The request itself is not well-formed, whatever it asks for."""

    code = "bad_request"
    title = "Bad request"


class MalformedJson(BadRequest):
    """The body is not JSON, or JSON that two parsers would read differently."""

    code = "malformed_json"
    title = "Malformed JSON"


class BodyRequired(BadRequest):
    """The route needs a body and none came."""

    code = "body_required"
    title = "A body is required"


class TimedOut(StoreError):
    """The client did not finish sending in time."""

    code = "request_timeout"
    title = "The request took too long to arrive"


class TooLarge(StoreError):
    """The body is beyond the limit of its route."""

    code = "too_large"
    title = "The body is too large"


class HeadersTooLarge(StoreError):
    """Request line and headers are beyond the limit."""

    code = "headers_too_large"
    title = "The headers are too large"


class UnsupportedContentType(StoreError):
    """The body is in a format that the route does not take."""

    code = "unsupported_media_type"
    title = "Unsupported content type"


class MethodNotAllowed(StoreError):
    """The resource is there, but not for this method."""

    code = "method_not_allowed"
    title = "Method not allowed"


_STATUS: Mapping[type[StoreError], int] = {
    StoreError: 500,
    BadRequest: 400,
    errors.Unauthenticated: 401,
    errors.PaymentRequired: 402,
    errors.Denied: 403,
    errors.NotFound: 404,
    MethodNotAllowed: 405,
    TimedOut: 408,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    TooLarge: 413,
    UnsupportedContentType: 415,
    errors.Invalid: 422,
    errors.Limited: 429,
    HeadersTooLarge: 431,
    errors.Unavailable: 503,
}


# An error whose kind says one thing and whose protocol says another, by its code.
_STATUS_OF_CODE: Mapping[str, int] = {
    "idempotency_key_required": 400,
    "bad_signature": 400,
}


class Problem(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The members that every problem document has; a code may add more of its own."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: tuple[FieldError, ...] = ()


class RenderedProblem(msgspec.Struct, frozen=True):
    """A problem ready to be sent: status, raw headers, body."""

    status: int
    headers: RawHeaders
    body: bytes


@cache
def status_of(kind: type[StoreError]) -> int:
    """The HTTP status of an error class: its code's, or that of the nearest kind above it."""
    if kind.code in _STATUS_OF_CODE:
        return _STATUS_OF_CODE[kind.code]
    for ancestor in kind.__mro__:
        if ancestor in _STATUS:
            return _STATUS[ancestor]
    return _STATUS[StoreError]


def render(error: StoreError, request_id: str, *, close: bool = False) -> RenderedProblem:
    """Write an error as a problem document; `close` also ends the connection."""
    kind = type(error)
    status = status_of(kind)
    problem = Problem(
        type=f"urn:problem:{error.code}",
        title=error.title,
        status=status,
        code=error.code,
        detail=error.detail,
        request_id=request_id,
        errors=error.errors if isinstance(error, errors.Invalid) else (),
    )
    members: dict[str, Any] = {**error.extra, **msgspec.to_builtins(problem)}
    headers: RawHeaders = [
        (b"content-type", PROBLEM_MEDIA_TYPE.encode()),
        (b"cache-control", b"no-store"),
    ]
    if isinstance(error, errors.Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_seconds))
    if close:
        headers.append((b"connection", b"close"))
    body = _encoder.encode(members)
    headers.append((b"content-length", b"%d" % len(body)))
    return RenderedProblem(status, headers, body)


async def send_problem(
    send: Send, error: StoreError, request_id: str, *, close: bool = False, head: bool = False
) -> None:
    """Answer a request with a problem, without the framework; `head` leaves the body out."""
    told = render(error, request_id, close=close)
    headers = told.headers
    await send({"type": "http.response.start", "status": told.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else told.body})


def internal_error() -> StoreError:
    """What a client learns of a failure that nobody expected."""
    return _Internal("Something went wrong on our side; the request id leads us to it.")


def log_unexpected(error: BaseException) -> None:
    """Keep the traceback of a failure that nobody expected, under the request's id."""
    _log.error("unexpected_error", exc_info=error, error=type(error).__name__)


def answer_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The framework's only exception handler: any exception as a problem document."""
    expected = _as_store_error(request, error)
    told = render(expected, current_request_id())
    if isinstance(error, MethodNotAllowedException):
        told.headers.append((b"allow", _allowed(error).encode()))
    scope = cast("Scope", request.scope)
    told.headers.extend(scope.get(ANSWER_HEADERS_KEY, ()))
    return _Told(told)


class _Internal(StoreError):
    code = "internal_error"
    title = "Internal error"


class _Told(Response[bytes]):
    """A rendered problem as the framework's response; Litestar's own cannot repeat a header."""

    def __init__(self, told: RenderedProblem) -> None:
        super().__init__(told.body, status_code=told.status, media_type=PROBLEM_MEDIA_TYPE)
        self._told = told

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        return ASGIResponse(
            body=self._told.body,
            status_code=self._told.status,
            media_type=PROBLEM_MEDIA_TYPE,
            headers=[
                (name.decode(), value.decode("latin-1"))
                for name, value in self._told.headers
                if name not in _SET_BY_FRAMEWORK
            ],
        )


def _as_store_error(request: Request[Any, Any, Any], error: Exception) -> StoreError:
    """Translate whatever was raised; the unexpected is logged here."""
    if isinstance(error, StoreError):
        if status_of(type(error)) >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(
            error, errors.Unavailable
        ):
            log_unexpected(error)
        return error
    if isinstance(error, ValidationException):
        return _from_validation(request, error)
    if isinstance(error, NotFoundException):
        return errors.NotFound("There is nothing at this address.")
    if isinstance(error, MethodNotAllowedException):
        return MethodNotAllowed("This address does not answer that method.")
    if isinstance(error, HTTPException):
        return _from_status(error)
    log_unexpected(error)
    return internal_error()


def _from_status(error: HTTPException) -> StoreError:
    """Any other exception of the framework, by its status; details of ours stay ours."""
    for kind, status in _STATUS.items():
        if status == error.status_code and status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return kind(HTTPStatus(status).description or kind.title)
    if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return BadRequest("The request could not be understood.")
    log_unexpected(error)
    return internal_error()


def _from_validation(request: Request[Any, Any, Any], error: ValidationException) -> StoreError:
    """Bad parameters: in the path 404, elsewhere 422; a body that never came 400."""
    faults: list[Any] = error.extra if isinstance(error.extra, list) else []
    named: list[FieldError] = []
    for fault in faults:
        key, source = str(fault.get("key", "")), fault.get("source")
        if source == ParamType.PATH:
            return errors.NotFound("There is nothing at this address.")
        if source == "body" and key == "data":
            return BodyRequired("This request needs a JSON body.")
        named.append(FieldError(_public_name(request, key), str(fault.get("message", ""))))
    if not named and (missing := _MISSING_PARAMETER.search(error.detail)):
        named.append(FieldError(missing[1], "This parameter is required."))
    return errors.Invalid("The request's parameters cannot be right.", errors=named)


def _public_name(request: Request[Any, Any, Any], key: str) -> str:
    """The name under which a client knows a handler's parameter (`inStock` for `in_stock`)."""
    handler = cast("Scope", request.scope).get("route_handler")
    signature = getattr(handler, "parsed_fn_signature", None)
    definition = signature.parameters.get(key) if signature is not None else None
    known = getattr(definition, "kwarg_definition", None)
    for alias in ("name", "query", "header", "cookie"):
        if name := getattr(known, alias, None):
            return str(name)
    return key


def _allowed(error: MethodNotAllowedException) -> str:
    """The `Allow` header of RFC 9110; whatever answers GET answers HEAD."""
    listed = (error.headers or {}).get("allow", "")
    methods = {method.strip() for method in listed.split(",") if method.strip()}
    if "GET" in methods:
        methods.add("HEAD")
    return ", ".join(sorted(methods))
