"""Entries of inboxes; one rule: a person's positions grow in the order of commits."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from tradewind.notifications.model.entries import Entry
from tradewind.platform.database import Reading, Row, Transaction

FIRST: Final = 2**63 - 1
"""Before this position lies the whole inbox."""


class NewEntry(msgspec.Struct, frozen=True):
    """An entry to be written."""

    id: UUID
    user_id: UUID
    position: int
    cause: UUID
    kind: str
    order_id: UUID | None
    data: bytes


class Ask(msgspec.Struct, frozen=True):
    """A question: what came for a person after a position."""

    user_id: UUID
    after: int


async def insert_entries(tx: Transaction, entries: Sequence[NewEntry]) -> None:
    """Writes entries; one that was written for its cause before is left as it is."""
    await tx.execute(
        """
        INSERT INTO entries (id, user_id, position, cause, kind, order_id, data)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[],
            $6::uuid[], $7::bytea[])
        ON CONFLICT DO NOTHING
        """,
        [one.id for one in entries],
        [one.user_id for one in entries],
        [one.position for one in entries],
        [one.cause for one in entries],
        [one.kind for one in entries],
        [one.order_id for one in entries],
        [one.data for one in entries],
    )


async def list_entries(
    tx: Reading, user_id: UUID, before: int, most: int, *, only_unread: bool
) -> list[Entry]:
    """A page of somebody's inbox, newest first."""
    rows = await tx.fetch(
        """
        SELECT id, position, kind, order_id, data, read_at, created_at FROM entries
        WHERE user_id = $1 AND position < $2 AND (NOT $3 OR read_at IS NULL)
        ORDER BY position DESC LIMIT $4
        """,
        user_id,
        before,
        only_unread,
        most,
    )
    return [_entry(row) for row in rows]


async def list_entries_after(tx: Reading, asks: Sequence[Ask], most: int) -> list[list[Entry]]:
    """For each ask what came after, oldest first, at most so many."""
    rows = await tx.fetch(
        """
        SELECT asked.n, found.* FROM unnest($1::uuid[], $2::bigint[])
            WITH ORDINALITY AS asked (user_id, after, n)
        CROSS JOIN LATERAL (
            SELECT id, position, kind, order_id, data, read_at, created_at FROM entries
            WHERE entries.user_id = asked.user_id AND position > asked.after
            ORDER BY position LIMIT $3) AS found
        ORDER BY asked.n, found.position
        """,
        [one.user_id for one in asks],
        [one.after for one in asks],
        most,
    )
    answers: list[list[Entry]] = [[] for _ in asks]
    for row in rows:
        answers[int(row["n"]) - 1].append(_entry(row))
    return answers


async def find_position(tx: Reading, user_id: UUID, entry_id: UUID | None) -> int:
    """Where a stream goes on: after this entry, or after the newest one where there is None.

    An entry that was deleted meanwhile still says when it was made: whatever is younger follows.
    """
    value: Any = await tx.fetch_value(
        """
        SELECT coalesce(
            (SELECT position FROM entries WHERE id = $2 AND user_id = $1),
            (SELECT min(position) - 1 FROM entries WHERE user_id = $1 AND id > $2),
            (SELECT last_position FROM people WHERE user_id = $1),
            0)
        """,
        user_id,
        entry_id,
    )
    return int(value)


async def update_read(tx: Transaction, user_id: UUID, entry_id: UUID) -> Entry | None:
    """Marks an entry as read; the first time counts. None where the person has no such entry."""
    row = await tx.fetch_row(
        """
        UPDATE entries SET read_at = coalesce(read_at, now()) WHERE id = $1 AND user_id = $2
        RETURNING id, position, kind, order_id, data, read_at, created_at
        """,
        entry_id,
        user_id,
    )
    return None if row is None else _entry(row)


async def delete_entries_of(tx: Transaction, user_ids: Sequence[UUID]) -> None:
    """Empties people's inboxes."""
    await tx.execute("DELETE FROM entries WHERE user_id = ANY ($1::uuid[])", list(user_ids))


async def delete_read(tx: Transaction, days: int, most: int) -> int:
    """Deletes entries that were read so long ago, at most so many; answers how many."""
    tag = await tx.execute(
        """
        DELETE FROM entries WHERE id = ANY (ARRAY(
            SELECT id FROM entries
            WHERE read_at < now() - make_interval(days => $1)
                AND created_at < now() - make_interval(days => $1)
            LIMIT $2 FOR UPDATE SKIP LOCKED))
        """,
        days,
        most,
    )
    return int(tag.split()[1])


def _entry(row: Row) -> Entry:
    return Entry(
        row["id"],
        row["position"],
        row["kind"],
        row["order_id"],
        row["data"],
        row["read_at"],
        row["created_at"],
    )
