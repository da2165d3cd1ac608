"""PostgreSQL by asyncpg; one rule: a transaction is short and calls nobody but the database.

`Database.transaction()` is opened in a service's `actions` (and, for reactions, by the inbox) and
nowhere else. While one is open a flag is set, and `assert_no_transaction` refuses calls to other
services and to payment providers. READ COMMITTED; time-outs are set on every connection.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import asyncpg
import msgspec
import structlog

from tradewind.platform.clock import Clock
from tradewind.platform.errors import Unavailable

if TYPE_CHECKING:
    from tradewind.platform.idempotency import Once

Row = asyncpg.Record
Probe = Callable[[str], None]
"""Told before and after every statement: the crash tests end the process there."""
Answer = TypeVar("Answer")

_log = structlog.get_logger(__name__)
_inside: ContextVar[bool] = ContextVar("inside_transaction", default=False)

_SESSION = {
    "statement_timeout": "15s",
    "lock_timeout": "4s",
    "idle_in_transaction_session_timeout": "30s",
    "timezone": "UTC",
    "jit": "off",
}
_GONE = (
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
_CONTENDED = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)


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


def assert_no_transaction(what: str) -> None:
    """Refuses `what` inside a transaction: it may take long, and locks would be held meanwhile."""
    if _inside.get():
        raise RuntimeError(f"{what} inside a database transaction")


class Reading:
    """Statements on one connection, each with the snapshot of its own start."""

    __slots__ = ("_connection", "_database")

    def __init__(self, connection: Any, database: "Database") -> None:
        self._connection = connection
        self._database = database

    @property
    def now(self) -> datetime:
        """Database time; the only clock that decides anything."""
        return self._database.clock.now()

    async def fetch(self, query: LiteralString, *arguments: Any) -> list[Row]:
        """All rows."""
        return await self._database.watched(query, self._connection.fetch, query, *arguments)

    async def fetch_row(self, query: LiteralString, *arguments: Any) -> Row | None:
        """The first row, or None."""
        return await self._database.watched(query, self._connection.fetchrow, query, *arguments)

    async def fetch_value(self, query: LiteralString, *arguments: Any) -> Any:
        """The first column of the first row, or None."""
        return await self._database.watched(query, self._connection.fetchval, query, *arguments)


class Transaction(Reading):
    """One transaction: everything in it is saved together or not at all."""

    __slots__ = ("_after", "once")

    def __init__(self, connection: Any, database: "Database", once: "Once | None") -> None:
        super().__init__(connection, database)
        self._after: list[Callable[[], None]] = []
        self.once = once

    async def execute(self, query: LiteralString, *arguments: Any) -> str:
        """Runs a statement; answers its command tag (`UPDATE 3`)."""
        return await self._database.watched(query, self._connection.execute, query, *arguments)

    async def copy(
        self, table: str, columns: Iterable[str], records: Iterable[tuple[Any, ...]]
    ) -> None:
        """COPY, for thousands of rows."""
        copying = partial(
            self._connection.copy_records_to_table, columns=list(columns), records=records
        )
        await self._database.watched(f"COPY {table}", copying, table)

    async def notify(self, channel: str, payload: str = "") -> None:
        """NOTIFY at commit; payload up to 8,000 bytes."""
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Called at once after the commit, and never if there is none. It must not fail."""
        self._after.append(callback)

    def committed(self) -> None:
        """Runs what waits for the commit."""
        for callback in self._after:
            callback()


class Database:
    """One role's pool of connections to one database."""

    def __init__(
        self,
        address: Address,
        *,
        most: int = 6,
        probe: Probe | None = None,
        replicated: bool = False,
    ) -> None:
        self.address = address
        self._probe = probe
        self._replicated = replicated
        self.clock = Clock()
        self.position = 0
        """The newest WAL position that a commit of this process may have (`Consistency-Token`);
        0 where nothing is replicated, so that every read is fresh."""
        self._most = most
        self._pool: asyncpg.Pool | None = None
        self._listener: Any = None
        self._channels: dict[str, Callable[[str], None]] = {}

    async def open(self) -> None:
        """Connects; raises DatabaseDown where nobody answers."""
        self._pool = await _translated(
            asyncpg.create_pool(
                **self.address.arguments(),
                min_size=1,
                max_size=self._most,
                timeout=5,
                command_timeout=20,
                max_inactive_connection_lifetime=0,
                server_settings={**_SESSION, "application_name": self.address.user},
                init=self._set_clock,
                # Our transactions leave nothing behind: the reset query is a lost round trip.
                reset=_nothing,
            )
        )

    async def close(self) -> None:
        """Waits for what is under way, at most 5 s, then closes."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.terminate()
        if self._pool is not None:
            try:
                async with asyncio.timeout(5):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    async def _set_clock(self, connection: Any) -> None:
        before = time.monotonic()
        now = await connection.fetchval("SELECT clock_timestamp()")
        self.clock.set(now, (before + time.monotonic()) / 2)

    async def watched(
        self, what: str, call: Callable[..., Awaitable[Answer]], *arguments: Any
    ) -> Answer:
        """Carries out a statement, telling the probe before and after; its failures become ours.

        Here and not around the whole transaction: what else fails in there, a bus or a file, is
        not the database.
        """
        if self._probe is not None:
            self._probe(f"before {what}")
        try:
            answer = await call(*arguments)
        except _CONTENDED as error:
            raise Contended(f"the database is contended: {error}") from error
        except _GONE as error:
            _log.warning("database connection failed", error=repr(error), role=self.address.user)
            raise DatabaseDown("the database does not answer") from error
        if self._probe is not None:
            self._probe(f"after {what}")
        return answer

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Reading]:
        """A connection for reads that need no transaction: no BEGIN, no COMMIT."""
        async with self._acquired() as connection:
            yield Reading(connection, self)

    @asynccontextmanager
    async def transaction(self, once: "Once | None" = None) -> AsyncGenerator[Transaction]:
        """BEGIN … COMMIT; rolled back on any exception.

        With `once`, its idempotency key is taken first: where it was used before, `Replay` is
        raised with the stored answer, and `once.answer(...)` stores this one in this transaction.
        Raises DatabaseDown or Contended; after DatabaseDown the outcome may be unknown.
        """
        assert_no_transaction("a second transaction")
        async with self._acquired() as connection:
            tx = Transaction(connection, self, once)
            await self.watched("BEGIN", connection.execute, "BEGIN")
            flag = _inside.set(True)
            try:
                if once is not None:
                    await once.take(tx)
                yield tx
                if once is not None:
                    await once.keep(tx)
                await self.watched("COMMIT", connection.execute, "COMMIT")
            except BaseException:
                await asyncio.shield(_rollback(connection))
                raise
            finally:
                _inside.reset(flag)
            if self._replicated:
                self.position = await connection.fetchval(
                    "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
                )
        tx.committed()

    @asynccontextmanager
    async def statement(self) -> AsyncGenerator[Transaction]:
        """A transaction of one statement, which commits itself: no BEGIN, no COMMIT.

        What is to happen after the commit happens on leaving. More than one statement in it would
        be more than one transaction, so a second one is refused.
        """
        async with self._acquired() as connection:
            tx = Transaction(_Single(connection), self, None)
            yield tx
            if self._replicated:
                self.position = await connection.fetchval(
                    "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
                )
        tx.committed()

    @asynccontextmanager
    async def claim(self) -> AsyncGenerator[Transaction]:
        """Like `transaction`, but only to hold a claim (SKIP LOCKED) while others are called.

        For the relay alone: the rows it locks are nobody's business rows, and a killed process
        gives them back at once, which no lease can.
        """
        async with self._acquired() as connection:
            tx = Transaction(connection, self, None)
            await self.watched("BEGIN", connection.execute, "BEGIN")
            try:
                yield tx
                await self.watched("COMMIT", connection.execute, "COMMIT")
            except BaseException:
                await asyncio.shield(_rollback(connection))
                raise

    @asynccontextmanager
    async def _acquired(self) -> AsyncGenerator[Any]:
        if self._pool is None:
            raise DatabaseDown("the database is not connected")
        try:
            connection = await self._pool.acquire(timeout=5)
        except _GONE as error:
            raise DatabaseDown("the database does not answer; nothing was changed") from error
        try:
            yield connection
        finally:
            await self._pool.release(connection)

    async def listen(self, channel: str, callback: Callable[[str], None]) -> None:
        """Calls back with the payload of each NOTIFY on the channel; `keep_listening` must run.

        A NOTIFY may be missed while the connection is down: listeners also poll.
        """
        self._channels[channel] = callback
        if self._listener is not None:
            await self._listener.add_listener(channel, self._notified)

    async def keep_listening(self) -> None:
        """One step of a worker: makes sure that the listening connection lives."""
        if self._listener is not None and not self._listener.is_closed():
            try:
                await self._set_clock(self._listener)
            except Exception:
                # It may never say so itself: a server that hangs, an answer cut in two.
                self._listener.terminate()
                self._listener = None
                raise
            return
        listener = await asyncpg.connect(**self.address.arguments(), timeout=5, command_timeout=5)
        try:
            for channel in self._channels:
                await listener.add_listener(channel, self._notified)
        except BaseException:
            listener.terminate()
            raise
        self._listener = listener
        for channel, callback in self._channels.items():
            _log.debug("listening", channel=channel)
            callback("")  # whatever was missed meanwhile

    def _notified(self, _connection: Any, _pid: int, channel: str, payload: object) -> None:
        self._channels[channel](str(payload))


class _Single:
    """A connection for one statement."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        if self._connection is None:
            raise RuntimeError("a second statement where one was promised")
        connection, self._connection = self._connection, None
        return getattr(connection, name)


async def _nothing(_connection: Any) -> None:
    """Resets nothing."""


async def _rollback(connection: Any) -> None:
    try:
        await connection.execute("ROLLBACK")
    except Exception:  # noqa: BLE001  whatever it was, nobody may get this connection again
        # One that was lost has been taken from us already; then there is nothing to end.
        with contextlib.suppress(asyncpg.InterfaceError):
            connection.terminate()


async def _translated(awaitable: Any) -> Any:
    try:
        return await awaitable
    except _GONE as error:
        raise DatabaseDown(f"cannot reach the database: {error}") from error
