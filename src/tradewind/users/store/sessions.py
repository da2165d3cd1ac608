"""The table of sessions; one rule: it holds the SHA-256 of tokens, never a token."""

from collections.abc import Sequence
from uuid import UUID

from tradewind.platform.database import Reading, Transaction
from tradewind.users.model.shapes import LiveSession, NewSession, SessionView


async def insert_sessions(tx: Transaction, sessions: Sequence[NewSession]) -> None:
    """Saves new sessions."""
    await tx.execute(
        """
        INSERT INTO sessions (id, user_id, token_hash, user_agent, address, network, expires_at)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::text[], $5::text[],
            $6::text[], $7::timestamptz[])
        """,
        [session.id for session in sessions],
        [session.user_id for session in sessions],
        [session.token_hash for session in sessions],
        [session.client.user_agent for session in sessions],
        [session.client.address for session in sessions],
        [session.client.network for session in sessions],
        [session.expires_at for session in sessions],
    )


async def find_live(reading: Reading, token_hashes: Sequence[bytes]) -> dict[bytes, LiveSession]:
    """The sessions of these tokens that are not over."""
    rows = await reading.fetch(
        """
        SELECT sessions.token_hash, sessions.id, sessions.user_id, users.role,
            users.email_verified_at IS NOT NULL, sessions.last_seen_at
        FROM sessions JOIN users ON users.id = sessions.user_id
        WHERE sessions.token_hash = ANY ($1::bytea[]) AND sessions.expires_at > now()
            AND users.disabled_at IS NULL
        """,
        token_hashes,
    )
    return {row[0]: LiveSession(*row) for row in rows}


async def find_familiar(
    reading: Reading, pairs: Sequence[tuple[UUID, str]]
) -> set[tuple[UUID, str]]:
    """Those (user, network) that have a session."""
    rows = await reading.fetch(
        """
        SELECT user_id, network FROM unnest($1::uuid[], $2::text[]) AS given (u, n)
        CROSS JOIN LATERAL (
            SELECT user_id, network FROM sessions
            WHERE user_id = given.u AND network = given.n AND expires_at > now() LIMIT 1
        ) AS known
        """,
        [user_id for user_id, _ in pairs],
        [network for _, network in pairs],
    )
    return {(row[0], row[1]) for row in rows}


async def list_sessions(
    reading: Reading, user_id: UUID, current: UUID | None, before: UUID | None, limit: int
) -> list[SessionView]:
    """A page of somebody's sessions, newest first."""
    rows = await reading.fetch(
        """
        SELECT id, created_at, last_seen_at, expires_at, user_agent, address
        FROM sessions
        WHERE user_id = $1 AND expires_at > now() AND ($2::uuid IS NULL OR id < $2)
        ORDER BY id DESC LIMIT $3
        """,
        user_id,
        before,
        limit,
    )
    return [SessionView(*row, current=row["id"] == current) for row in rows]


async def list_token_hashes(tx: Transaction, user_id: UUID) -> list[bytes]:
    """The token hashes of all of somebody's sessions."""
    rows = await tx.fetch("SELECT token_hash FROM sessions WHERE user_id = $1", user_id)
    return [row[0] for row in rows]


async def delete_session(tx: Transaction, user_id: UUID, session_id: UUID) -> list[bytes]:
    """Ends one session of this user; answers its token hash, or nothing."""
    rows = await tx.fetch(
        "DELETE FROM sessions WHERE id = $1 AND user_id = $2 RETURNING token_hash",
        session_id,
        user_id,
    )
    return [row[0] for row in rows]


async def delete_sessions(
    tx: Transaction, user_id: UUID, *, but: UUID | None = None
) -> list[bytes]:
    """Ends all sessions of this user, but one if it is named; answers their token hashes."""
    rows = await tx.fetch(
        """
        DELETE FROM sessions WHERE user_id = $1 AND ($2::uuid IS NULL OR id <> $2)
        RETURNING token_hash
        """,
        user_id,
        but,
    )
    return [row[0] for row in rows]


async def update_seen(tx: Transaction, session_ids: Sequence[UUID]) -> None:
    """Notes that these sessions were used just now; one that is locked is left to the next time."""
    await tx.execute(
        """
        UPDATE sessions SET last_seen_at = now() WHERE id = ANY (ARRAY(
            SELECT id FROM sessions
            WHERE id = ANY ($1::uuid[]) AND last_seen_at < now() - interval '30 seconds'
            FOR NO KEY UPDATE SKIP LOCKED))
        """,
        session_ids,
    )


async def delete_expired(tx: Transaction, most: int) -> int:
    """Removes sessions that are over, at most so many; answers how many."""
    tag = await tx.execute(
        """
        DELETE FROM sessions WHERE id = ANY (ARRAY(
            SELECT id FROM sessions WHERE expires_at <= now() LIMIT $1 FOR UPDATE SKIP LOCKED))
        """,
        most,
    )
    return int(tag.split()[1])
