"""What can go wrong, in six kinds; one rule: a kind says whose fault it is, a code says which.

Services subclass these in their `contract.py` and give each subclass a stable snake_case `code`.
HTTP status numbers are not known here: `platform/web` gives each kind its own. An error travels
between services as its code, its detail and its `extra` members, so it keeps nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One fault of the input: the field's path (`lines[0].quantity`) and what it needs."""

    field: str
    message: str


class StoreError(Exception):
    """Base of all expected errors. `detail` is a sentence for people.

    `extra` joins the problem document; `retry_after_seconds`, where given, becomes `Retry-After`.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"

    def __init__(
        self,
        detail: str,
        *,
        extra: Mapping[str, Any] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra: Mapping[str, Any] = extra or {}
        self.retry_after_seconds = retry_after_seconds


class NotFound(StoreError):
    """It is not there, or not for the one who asks."""

    code = "not_found"
    title = "Not found"


class Conflict(StoreError):
    """The request was fine, but the state of things does not allow it."""

    code = "conflict"
    title = "Conflict"


class Invalid(StoreError):
    """The input cannot be right whatever the state; `errors` names the fields."""

    code = "invalid"
    title = "Invalid input"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail, extra=extra)
        self.errors = tuple(errors)


class Denied(StoreError):
    """Known or not, the caller may not do this."""

    code = "denied"
    title = "Forbidden"


class Limited(StoreError):
    """The caller asks too much; `retry_after_seconds` says when to come back."""

    code = "rate_limited"
    title = "Too many requests"


class Unavailable(StoreError):
    """A part of ours is down or full; nothing was taken, and the same request may be sent again."""

    code = "unavailable"
    title = "Temporarily unavailable"

    def __init__(
        self,
        detail: str,
        *,
        extra: Mapping[str, Any] | None = None,
        retry_after_seconds: int | None = 1,
    ) -> None:
        super().__init__(detail, extra=extra, retry_after_seconds=retry_after_seconds)


# Variants of the six that the platform itself raises. Subclasses keep their kind's meaning.


class Unauthenticated(Denied):
    """No session, or one that is over."""

    code = "unauthenticated"
    title = "Sign in first"


class PaymentRequired(Conflict):
    """The state does not allow it until somebody pays; the only kind with a status of its own."""

    code = "payment_required"
    title = "Payment required"


class PreconditionFailed(Conflict):
    """`If-Match` named a version that is no longer the current one."""

    code = "precondition_failed"
    title = "It was changed meanwhile"
