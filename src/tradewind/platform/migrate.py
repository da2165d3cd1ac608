"""Schemas and roles; one rule: a migration that ran is never changed, and none goes back.

Each service has a schema and a role of its own name (`tradewind_<service>`). The role may read and
write rows in its schema and nothing else: no DDL, no other schema. Migrations are `NNNN_name.sql`
(phase `pre`: under the old code) or `NNNN_name.post.sql` (after it is gone), the platform's own
first, each in its own transaction, under one advisory lock, so that any number may start at once.
That lock is of a session, so the owner's address is the server's own, never a pooler's. What holds
for a service's connections is set on its role here: a pooler lets no client set it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Literal

import asyncpg
import msgspec

from tradewind.platform.connections import ROLE_SETTINGS, Address
from tradewind.platform.ids import derive

Phase = Literal["pre", "post"]
SPINE = "tradewind.platform"
OLDEST_POSTGRESQL = 150000
_LOCK = 0x7261_6465


class MigrationError(Exception):
    """A migration failed or was changed after it ran; one line."""


class Migration(msgspec.Struct, frozen=True):
    """One file. `name` is unique in its schema."""

    name: str
    phase: Phase
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(package: str) -> list[Migration]:
    """The package's migrations in order of their numbers."""
    folder = files(package).joinpath("migrations")
    found = sorted((one for one in folder.iterdir() if one.name.endswith(".sql")), key=_by_name)
    prefix = "platform/" if package == SPINE else ""
    return [
        Migration(
            prefix + one.name, "post" if one.name.endswith(".post.sql") else "pre", one.read_text()
        )
        for one in found
    ]


def _by_name(one: Traversable) -> str:
    return one.name


def role_of(service: str) -> str:
    """The database role of a service."""
    return f"tradewind_{service}"


def password_of(secret: bytes, service: str) -> str:
    """The role's password, the same for every process that has the store's secret."""
    return derive(secret, f"database role {service}").hex()


def address_of(owner: Address, secret: bytes, service: str) -> Address:
    """Where a service reaches its schema."""
    return msgspec.structs.replace(
        owner, user=role_of(service), password=password_of(secret, service)
    )


async def migrate(
    owner: Address,
    secret: bytes,
    packages: Mapping[str, str],
    phases: Iterable[Phase] = ("pre", "post"),
) -> list[str]:
    """Brings every service's schema up to date; answers what ran, as `service/name`.

    `packages`: service name to the package that holds its `migrations/`. `owner` must be allowed
    to create roles, schemas and the extension pg_trgm.
    """
    try:
        connection = await asyncpg.connect(**owner.arguments(), timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        where = f"{owner.user}@{owner.host}:{owner.port}/{owner.database}"
        raise MigrationError(f"the database {where} cannot be used: {error}") from error
    try:
        return await _migrate_all(connection, owner.database, secret, packages, frozenset(phases))
    except asyncpg.InsufficientPrivilegeError as error:
        raise MigrationError(
            f"the role {owner.user} may not prepare the database: {error}; it must own the "
            "database and have CREATEROLE"
        ) from error
    finally:
        await connection.close()


async def _migrate_all(
    connection: Any,
    database: str,
    secret: bytes,
    packages: Mapping[str, str],
    phases: frozenset[Phase],
) -> list[str]:
    version = int(await connection.fetchval("SHOW server_version_num"))
    if version < OLDEST_POSTGRESQL:
        raise MigrationError(f"PostgreSQL {version // 10000} is too old; use 15 or newer")
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    ran: list[str] = []
    await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public")
    for service, package in packages.items():
        await _prepare(connection, database, secret, service)
        ran += await _migrate_service(connection, service, package, phases)
    return ran


async def _prepare(connection: Any, database: str, secret: bytes, service: str) -> None:
    role, password = role_of(service), password_of(secret, service)
    if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
        # Roles are of the whole server: another database's migration may make it this moment.
        with suppress(asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            await connection.execute(f"CREATE ROLE {role} LOGIN")
    # The names are ours and the password is hexadecimal: nothing here needs quoting.
    await connection.execute(f"ALTER ROLE {role} LOGIN PASSWORD '{password}'")
    await connection.execute(
        f"""
        CREATE SCHEMA IF NOT EXISTS {service};
        GRANT USAGE ON SCHEMA {service} TO {role};
        ALTER ROLE {role} IN DATABASE "{database}" SET search_path = {service}, public;
        CREATE TABLE IF NOT EXISTS {service}.schema_migrations (
            name text PRIMARY KEY, checksum text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now());
        """
    )
    for name, value in ROLE_SETTINGS.items():
        await connection.execute(
            f"ALTER ROLE {role} IN DATABASE \"{database}\" SET {name} = '{value}'"
        )


async def _migrate_service(
    connection: Any, service: str, package: str, phases: frozenset[Phase]
) -> list[str]:
    done = dict(
        await connection.fetch(f"SELECT name, checksum FROM {service}.schema_migrations")  # noqa: S608  ours
    )
    ran: list[str] = []
    for migration in [*read_migrations(SPINE), *read_migrations(package)]:
        known = done.get(migration.name)
        if known is not None and known != migration.checksum:
            raise MigrationError(
                f"{service}: migration {migration.name} was changed after it ran; "
                "restore the file and write a new migration"
            )
        if known is None and migration.phase in phases:
            await _run(connection, service, migration)
            ran.append(f"{service}/{migration.name}")
    role = role_of(service)
    await connection.execute(
        f"""
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {service} TO {role};
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA {service} TO {role};
        REVOKE INSERT, UPDATE, DELETE ON {service}.schema_migrations FROM {role};
        """
    )
    return ran


async def _run(connection: Any, service: str, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL search_path = {service}, public")
            await connection.execute(migration.sql)
            await connection.execute(
                f"INSERT INTO {service}.schema_migrations (name, checksum) VALUES ($1, $2)",  # noqa: S608  ours
                migration.name,
                migration.checksum,
            )
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{service}: migration {migration.name} failed: {error}") from error
