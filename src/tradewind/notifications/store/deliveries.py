"""Messages on their way out; one rule: whoever claims one has it until the lease is over.

A claim counts as an attempt. `resends` tells a first sending from one that staff asked for, so
that a late answer to the first does not settle the second.
"""

from collections.abc import Sequence
from datetime import timedelta

from tradewind.notifications.model.delivery import Claimed
from tradewind.platform.database import Transaction


async def lock_due(tx: Transaction, most: int, lease_seconds: float) -> list[Claimed]:
    """Claims mails that are due, oldest first, skipping what others are claiming just now."""
    rows = await tx.fetch(
        """
        UPDATE messages SET attempts = attempts + 1, leased_until = now() + $2::interval
        WHERE id = ANY (ARRAY(
            SELECT id FROM messages
            WHERE status = 'queued' AND due_at <= now() AND channel = 'email'
                AND (leased_until IS NULL OR leased_until <= now())
            ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING id, kind, recipient, data, attempts, resends, queued_at, created_at, due_at
        """,
        most,
        timedelta(seconds=lease_seconds),
    )
    rows.sort(key=lambda row: row["due_at"])
    return [Claimed(*tuple(row)[:8]) for row in rows]


async def update_sent(tx: Transaction, sent: Sequence[Claimed]) -> None:
    """Notes that the mail server has them."""
    await tx.execute(
        """
        UPDATE messages SET status = 'sent', sent_at = now(), error = NULL, due_at = NULL,
            leased_until = NULL
        FROM unnest($1::uuid[], $2::int[]) AS given (id, resends)
        WHERE messages.id = given.id AND messages.resends = given.resends AND status = 'queued'
        """,
        [one.id for one in sent],
        [one.resends for one in sent],
    )


async def update_deferred(
    tx: Transaction, claimed: Claimed, pause_seconds: float, give_up_hours: int, reason: str
) -> None:
    """Notes a try that may succeed later, or the last one where the mail is too old."""
    await tx.execute(
        """
        UPDATE messages SET error = $5, leased_until = NULL,
            status = CASE WHEN old.is_late THEN 'failed' ELSE 'queued' END,
            due_at = CASE WHEN NOT old.is_late THEN now() + $3::interval END
        FROM (SELECT id, queued_at < now() - make_interval(hours => $4) AS is_late
              FROM messages WHERE id = $1) AS old
        WHERE messages.id = old.id AND attempts = $2 AND status = 'queued'
        """,
        claimed.id,
        claimed.attempts,
        timedelta(seconds=pause_seconds),
        give_up_hours,
        reason,
    )


async def update_refused(tx: Transaction, claimed: Claimed, reason: str) -> None:
    """Notes that it will never go out."""
    await tx.execute(
        """
        UPDATE messages SET status = 'failed', error = $3, due_at = NULL, leased_until = NULL
        WHERE id = $1 AND attempts = $2 AND status = 'queued'
        """,
        claimed.id,
        claimed.attempts,
        reason,
    )


async def update_released(tx: Transaction, claimed: Sequence[Claimed]) -> None:
    """Gives claims back that were not tried."""
    await tx.execute(
        """
        UPDATE messages SET attempts = messages.attempts - 1, leased_until = NULL
        FROM unnest($1::uuid[], $2::int[]) AS given (id, attempts)
        WHERE messages.id = given.id AND messages.attempts = given.attempts AND status = 'queued'
        """,
        [one.id for one in claimed],
        [one.attempts for one in claimed],
    )


async def update_overdue(tx: Transaction, give_up_hours: int, reason: str) -> None:
    """Gives up what is too old, tried or not: the server has not answered for long."""
    await tx.execute(
        """
        UPDATE messages SET status = 'failed', error = $2, due_at = NULL, leased_until = NULL
        WHERE id = ANY (ARRAY(
            SELECT id FROM messages
            WHERE status = 'queued' AND queued_at < now() - make_interval(hours => $1)
                AND (leased_until IS NULL OR leased_until <= now())
            LIMIT 1000 FOR UPDATE SKIP LOCKED))
        """,
        give_up_hours,
        reason,
    )


async def update_kept(tx: Transaction, most: int) -> int:
    """Delivers into the store's own mailbox what is queued; answers how many."""
    tag = await tx.execute(
        """
        UPDATE messages SET status = 'sent', sent_at = now(), attempts = attempts + 1,
            error = NULL, due_at = NULL, leased_until = NULL
        WHERE id = ANY (ARRAY(
            SELECT id FROM messages
            WHERE status = 'queued' AND due_at <= now() AND channel = 'email'
                AND (leased_until IS NULL OR leased_until <= now())
            ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED))
        """,
        most,
    )
    return int(tag.split()[1])
