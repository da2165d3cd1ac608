"""The rows of people; one rule: whoever writes for a person has locked that person's row."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from tradewind.platform.database import Reading, Transaction


class Person(msgspec.Struct, frozen=True):
    """What decides whether and where somebody is told something."""

    last_position: int
    muted: frozenset[str]
    is_erased: bool


async def lock_people(tx: Transaction, places: Mapping[UUID, int]) -> dict[UUID, Person]:
    """Locks each person's row, made where it is new, and takes so many positions in the inbox.

    Locked in the order of ids until the commit: entries become visible in the order of their
    positions, preferences cannot change in between, and erasure comes wholly before or after.
    """
    rows = await tx.fetch(
        """
        INSERT INTO people (user_id, last_position)
        SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS given (u, n) ORDER BY u
        ON CONFLICT (user_id) DO UPDATE SET
            last_position = people.last_position + excluded.last_position
        RETURNING user_id, last_position, muted, erased_at IS NOT NULL
        """,
        list(places.keys()),
        list(places.values()),
    )
    return {row[0]: Person(row[1], frozenset(row[2]), row[3]) for row in rows}


async def find_muted(tx: Reading, user_id: UUID) -> frozenset[str]:
    """What a person has switched off."""
    muted = await tx.fetch_value("SELECT muted FROM people WHERE user_id = $1", user_id)
    return frozenset(muted or ())


async def update_muted(tx: Transaction, user_id: UUID, muted: Sequence[str]) -> None:
    """What a person switches off from now on; nothing for the erased."""
    await tx.execute(
        """
        INSERT INTO people (user_id, muted) VALUES ($1, $2)
        ON CONFLICT (user_id) DO UPDATE SET muted = excluded.muted WHERE people.erased_at IS NULL
        """,
        user_id,
        list(muted),
    )


async def update_erased(tx: Transaction, user_ids: Sequence[UUID]) -> None:
    """Marks people as erased, known or not, so that later events say nothing to them."""
    await tx.execute(
        """
        INSERT INTO people (user_id, erased_at)
        SELECT u, now() FROM unnest($1::uuid[]) AS given (u) ORDER BY u
        ON CONFLICT (user_id) DO UPDATE SET muted = '{}', erased_at = now()
        """,
        list(user_ids),
    )


async def delete_answers_of(tx: Transaction, user_ids: Sequence[UUID]) -> None:
    """Forgets the answers stored for people's idempotency keys."""
    await tx.execute(
        "DELETE FROM idempotency_keys WHERE principal = ANY ($1::text[])",
        [str(one) for one in user_ids],
    )


async def delete_erased(tx: Transaction, days: int, most: int) -> int:
    """Forgets that people were erased, once no event about them can come any more."""
    tag = await tx.execute(
        """
        DELETE FROM people WHERE user_id = ANY (ARRAY(
            SELECT user_id FROM people WHERE erased_at < now() - make_interval(days => $1)
            LIMIT $2 FOR UPDATE SKIP LOCKED))
        """,
        days,
        most,
    )
    return int(tag.split()[1])
