"""The tables of one-time tokens and of requests for them; one rule: a token is used by deleting it.

So of any number of requests that show the same token at once, one finds it.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal
from uuid import UUID

from tradewind.platform.database import Reading, Transaction
from tradewind.users.model.shapes import Account

Kind = Literal["password_reset", "email_verification"]


async def insert_tokens(
    tx: Transaction, kind: Kind, tokens: Sequence[tuple[UUID, bytes]], lifetime: timedelta
) -> None:
    """Saves (user id, token hash) pairs."""
    await tx.execute(
        """
        INSERT INTO tokens (token_hash, kind, user_id, expires_at)
        SELECT hash, $3, user_id, now() + $4
        FROM unnest($1::bytea[], $2::uuid[]) AS given (hash, user_id)
        """,
        [token_hash for _, token_hash in tokens],
        [user_id for user_id, _ in tokens],
        kind,
        lifetime,
    )


async def find_token_owner(reading: Reading, kind: Kind, token_hash: bytes) -> Account | None:
    """Whose token this is, if it is good."""
    row = await reading.fetch_row(
        """
        SELECT users.id, username, username_key, email, email_key, email_verified_at, name, role,
            password_hash, disabled_at, imported_id, version, users.created_at
        FROM tokens JOIN users ON users.id = tokens.user_id
        WHERE token_hash = $1 AND kind = $2 AND expires_at > now() AND disabled_at IS NULL
        """,
        token_hash,
        kind,
    )
    return None if row is None else Account(*row)


async def delete_token(tx: Transaction, kind: Kind, token_hash: bytes) -> UUID | None:
    """Uses a good token up; answers whose it was."""
    return await tx.fetch_value(
        """
        DELETE FROM tokens WHERE token_hash = $1 AND kind = $2 AND expires_at > now()
        RETURNING user_id
        """,
        token_hash,
        kind,
    )


async def delete_tokens_of(tx: Transaction, user_id: UUID, kinds: Sequence[Kind]) -> None:
    """Makes every token of these kinds useless."""
    await tx.execute(
        "DELETE FROM tokens WHERE user_id = $1 AND kind = ANY ($2::text[])", user_id, list(kinds)
    )


async def delete_expired(tx: Transaction, most: int) -> int:
    """Removes tokens that are over, at most so many; answers how many."""
    tag = await tx.execute(
        """
        DELETE FROM tokens WHERE token_hash = ANY (ARRAY(
            SELECT token_hash FROM tokens WHERE expires_at <= now()
            LIMIT $1 FOR UPDATE SKIP LOCKED))
        """,
        most,
    )
    return int(tag.split()[1])


async def insert_reset_request(tx: Transaction, id_: UUID, email_key: str) -> None:
    """Notes that somebody wants a password reset."""
    await tx.execute("INSERT INTO reset_requests (id, email_key) VALUES ($1, $2)", id_, email_key)


async def delete_reset_requests(tx: Transaction, most: int) -> list[str]:
    """Takes the oldest requests; answers their addresses."""
    rows = await tx.fetch(
        """
        DELETE FROM reset_requests WHERE id = ANY (ARRAY(
            SELECT id FROM reset_requests ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING email_key
        """,
        most,
    )
    return [row[0] for row in rows]


async def list_resettable(
    tx: Transaction, email_keys: Sequence[str], live_most: int
) -> list[Account]:
    """The accounts with these addresses that may be sent another reset token, held against change.

    Not the disabled, and none that has `live_most` good tokens already: a mailbox is not flooded.
    """
    rows = await tx.fetch(
        """
        SELECT id, username, username_key, email, email_key, email_verified_at, name, role,
            password_hash, disabled_at, imported_id, version, created_at
        FROM users
        WHERE email_key = ANY ($1::text[]) AND disabled_at IS NULL AND $2 > (
            SELECT count(*) FROM tokens
            WHERE tokens.user_id = users.id AND kind = 'password_reset' AND expires_at > now())
        ORDER BY id FOR NO KEY UPDATE
        """,
        email_keys,
        live_most,
    )
    return [Account(*row) for row in rows]
