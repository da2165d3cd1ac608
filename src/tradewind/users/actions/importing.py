"""The Express service's users; one rule: a line is imported once, however often the file is.

Lines are taken in batches, each its own transaction, so that an import that was broken off goes on
where it ended when it is started again. Nobody is sent a mail.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from tradewind.platform.ids import new_id
from tradewind.users.actions.context import UsersContext
from tradewind.users.model.faults import Fault
from tradewind.users.model.importing import ImportedUser, RefusedLine, read_row
from tradewind.users.model.shapes import Account
from tradewind.users.store import accounts

_BATCH = 500
_LINE_CHARACTERS_MOST = 10_000
_COLUMNS = {"id", "username", "password"}

Row = dict[str, Any]
Line = tuple[int, Row | Fault]
"""A line's number, and what stands there or why it cannot be read."""


class ImportReport(msgspec.Struct, frozen=True):
    """What came of an import; every line is in exactly one of these."""

    added: int
    already_here: int
    refused: tuple[RefusedLine, ...]


class ImportUnreadable(Exception):
    """The file as a whole is no import; one line says why."""


async def import_users(
    ctx: UsersContext, source: Path | Iterable[Row], progress: Callable[[int], None]
) -> ImportReport:
    """Imports a CSV or JSON Lines file, or rows. `progress` is told the lines done so far.

    Raises ImportUnreadable where the file is neither.
    """
    lines = iter(_lines_of(source) if isinstance(source, Path) else enumerate(source, 1))
    added, already, done = 0, 0, 0
    refused: list[RefusedLine] = []
    while batch := list(islice(lines, _BATCH)):
        users, faults = _read(batch, ctx.database.clock.now())
        refused += faults
        fresh, known, in_the_way = await _save(ctx, users)
        added, already, done = added + fresh, already + known, done + len(batch)
        refused += in_the_way
        progress(done)
    return ImportReport(added, already, tuple(sorted(refused, key=lambda one: one.line)))


def _read(batch: list[Line], now: datetime) -> tuple[list[ImportedUser], list[RefusedLine]]:
    users: list[ImportedUser] = []
    refused: list[RefusedLine] = []
    for line, row in batch:
        try:
            if isinstance(row, Fault):
                raise row
            users.append(read_row(line, row, now))
        except Fault as fault:
            refused.append(RefusedLine(line, str(fault)))
    return users, refused


async def _save(ctx: UsersContext, users: list[ImportedUser]) -> tuple[int, int, list[RefusedLine]]:
    """How many were new, how many were here, and who was in whose way."""
    refused: list[RefusedLine] = []
    already = 0
    async with ctx.database.transaction() as tx:
        known, erased = await accounts.find_imported(
            tx, [user.imported_id for user in users], [_key(user) for user in users]
        )
        by_id = {imported_id: key for _, imported_id, key in known if imported_id is not None}
        by_key = {key: imported_id for _, imported_id, key in known}
        wanted: dict[UUID, ImportedUser] = {}
        for user in users:
            key = _key(user)
            if user.imported_id in erased:
                refused.append(RefusedLine(user.line, "was imported before and erased since"))
            elif user.imported_id in by_id:
                # The name may have been changed here since; the id says who it is.
                already += 1
            elif key in by_key:
                other = by_key[key]
                whose = "an account made here" if other is None else f"the account with id {other}"
                refused.append(RefusedLine(user.line, f"username: taken by {whose}"))
            else:
                by_id[user.imported_id], by_key[key] = key, user.imported_id
                wanted[new_id()] = user
        saved = await accounts.insert_imported(
            tx, [_account(id_, user, tx.now) for id_, user in wanted.items()]
        )
    refused += [
        RefusedLine(user.line, "username: taken just now")
        for id_, user in wanted.items()
        if id_ not in saved
    ]
    return len(saved), already, refused


def _key(user: ImportedUser) -> str:
    return user.email.key if user.email else user.username.key if user.username else ""


def _account(id_: UUID, user: ImportedUser, now: datetime) -> Account:
    return Account(
        id=id_,
        username=user.username.text if user.username else None,
        username_key=user.username.key if user.username else None,
        email=user.email.address if user.email else None,
        email_key=user.email.key if user.email else None,
        email_verified_at=None,
        name=None,
        role="customer",
        password_hash=user.password_hash,
        disabled_at=None,
        imported_id=user.imported_id,
        version=1,
        created_at=user.created_at or now,
    )


def _lines_of(path: Path) -> Iterator[Line]:
    """The file's lines; by its first character it is JSON Lines or CSV with a header."""
    # A byte that is no UTF-8 spoils its own line, not the file.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        start = file.read(1)
        while start.isspace():
            start = file.read(1)
        file.seek(0)
        yield from _json_lines(file) if start == "{" else _csv_lines(file)


def _json_lines(file: Iterable[str]) -> Iterator[Line]:
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        if len(text) > _LINE_CHARACTERS_MOST:
            yield number, Fault("the line is too long")
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            yield number, Fault("not readable as JSON")
            continue
        yield number, row if isinstance(row, dict) else Fault("not a JSON object")


def _csv_lines(file: Iterable[str]) -> Iterator[Line]:
    """Each line by itself: no column holds a line end, and a stray quote spoils its line only."""
    lines = enumerate(file, 1)
    try:
        columns = _fields(next(lines)[1])
    except (StopIteration, csv.Error) as error:
        raise ImportUnreadable("neither JSON Lines nor CSV") from error
    missing = ", ".join(sorted(_COLUMNS - set(columns)))
    if missing:
        raise ImportUnreadable(f"the first line must name the columns; missing: {missing}")
    for number, text in lines:
        if not text.strip():
            continue
        try:
            fields = _fields(text)
        except csv.Error as error:
            yield number, Fault(f"not readable as CSV: {error}")
            continue
        if len(fields) > len(columns):
            yield number, Fault("more fields than columns")
        else:
            yield number, dict(zip(columns, fields, strict=False))


def _fields(text: str) -> list[str]:
    return next(csv.reader([text.rstrip("\r\n")], strict=True))
