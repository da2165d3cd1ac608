"""A database behind PgBouncer 1.18 in transaction mode: nothing of ours rests on a session."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from faults.spine import Spine, open_spine
from pooler import pooler
from servers import started
from shop import PATIENCE_SECONDS, SECRET, eventually, free_port
from tradewind.platform.database import Address, Contended, Database, DatabaseDown
from tradewind.platform.migrate import address_of
from tradewind.split.programs import ProgramServer

pytestmark = pytest.mark.asyncio

SERVER_CONNECTIONS = 3


@pytest_asyncio.fixture(loop_scope="session")
async def spine(postgres: Address, tmp_path: Path) -> AsyncGenerator[Spine]:
    """A spine on a database of the test's own."""
    async with open_spine(postgres, tmp_path) as one:
        yield one


class Pooled:
    """A spine behind a pooler."""

    def __init__(self, spine: Spine, server: ProgramServer, port: int) -> None:
        self.spine = spine
        self.server = server
        own = address_of(spine.owner, SECRET, "trial")
        self.address = msgspec.structs.replace(own, host="127.0.0.1", port=port)
        self._opened: list[Database] = []

    async def database(
        self, *, most: int = 6, pooled: bool = True, replicated: bool = False
    ) -> Database:
        """A process whose connections are the pooler's."""
        database = Database(self.address, most=most, pooled=pooled, replicated=replicated)
        self._opened.append(database)
        await database.open()
        return database

    async def end(self) -> None:
        """Closes all connections."""
        for database in self._opened:
            await database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def pooled(spine: Spine, tmp_path: Path) -> AsyncGenerator[Pooled]:
    """The spine behind a pooler with three server connections."""
    port = free_port()
    few = pooler(spine.owner, tmp_path / "pgbouncer", port, server_connections=SERVER_CONNECTIONS)
    async with started([few]) as (server,):
        one = Pooled(spine, server, port)
        try:
            yield one
        finally:
            await one.end()


async def note(database: Database, what: str) -> None:
    """One row."""
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO effects (what) VALUES ($1)", what)


async def test_many_clients_on_few_connections(pooled: Pooled) -> None:
    """Transactions, single statements, reads and copies of many processes at once, all of theirs
    kept apart.
    """
    databases = [await pooled.database(most=4) for _ in range(5)]

    async def work(number: int) -> None:
        database = databases[number % len(databases)]
        for round_ in range(6):
            what = f"{number}.{round_}"
            await note(database, what)
            async with database.statement() as tx:
                query = "UPDATE effects SET what = $2 WHERE what = $1"
                assert await tx.execute(query, what, what + "u") == "UPDATE 1"
            async with database.reading() as reading:
                row = await reading.fetch_row(
                    "SELECT what, $2::int FROM effects WHERE what = $1", what + "u", number
                )
                assert row is not None
                assert tuple(row) == (what + "u", number)
                assert await reading.fetch_value("SELECT $1::text[]", ["a", what]) == ["a", what]
                # Of a type that the driver has to ask about first.
                whole = await reading.fetch_value(
                    "SELECT effects FROM effects WHERE what = $1", what + "u"
                )
                assert whole["what"] == what + "u"
            async with database.transaction() as tx:
                await tx.copy("effects", ["what"], [(what + "c",), (what + "d",)])
            assert await database.read(_trivial, own_plans=True) == 7

    await asyncio.gather(*(work(number) for number in range(30)))
    assert len(await pooled.spine.effects()) == 30 * 6 * 3
    backends = await pooled.spine.superuser(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'tradewind_trial'"
    )
    assert backends[0][0] <= SERVER_CONNECTIONS


async def _trivial(reading: object) -> int:
    assert reading is not None
    return 7


async def test_all_or_nothing(pooled: Pooled) -> None:
    """What fails leaves nothing, neither rows nor an open transaction on anybody's connection."""
    database = await pooled.database(most=1)
    with pytest.raises(ValueError, match="no"):
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO effects (what) VALUES ('a')")
            raise ValueError("no")
    with pytest.raises(asyncpg.PostgresError):
        async with database.statement() as tx:
            await tx.execute("SELECT 1/0")
    with pytest.raises(asyncpg.PostgresError):
        async with database.reading() as reading:
            await reading.fetch("SELECT 1/0")
    await note(database, "b")
    assert await pooled.spine.effects() == ["b"]


async def test_time_outs_are_the_role_s(pooled: Pooled) -> None:
    """A statement, a lock and an idle transaction end by themselves, though no client asked."""
    database = await pooled.database()
    async with database.reading() as reading:
        for name, value in (
            ("statement_timeout", "15s"),
            ("lock_timeout", "4s"),
            ("idle_in_transaction_session_timeout", "30s"),
            ("TimeZone", "UTC"),
            ("jit", "off"),
        ):
            assert await reading.fetch_value("SELECT current_setting($1)", name) == value
    with pytest.raises(Contended):
        async with database.transaction() as tx:
            await tx.execute("SET LOCAL statement_timeout = '20ms'")
            await tx.execute("SELECT pg_sleep(5)")
    async with database.reading() as reading:
        assert await reading.fetch_value("SHOW statement_timeout") == "15s"


async def test_nobody_listens(pooled: Pooled) -> None:
    """Every step of listening tells that something may have been missed: listeners poll."""
    database = await pooled.database()
    heard: list[str] = []
    await database.listen("trial", heard.append)
    await database.keep_listening()
    await database.keep_listening()
    assert heard == ["", ""]


async def test_a_claim_is_of_its_transaction(pooled: Pooled) -> None:
    """Rows claimed by one are skipped by the other until it is done."""
    first, second = await pooled.database(), await pooled.database()
    await note(first, "a")
    claim = "SELECT what FROM effects FOR UPDATE SKIP LOCKED"
    async with first.claim() as mine:
        assert len(await mine.fetch(claim)) == 1
        async with second.claim() as theirs:
            assert await theirs.fetch(claim) == []


async def test_positions(pooled: Pooled) -> None:
    """Tokens are had through the pooler too."""
    database = await pooled.database(replicated=True)
    assert database._flushed is not None
    database._flushed._within_seconds = PATIENCE_SECONDS  # that of a write waits for a second only
    before = await database.token()
    await note(database, "a")
    assert await database.token() > before > 0


async def test_those_who_wait_for_others_do_not_hang(pooled: Pooled) -> None:
    """All connections of the pooler's to the server wait, as long as one may wait for a lock."""
    database = await pooled.database()

    async def wait() -> None:
        async with database.transaction() as tx:
            await tx.execute("SELECT pg_sleep(4)")
            await tx.execute("INSERT INTO effects (what) VALUES ('late')")

    await asyncio.gather(*(wait() for _ in range(SERVER_CONNECTIONS)))
    assert await pooled.spine.effects() == ["late"] * SERVER_CONNECTIONS


async def test_the_pooler_restarts(pooled: Pooled) -> None:
    """While it is gone the database is down; then all goes on."""
    database = await pooled.database()
    await note(database, "a")
    await pooled.server.stop()
    with pytest.raises(DatabaseDown):
        await note(database, "lost")
    await pooled.server.start()

    async def works() -> bool:
        try:
            await note(database, "b")
        except DatabaseDown:
            return False
        return True

    await eventually(works)
    assert await pooled.spine.effects() == ["a", "b"]
