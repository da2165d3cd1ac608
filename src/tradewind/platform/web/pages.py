"""Lists in pages; one rule: a cursor is a keyset, opaque to clients and trusted by nobody.

A cursor says after which row to go on, so it must be checked like any input; it grants nothing,
which is why it is not signed.
"""

import base64
import binascii
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from tradewind.platform.errors import FieldError, Invalid

T = TypeVar("T")

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
MAX_CURSOR_LENGTH = 512

Limit = Annotated[
    int, QueryParameter(name="limit", ge=1, le=MAX_LIMIT, description="How many items at most.")
]
"""`limit: Limit = DEFAULT_LIMIT` in a handler."""

Cursor = Annotated[
    str | None,
    QueryParameter(name="cursor", description="Where to go on: `next` of the page before."),
]
"""`cursor: Cursor = None` in a handler; read it with `read_cursor`."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some items of a list; `next` leads to the following page and is null on the last."""

    items: list[T]
    next: str | None = None


def write_cursor(keyset: Any) -> str:
    """The cursor of a keyset: a struct or tuple of the last row's sort values."""
    return base64.urlsafe_b64encode(msgspec.json.encode(keyset)).rstrip(b"=").decode()


def read_cursor(cursor: str | None, keyset: type[T]) -> T | None:
    """The keyset in a cursor, or None for the first page (no cursor, or an empty one).

    Raises `Invalid` naming the field `cursor` where it is not one that we could have written.
    """
    if not cursor:
        return None
    try:
        if len(cursor) > MAX_CURSOR_LENGTH:
            raise _broken()
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if b"\\u0000" in text:
            raise _broken()
        return msgspec.json.decode(text, type=keyset)
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise _broken() from error


def _broken() -> Invalid:
    fault = FieldError("cursor", "This is not a cursor of this list.")
    return Invalid("The cursor cannot be read.", errors=[fault])
