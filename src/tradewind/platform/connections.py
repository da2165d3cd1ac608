"""How the database is reached, and what its failures mean; one rule: nothing rests on a session.

A pooler in transaction mode (PgBouncer) gives every transaction whichever server connection is
free. So what holds for a service's connections (`ROLE_SETTINGS`) is set on its role by `migrate`,
and behind a pooler (`pooled`) no statement stays prepared. A single one needs no BEGIN there: the
driver ends neither transaction nor turn between preparing and running it (Flush, not Sync).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, LiteralString
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import msgspec

from tradewind.platform.errors import Unavailable

ROLE_SETTINGS: Mapping[LiteralString, LiteralString] = MappingProxyType(
    {
        "statement_timeout": "15s",
        "lock_timeout": "4s",
        "idle_in_transaction_session_timeout": "30s",
        "timezone": "UTC",
        "jit": "off",
    }
)
"""What every connection of a service has; `migrate` sets it on the service's role."""
PREPARED_MOST = 100
"""Statements that a connection keeps prepared; none behind a pooler."""
GONE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.TooManyConnectionsError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""The database does not answer, or cannot do its work just now."""
CONTENDED = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)
"""A statement was given up so that others could go on, and may be tried again."""


class DatabaseDown(Unavailable):
    """The database does not answer, or not in time."""

    code = "database_unavailable"


class Contended(Unavailable):
    """Too many want the same row; nothing was changed, and the batch may be tried again."""

    code = "contended"


class Address(msgspec.Struct, frozen=True):
    """Where one role reaches one database. `host` may be a directory with the server's socket.

    `ssl` is libpq's sslmode (`disable` … `verify-full`).
    """

    host: str
    port: int
    user: str
    password: str
    database: str
    ssl: str = "disable"

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `asyncpg.connect`."""
        return msgspec.structs.asdict(self)


def address_of_url(url: str) -> Address:
    """`postgresql://user:password@host:port/database?sslmode=…` as an address."""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    return Address(
        host=options.get("host", [parts.hostname or "localhost"])[0],
        port=parts.port or 5432,
        user=unquote(parts.username or "postgres"),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.lstrip("/")) or "postgres",
        ssl=options.get("sslmode", ["prefer"])[0],
    )


def without_user(url: str) -> str:
    """The same place, for whoever comes as somebody else: no user, no password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def statements_kept(*, pooled: bool) -> int:
    """How many prepared statements a connection may keep (`statement_cache_size` of asyncpg)."""
    return 0 if pooled else PREPARED_MOST
