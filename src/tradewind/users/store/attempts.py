"""The table of failed sign-ins; one rule: counters are changed only while they are locked."""

from collections.abc import Mapping, Sequence

from tradewind.platform.database import Reading, Transaction
from tradewind.users.model.throttling import WINDOW, Counter


async def find_counters(reading: Reading, subjects: Sequence[bytes]) -> dict[bytes, Counter]:
    """The counters of these subjects; those without any are left out."""
    rows = await reading.fetch(
        "SELECT subject, failures, ends_at FROM attempts WHERE subject = ANY ($1::bytea[])",
        subjects,
    )
    return {row[0]: Counter(row[1], row[2]) for row in rows}


async def lock_counters(
    tx: Transaction, failing: Sequence[bytes], others: Sequence[bytes]
) -> dict[bytes, Counter]:
    """The counters of these subjects, held against change, in one order.

    Those that are about to be raised are made where they are missing, so that there is something
    to hold; for the others no counter is as good as an empty one.
    """
    if failing:
        await tx.execute(
            """
            INSERT INTO attempts (subject, failures, ends_at)
            SELECT subject, 0, now() + $2 FROM unnest($1::bytea[]) AS given (subject)
            ORDER BY subject ON CONFLICT DO NOTHING
            """,
            failing,
            WINDOW,
        )
    rows = await tx.fetch(
        """
        SELECT subject, failures, ends_at FROM attempts WHERE subject = ANY ($1::bytea[])
        ORDER BY subject FOR UPDATE
        """,
        [*failing, *others],
    )
    return {row[0]: Counter(row[1], row[2]) for row in rows}


async def update_counters(tx: Transaction, counters: Mapping[bytes, Counter]) -> None:
    """Saves counters that are locked."""
    await tx.execute(
        """
        UPDATE attempts SET failures = given.failures, ends_at = given.ends_at
        FROM unnest($1::bytea[], $2::int[], $3::timestamptz[]) AS given (subject, failures, ends_at)
        WHERE attempts.subject = given.subject
        """,
        list(counters),
        [counter.failures for counter in counters.values()],
        [counter.ends_at for counter in counters.values()],
    )


async def delete_counter(tx: Transaction, subject: bytes) -> None:
    """Forgets a subject's failures."""
    await tx.execute("DELETE FROM attempts WHERE subject = $1", subject)


async def delete_expired(tx: Transaction, most: int) -> int:
    """Removes counters whose window is over, at most so many; answers how many."""
    tag = await tx.execute(
        """
        DELETE FROM attempts WHERE subject = ANY (ARRAY(
            SELECT subject FROM attempts WHERE ends_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED))
        """,
        most,
    )
    return int(tag.split()[1])
