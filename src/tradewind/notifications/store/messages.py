"""Messages as they are written, listed and erased; one rule: once for each cause, kind, channel."""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

import msgspec

from tradewind.notifications.model.messages import Filters, Message
from tradewind.platform.database import Reading, Row, Transaction

_LAST = UUID(int=2**128 - 1)
_SELECT: LiteralString = """
    SELECT id, kind, channel, recipient, order_id, data, status, attempts, error, sent_at,
        created_at FROM messages
"""
_REST: LiteralString = """
    AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR status = $3)
    AND ($4::text IS NULL OR lower(recipient) = lower($4)) AND ($5::uuid IS NULL OR order_id = $5)
    ORDER BY id DESC LIMIT $6
"""
# One statement for each way in, so that the planner need not guess which filter is the narrow one.
_BY_ORDER: LiteralString = _SELECT + " WHERE order_id = $5 AND id < $1 " + _REST
_BY_RECIPIENT: LiteralString = _SELECT + " WHERE lower(recipient) = lower($4) AND id < $1 " + _REST
_BY_STATUS: LiteralString = _SELECT + " WHERE status = $3 AND status <> 'sent' AND id < $1 " + _REST
_BY_KIND: LiteralString = (
    _SELECT + " WHERE kind = $2 AND kind <> 'order_confirmed' AND id < $1 " + _REST
)
_BY_AGE: LiteralString = _SELECT + " WHERE id < $1 " + _REST


class NewMessage(msgspec.Struct, frozen=True):
    """A mail to be written."""

    id: UUID
    cause: UUID
    kind: str
    user_id: UUID | None
    recipient: str
    order_id: UUID | None
    data: bytes


async def insert_messages(
    tx: Transaction, messages: Sequence[NewMessage], *, is_kept: bool
) -> None:
    """Writes mails; one that was written for its cause before is left as it is.

    They are queued for the mail server, or, where there is none (`is_kept`), delivered by being
    here: the store itself is their mailbox.
    """
    await tx.execute(
        """
        INSERT INTO messages (id, cause, kind, channel, user_id, recipient, order_id, data,
            status, attempts, due_at, sent_at)
        SELECT id, cause, kind, 'email', user_id, recipient, order_id, data,
            CASE WHEN $8 THEN 'sent' ELSE 'queued' END, $8::int,
            CASE WHEN NOT $8 THEN now() END, CASE WHEN $8 THEN now() END
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::uuid[],
            $7::bytea[]) AS given (id, cause, kind, user_id, recipient, order_id, data)
        ON CONFLICT DO NOTHING
        """,
        [one.id for one in messages],
        [one.cause for one in messages],
        [one.kind for one in messages],
        [one.user_id for one in messages],
        [one.recipient for one in messages],
        [one.order_id for one in messages],
        [one.data for one in messages],
        is_kept,
    )


async def find_message(tx: Reading, message_id: UUID) -> Message | None:
    """One message."""
    row = await tx.fetch_row(_SELECT + " WHERE id = $1", message_id)
    return None if row is None else _message(row)


async def list_messages(
    tx: Reading, filters: Filters, before: UUID | None, most: int
) -> list[Message]:
    """A page of messages, newest first."""
    if filters.order_id is not None:
        query = _BY_ORDER
    elif filters.recipient is not None:
        query = _BY_RECIPIENT
    elif filters.status is not None and filters.status != "sent":
        query = _BY_STATUS
    elif filters.kind is not None and filters.kind != "order_confirmed":
        query = _BY_KIND
    else:
        query = _BY_AGE
    rows = await tx.fetch(
        query,
        before or _LAST,
        filters.kind,
        filters.status,
        filters.recipient,
        filters.order_id,
        most,
    )
    return [_message(row) for row in rows]


async def list_messages_of(
    tx: Reading, user_id: UUID, before: UUID | None, most: int
) -> list[Message]:
    """What was written to one person, newest first."""
    rows = await tx.fetch(
        _SELECT + " WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        user_id,
        before or _LAST,
        most,
    )
    return [_message(row) for row in rows]


async def list_confirmations(tx: Reading, order_ids: Sequence[UUID]) -> dict[UUID, bytes]:
    """The facts of the confirmations of orders, where they were mailed."""
    rows = await tx.fetch(
        """
        SELECT order_id, data FROM messages
        WHERE order_id = ANY ($1::uuid[]) AND kind = 'order_confirmed' AND data IS NOT NULL
        """,
        list(order_ids),
    )
    return {row[0]: row[1] for row in rows}


async def update_resent(tx: Transaction, message_id: UUID) -> Message | None:
    """Queues a message again, due now; None where it is not there or its recipient was erased.

    One that is queued already keeps its place, and whoever is sending it keeps it.
    """
    row = await tx.fetch_row(
        """
        UPDATE messages SET status = 'queued', due_at = now(), error = NULL,
            queued_at = CASE WHEN status = 'queued' THEN queued_at ELSE now() END,
            resends = resends + CASE WHEN status = 'queued' THEN 0 ELSE 1 END
        WHERE id = $1 AND erased_at IS NULL
        RETURNING id, kind, channel, recipient, order_id, data, status, attempts, error, sent_at,
            created_at
        """,
        message_id,
    )
    return None if row is None else _message(row)


async def update_erased(tx: Transaction, user_ids: Sequence[UUID], emails: Sequence[str]) -> None:
    """Takes people out of their messages; the row stays, to be counted."""
    await tx.execute(
        """
        UPDATE messages SET user_id = NULL, recipient = NULL, data = NULL, error = NULL,
            erased_at = now(), due_at = NULL, leased_until = NULL,
            status = CASE WHEN status = 'queued' THEN 'failed' ELSE status END
        WHERE user_id = ANY ($1::uuid[]) OR lower(recipient) = ANY ($2::text[])
        """,
        list(user_ids),
        [email.lower() for email in emails],
    )


def _message(row: Row) -> Message:
    return Message(
        row["id"],
        row["kind"],
        row["channel"],
        row["recipient"],
        row["order_id"],
        row["data"],
        row["status"],
        row["attempts"],
        row["error"],
        row["sent_at"],
        row["created_at"],
    )
