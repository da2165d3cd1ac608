"""How the database is reached, and what its failures mean; one rule: nothing rests on a session.

A pooler in transaction mode (PgBouncer) gives every transaction whichever server connection is
free. So what holds for a service's connections (`ROLE_SETTINGS`) is set on its role by `migrate`,
and behind a pooler (`pooled`) no statement stays prepared. A single one needs no BEGIN there: the
driver ends neither transaction nor turn between preparing and running it (Flush, not Sync).
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, LiteralString

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


def statements_kept(*, pooled: bool) -> int:
    """How many prepared statements a connection may keep (`statement_cache_size` of asyncpg)."""
    return 0 if pooled else PREPARED_MOST


async def open_pool(
    address: Address, *, most: int, pooled: bool, init: Callable[[Any], Awaitable[None]]
) -> asyncpg.Pool:
    """Connections of one role, each given to `init` once; raises DatabaseDown."""
    try:
        return await asyncpg.create_pool(
            **address.arguments(),
            min_size=1,
            max_size=most,
            timeout=5,
            command_timeout=20,
            max_inactive_connection_lifetime=0,
            statement_cache_size=statements_kept(pooled=pooled),
            server_settings={"application_name": address.user},
            init=init,
            # Our transactions leave nothing behind: the reset query is a lost round trip.
            reset=_nothing,
        )
    except GONE as error:
        raise DatabaseDown(f"cannot reach the database: {error}") from error


async def _nothing(_connection: Any) -> None:
    """Resets nothing."""
