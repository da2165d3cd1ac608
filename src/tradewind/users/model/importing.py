"""Accounts of the Express user service, line by line; one rule: a line is taken whole or refused.

Its table is `id, username, password, created_at`, the password a bcrypt hash. A user name that is
an e-mail address becomes the account's address, not verified.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tradewind.users.model.faults import Fault
from tradewind.users.model.names import (
    Email,
    Username,
    names_email,
    read_email,
    read_imported_username,
)

_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
# A hash of cost 14 takes more than a second to check; beyond that, sign-ins would stop the store.
_BCRYPT: Final = re.compile(r"\$2[aby]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}")


class ImportedUser(msgspec.Struct, frozen=True):
    """One line that can be taken."""

    line: int
    imported_id: str
    email: Email | None
    username: Username | None
    password_hash: str
    created_at: datetime | None

    def __repr__(self) -> str:
        """Without hash and name."""
        return f"ImportedUser(line {self.line})"


class RefusedLine(msgspec.Struct, frozen=True):
    """One line that was not taken, and why."""

    line: int
    reason: str


def read_row(line: int, row: dict[str, Any], now: datetime) -> ImportedUser:
    """A line's user; raises Fault with the reason to refuse it."""
    imported_id = _text(row, "id")
    if not _ID.fullmatch(imported_id):
        raise Fault("id: must be a number or short identifier")
    name = _text(row, "username")
    hash_ = _text(row, "password")
    if not _BCRYPT.fullmatch(hash_):
        raise Fault("password: not a bcrypt hash ($2a$, $2b$ or $2y$, cost 4 to 14)")
    email: Email | None = None
    username: Username | None = None
    try:
        if names_email(name):
            email = read_email(name)
        else:
            username = read_imported_username(name)
    except Fault as fault:
        raise Fault(f"username: {fault}") from fault
    return ImportedUser(line, imported_id, email, username, hash_, _created_at(row, now))


def _text(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise Fault(f"{column}: missing")
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise Fault(f"{column}: holds characters that are no text")
    return value.strip()


def _created_at(row: dict[str, Any], now: datetime) -> datetime | None:
    value = row.get("created_at")
    if value is None or value == "":
        return None
    try:
        parsed = datetime.fromisoformat(str(value).strip())
    except ValueError as error:
        raise Fault("created_at: not a date and time (ISO 8601)") from error
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    try:
        parsed = parsed.astimezone(UTC)
    except OverflowError as error:
        raise Fault("created_at: not a date and time (ISO 8601)") from error
    if not datetime(1970, 1, 1, tzinfo=UTC) <= parsed <= now:
        raise Fault("created_at: before 1970 or in the future")
    return parsed
