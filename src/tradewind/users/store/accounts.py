"""The table of users; one rule: whether a name is taken is for its UNIQUE constraint to say."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import msgspec

from tradewind.platform.database import Reading, Transaction
from tradewind.platform.principals import Role
from tradewind.users.contract import Contact, UsernameTaken
from tradewind.users.model.shapes import Account


async def insert_account(tx: Transaction, account: Account) -> bool:
    """Saves a new account; False where one of its names is taken. `created_at` is kept."""
    done = await tx.fetch_value(
        """
        INSERT INTO users (id, username, username_key, email, email_key, email_verified_at, name,
            role, password_hash, disabled_at, imported_id, version, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        ON CONFLICT DO NOTHING RETURNING true
        """,
        *msgspec.structs.astuple(account),
    )
    return done is True


async def find_account(reading: Reading, user_id: UUID) -> Account | None:
    """One account."""
    row = await reading.fetch_row(
        """
        SELECT id, username, username_key, email, email_key, email_verified_at, name, role,
            password_hash, disabled_at, imported_id, version, created_at
        FROM users WHERE id = $1
        """,
        user_id,
    )
    return None if row is None else Account(*row)


async def lock_account(tx: Transaction, user_id: UUID) -> Account | None:
    """One account, held against every other change of it."""
    row = await tx.fetch_row(
        """
        SELECT id, username, username_key, email, email_key, email_verified_at, name, role,
            password_hash, disabled_at, imported_id, version, created_at
        FROM users WHERE id = $1 FOR NO KEY UPDATE
        """,
        user_id,
    )
    return None if row is None else Account(*row)


async def find_named(
    reading: Reading, keys: Sequence[str], user_ids: Sequence[UUID]
) -> list[Account]:
    """The accounts that have one of these names or ids."""
    rows = await reading.fetch(
        """
        SELECT id, username, username_key, email, email_key, email_verified_at, name, role,
            password_hash, disabled_at, imported_id, version, created_at
        FROM users WHERE email_key = ANY ($1::text[]) OR username_key = ANY ($1::text[])
            OR id = ANY ($2::uuid[])
        """,
        keys,
        user_ids,
    )
    return [Account(*row) for row in rows]


async def find_username(reading: Reading, username_key: str) -> UUID | None:
    """Who has this user name."""
    return await reading.fetch_value("SELECT id FROM users WHERE username_key = $1", username_key)


async def lock_hashes(tx: Transaction, user_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The password hashes of accounts that are not disabled, held against change, in one order."""
    rows = await tx.fetch(
        """
        SELECT id, password_hash FROM users
        WHERE id = ANY ($1::uuid[]) AND disabled_at IS NULL
        ORDER BY id FOR NO KEY UPDATE
        """,
        user_ids,
    )
    return {row[0]: row[1] for row in rows}


async def update_hashes(tx: Transaction, hashes: Sequence[tuple[UUID, str]]) -> None:
    """Saves stronger hashes of the same passwords."""
    await tx.execute(
        """
        UPDATE users SET password_hash = given.hash
        FROM unnest($1::uuid[], $2::text[]) AS given (id, hash) WHERE users.id = given.id
        """,
        [user_id for user_id, _ in hashes],
        [hash_ for _, hash_ in hashes],
    )


async def update_account(tx: Transaction, account: Account) -> None:
    """Saves what can be changed of an account and counts its version; raises UsernameTaken."""
    try:
        await tx.execute(
            """
            UPDATE users SET username = $2, username_key = $3, email = $4, email_key = $5,
                email_verified_at = $6, name = $7, role = $8, password_hash = $9,
                disabled_at = $10, version = version + 1
            WHERE id = $1
            """,
            *msgspec.structs.astuple(account)[:10],
        )
    except asyncpg.UniqueViolationError as error:
        raise UsernameTaken("this user name or e-mail address is taken") from error


async def update_told(tx: Transaction, email_key: str) -> Account | None:
    """The owner of an address, if not told in the last hour; noted as told."""
    row = await tx.fetch_row(
        """
        UPDATE users SET told_at = now()
        WHERE email_key = $1 AND (told_at IS NULL OR told_at < now() - interval '1 hour')
        RETURNING id, username, username_key, email, email_key, email_verified_at, name, role,
            password_hash, disabled_at, imported_id, version, created_at
        """,
        email_key,
    )
    return None if row is None else Account(*row)


async def lock_admins(tx: Transaction, other: UUID) -> list[UUID]:
    """The administrators who are not disabled, held against change with one other, in one order."""
    rows = await tx.fetch(
        """
        SELECT id, role = 'admin' AND disabled_at IS NULL AS reigns FROM users
        WHERE role = 'admin' AND disabled_at IS NULL OR id = $1
        ORDER BY id FOR NO KEY UPDATE
        """,
        other,
    )
    return [row["id"] for row in rows if row["reigns"]]


async def list_accounts(
    reading: Reading,
    *,
    pattern: str | None,
    role: Role | None,
    before: UUID | None,
    limit: int,
) -> list[Account]:
    """A page of accounts, newest first. `pattern` is a LIKE pattern in lower case."""
    rows = await reading.fetch(
        """
        SELECT id, username, username_key, email, email_key, email_verified_at, name, role,
            password_hash, disabled_at, imported_id, version, created_at
        FROM users
        WHERE ($1::text IS NULL OR search LIKE $1) AND ($2::text IS NULL OR role = $2)
            AND ($3::uuid IS NULL OR id < $3)
        ORDER BY id DESC LIMIT $4
        """,
        pattern,
        role,
        before,
        limit,
    )
    return [Account(*row) for row in rows]


async def list_contacts(reading: Reading, user_ids: Sequence[UUID]) -> dict[UUID, Contact]:
    """How to reach each that exists."""
    rows = await reading.fetch(
        "SELECT id, email, name FROM users WHERE id = ANY ($1::uuid[])", user_ids
    )
    return {row[0]: Contact(user_id=row[0], email=row[1], name=row[2]) for row in rows}


async def delete_account(tx: Transaction, account: Account) -> None:
    """Removes an account with its sessions, addresses and tokens, and what it was answered.

    Of an imported one it is kept that it was here, so that a repeated import leaves it out.
    """
    if account.imported_id is not None:
        await tx.execute(
            "INSERT INTO forgotten_imports (imported_id) VALUES ($1) ON CONFLICT DO NOTHING",
            account.imported_id,
        )
    await tx.execute("DELETE FROM reset_requests WHERE email_key = $1", account.email_key)
    await tx.execute("DELETE FROM idempotency_keys WHERE principal = $1", str(account.id))
    await tx.execute("DELETE FROM users WHERE id = $1", account.id)


async def find_imported(
    tx: Transaction, imported_ids: Sequence[str], keys: Sequence[str]
) -> tuple[list[tuple[UUID, str | None, str]], set[str]]:
    """What is known of lines of an import.

    That is (id, imported id, login key) of those who are here, and the imported ids of the erased.
    """
    rows = await tx.fetch(
        """
        SELECT id, imported_id, coalesce(email_key, '') AS email_key,
            coalesce(username_key, '') AS username_key
        FROM users WHERE imported_id = ANY ($1::text[]) OR email_key = ANY ($2::text[])
            OR username_key = ANY ($2::text[])
        """,
        imported_ids,
        keys,
    )
    gone = await tx.fetch(
        "SELECT imported_id FROM forgotten_imports WHERE imported_id = ANY ($1::text[])",
        imported_ids,
    )
    known = [
        (row["id"], row["imported_id"], key)
        for row in rows
        for key in (row["email_key"], row["username_key"])
        if key
    ]
    return known, {row[0] for row in gone}


async def insert_imported(tx: Transaction, accounts: Sequence[Account]) -> set[UUID]:
    """Saves imported accounts; answers those that were not in another's way."""
    rows = await tx.fetch(
        """
        INSERT INTO users (id, username, username_key, email, email_key, password_hash,
            imported_id, created_at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[],
            $6::text[], $7::text[], $8::timestamptz[])
        ON CONFLICT DO NOTHING RETURNING id
        """,
        [account.id for account in accounts],
        [account.username for account in accounts],
        [account.username_key for account in accounts],
        [account.email for account in accounts],
        [account.email_key for account in accounts],
        [account.password_hash for account in accounts],
        [account.imported_id for account in accounts],
        [account.created_at for account in accounts],
    )
    return {row[0] for row in rows}
