"""PostgreSQL by asyncpg; one rule: a transaction is short and calls nobody but the database.

`Database.transaction()` is opened in a service's `actions` (and, for reactions, by the inbox) and
nowhere else. While one is open a flag is set, and `assert_no_transaction` refuses calls to other
services and to payment providers. READ COMMITTED; time-outs are set on every service's role.
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
import structlog

from tradewind.platform.clock import Clock
from tradewind.platform.commits import COMMITS_ITSELF, COMMITTING, Commits
from tradewind.platform.connections import (
    CONTENDED,
    GONE,
    Address,
    Contended,
    DatabaseDown,
)
from tradewind.platform.errors import Unavailable
from tradewind.platform.listening import Listening
from tradewind.platform.metrics.durations import Durations
from tradewind.platform.pool import Pool
from tradewind.platform.positions import FLUSHED, SETTLED, Position
from tradewind.platform.replica import Replica

if TYPE_CHECKING:
    from tradewind.platform.idempotency import Once

__all__ = ["Address", "Contended", "Database", "DatabaseDown", "Reading", "Row", "Transaction"]

Row = asyncpg.Record
Probe = Callable[[str], None]
"""Told before and after every statement: the crash tests end the process there."""
Answer = TypeVar("Answer")

_log = structlog.get_logger(__name__)
_POSITION_SECONDS = 1.0
_OWN_PLANS: LiteralString = "SET LOCAL plan_cache_mode = force_custom_plan"
_inside: ContextVar[bool] = ContextVar("inside_transaction", default=False)


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
    """One role's pool of connections to one database, and its reads from a replica of it.

    `most`: connections. `pooled`: the address is a PgBouncer's in transaction mode, so that no
    statement stays prepared, and nobody listens. `replicated`: writes are answered with a token; so
    they are where there is a `replica`, whose address is a server's own.
    """

    def __init__(
        self,
        address: Address,
        *,
        most: int = 6,
        probe: Probe | None = None,
        replicated: bool = False,
        replica: Address | None = None,
        pooled: bool = False,
    ) -> None:
        self.address = address
        self.clock = Clock()
        self.position = 0
        """The newest WAL position that `token` gave; 0 where nothing is replicated."""
        self.replica: Replica | None = None
        """Where `read` asks first; its `figures` are for metrics."""
        self.statements = Durations()
        self.pool = Pool(address, most=most, pooled=pooled, init=self._set_clock)
        """Its connections; whether the primary hangs is its to know."""
        self._probe = probe
        self._listening = Listening(address, self._set_clock, pooled=pooled)
        position = partial(Position, address, within_seconds=_POSITION_SECONDS, pooled=pooled)
        self._flushed = position(FLUSHED) if replicated or replica is not None else None
        self._settled = position(SETTLED)
        if replica is not None and self._flushed is not None:
            commits = Commits(address.user, self._list_commits)
            self.replica = Replica(replica, self._flushed, self._settled, commits, most=most)

    async def open(self) -> None:
        """Connects; raises DatabaseDown where nobody answers. A replica may answer later."""
        await self.pool.open()
        if self.replica is not None:
            self.replica.start()

    async def close(self) -> None:
        """Waits for what is under way, at most 5 s, then closes."""
        self._listening.close()
        if self.replica is not None:
            await self.replica.close()
        if self._flushed is not None:
            await self._flushed.close()
        await self._settled.close()
        await self.pool.close()

    async def token(self) -> int:
        """A WAL position that covers all that was acknowledged to anybody before this call.

        For the answer to a write, when it is ready: so no commit waits for it, and however many
        answers want one share one statement. 0 where nothing is replicated, or the primary does not
        say; reads ask for themselves what they must show, so a client without one is no worse off.
        """
        if self._flushed is None:
            return 0
        try:
            position = await self._flushed.ask()
        except Unavailable:
            return 0
        self.position = max(self.position, position)
        return position

    async def read(
        self,
        work: Callable[[Reading], Awaitable[Answer]],
        *,
        stale_ok: bool = False,
        own_plans: bool = False,
    ) -> Answer:
        """The answer of `work`, which only reads, and may be run twice: a replica may be asked.

        It shows all that was acknowledged to anybody before the call; with `stale_ok`, where the
        primary does not answer, what the replica has. With `own_plans` every query is planned for
        its values, in one transaction. Raises what the primary raises.
        """
        assert_no_transaction("a read that a replica may answer")

        async def here(connection: Any) -> Answer:
            reading = Reading(connection, self)
            if not own_plans:
                return await work(reading)
            # Whatever goes wrong, the connection is ended: nothing waits for a ROLLBACK there.
            await self.watched(_OWN_PLANS, connection.execute, f"BEGIN READ ONLY; {_OWN_PLANS}")
            answer = await work(reading)
            await self.watched("COMMIT", connection.execute, "COMMIT")
            return answer

        async def there() -> Answer:
            if not own_plans:
                async with self.reading() as reading:
                    return await work(reading)
            async with self.transaction() as tx:
                await tx.execute(_OWN_PLANS)
                return await work(tx)

        if self.replica is None:
            return await there()
        return await self.replica.read(here, there, stale_ok=stale_ok)

    async def _list_commits(self) -> list[str]:
        async with self.reading() as reading:
            return await reading.fetch_value(COMMITTING, COMMITS_ITSELF)

    async def _set_clock(self, connection: Any) -> None:
        before = time.monotonic()
        now = await connection.fetchval("SELECT clock_timestamp()")
        self.clock.set(now, (before + time.monotonic()) / 2)

    @asynccontextmanager
    async def _begun(self, connection: Any) -> AsyncGenerator[None]:
        """BEGIN … COMMIT on a connection; rolled back on any exception."""
        await self.watched("BEGIN", connection.execute, "BEGIN")
        try:
            yield
            await self.watched("COMMIT", connection.execute, "COMMIT")
        except BaseException:
            await asyncio.shield(_rollback(connection))
            raise

    async def watched(
        self, what: str, call: Callable[..., Awaitable[Answer]], *arguments: Any
    ) -> Answer:
        """Carries out a statement, telling the probe before and after; its failures become ours.

        Here and not around the whole transaction: what else fails in there, a bus or a file, is
        not the database.
        """
        if self._probe is not None:
            self._probe(f"before {what}")
        started, heard = self.pool.silence.asked(), False
        try:
            answer = await call(*arguments)
            heard = True
        except CONTENDED as error:
            heard = True
            self.pool.failures["contended"] += 1
            raise Contended(f"the database is contended: {error}") from error
        except GONE as error:
            self.pool.failures["gone"] += 1
            _log.warning("database connection failed", error=repr(error), role=self.address.user)
            raise DatabaseDown("the database does not answer") from error
        finally:
            self.statements.note(self.pool.silence.ended(heard=heard) - started)
        if self._probe is not None:
            self._probe(f"after {what}")
        return answer

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Reading]:
        """A connection of the primary for reads that need no transaction: no BEGIN, no COMMIT."""
        async with self.pool.acquired() as connection:
            yield Reading(connection, self)

    @asynccontextmanager
    async def transaction(self, once: "Once | None" = None) -> AsyncGenerator[Transaction]:
        """BEGIN … COMMIT; rolled back on any exception.

        With `once`, its idempotency key is taken first: where it was used before, `Replay` is
        raised with the stored answer, and `once.answer(...)` stores this one in this transaction.
        Raises DatabaseDown or Contended; after DatabaseDown the outcome may be unknown.
        """
        assert_no_transaction("a second transaction")
        async with self.pool.acquired() as connection:
            tx = Transaction(connection, self, once)
            flag = _inside.set(True)
            try:
                async with self._begun(connection):
                    if once is not None:
                        await once.take(tx)
                    yield tx
                    if once is not None:
                        await once.keep(tx)
            finally:
                _inside.reset(flag)
        tx.committed()

    @asynccontextmanager
    async def statement(self) -> AsyncGenerator[Transaction]:
        """A transaction of one statement, which commits itself: no BEGIN, no COMMIT.

        What is to happen after the commit happens on leaving. More than one statement in it would
        be more than one transaction, so a second one is refused.
        """
        async with self.pool.acquired() as connection:
            tx = Transaction(_Single(connection), self, None)
            yield tx
        tx.committed()

    @asynccontextmanager
    async def claim(self) -> AsyncGenerator[Transaction]:
        """Like `transaction`, but only to hold a claim (SKIP LOCKED) while others are called.

        For the relay alone: the rows it locks are nobody's business rows, and a killed process
        gives them back at once, which no lease can.
        """
        async with self.pool.acquired() as connection, self._begun(connection):
            yield Transaction(connection, self, None)

    async def listen(self, channel: str, callback: Callable[[str], None]) -> None:
        """Calls back with the payload of each NOTIFY on the channel; `keep_listening` must run.

        A NOTIFY may be missed while the connection is down: listeners also poll.
        """
        await self._listening.add(channel, callback)

    async def keep_listening(self) -> None:
        """One step of a worker: makes sure that the listening connection lives."""
        await self._listening.step()


class _Single:
    """A connection for one statement, which the server is told commits itself."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        if self._connection is None:
            raise RuntimeError("a second statement where one was promised")
        connection, self._connection = self._connection, None
        call = getattr(connection, name)

        def alone(query: str, *arguments: Any) -> Awaitable[Any]:
            return call(COMMITS_ITSELF + query, *arguments)

        return alone


async def _rollback(connection: Any) -> None:
    try:
        await connection.execute("ROLLBACK")
    except Exception:  # noqa: BLE001  whatever it was, nobody may get this connection again
        # One that was lost has been taken from us already; then there is nothing to end.
        with contextlib.suppress(asyncpg.InterfaceError):
            connection.terminate()
