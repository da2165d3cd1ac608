"""Transactions: all or nothing, short, alone with the database, and honest about what failed."""

import asyncio
import contextvars
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from faults.spine import Spine, open_spine
from shop import eventually
from tradewind.platform.database import (
    Address,
    Contended,
    Database,
    DatabaseDown,
    assert_no_transaction,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(loop_scope="session")
async def spine(postgres: Address, tmp_path: Path) -> AsyncGenerator[Spine]:
    """A spine on a database of the test's own."""
    async with open_spine(postgres, tmp_path) as one:
        yield one


async def note(database: Database, what: str, *, error: Exception | None = None) -> None:
    """One row, or none where it fails."""
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO effects (what) VALUES ($1)", what)
        if error is not None:
            raise error


async def test_all_or_nothing(spine: Spine) -> None:
    """What fails leaves nothing, and its connection is clean for the next one."""
    database = await spine.database(most=1)
    await note(database, "a")
    with pytest.raises(ValueError, match="no"):
        await note(database, "b", error=ValueError("no"))
    await note(database, "c")
    assert await spine.effects() == ["a", "c"]


async def test_a_cancelled_transaction_leaves_nothing(spine: Spine) -> None:
    """Also in the middle of a statement; the connection serves the next one."""
    database = await spine.database(most=1)
    begun = asyncio.Event()

    async def slow() -> None:
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO effects (what) VALUES ('slow')")
            begun.set()
            await tx.execute("SELECT pg_sleep(600)")

    task = asyncio.create_task(slow())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await note(database, "next")
    assert await spine.effects() == ["next"]


async def test_what_waits_for_the_commit_runs_after_it_or_never(spine: Spine) -> None:
    """A callback sees the saved state; a rolled back transaction calls nobody."""
    database = await spine.database()
    called: list[str] = []
    async with database.transaction() as tx:
        tx.after_commit(lambda: called.append("saved"))
        assert called == []
    assert called == ["saved"]
    with pytest.raises(ValueError, match="no"):
        async with database.transaction() as tx:
            tx.after_commit(lambda: called.append("lost"))
            raise ValueError("no")
    assert called == ["saved"]


async def test_nobody_else_is_called_inside(spine: Spine) -> None:
    """A provider, another service or a second transaction inside one is refused on the spot."""
    database = await spine.database()
    assert_no_transaction("outside")
    async with database.transaction():
        with pytest.raises(RuntimeError, match="inside a database transaction"):
            assert_no_transaction("a call")
        with pytest.raises(RuntimeError, match="inside a database transaction"):
            async with database.transaction():
                pass
        # Who works beside it is not inside it.
        await asyncio.create_task(_beside(), context=contextvars.Context())
    assert_no_transaction("outside")


async def _beside() -> None:
    await asyncio.sleep(0)
    assert_no_transaction("beside")


async def test_one_statement_is_one_statement(spine: Spine) -> None:
    """`statement` commits itself, so a second one in it would be a second transaction: refused."""
    database = await spine.database()
    async with database.statement() as tx:
        await tx.execute("INSERT INTO effects (what) VALUES ('one')")
        with pytest.raises(RuntimeError, match="second statement"):
            await tx.execute("INSERT INTO effects (what) VALUES ('two')")
    assert await spine.effects() == ["one"]


async def test_a_lock_that_is_not_to_be_had_is_contention(spine: Spine) -> None:
    """After lock_timeout the transaction ends, having changed nothing, and may be tried again."""
    database = await spine.database()
    await note(database, "row")
    locked, done = asyncio.Event(), asyncio.Event()

    async def holds() -> None:
        async with database.transaction() as tx:
            await tx.execute("SELECT 1 FROM effects FOR UPDATE")
            locked.set()
            await done.wait()

    holder = asyncio.create_task(holds())
    await locked.wait()
    with pytest.raises(Contended):
        async with database.transaction() as tx:
            await tx.execute("SET LOCAL lock_timeout = '50ms'")
            await tx.execute("UPDATE effects SET what = 'changed'")
    done.set()
    await holder
    assert await spine.effects() == ["row"]


async def test_a_deadlock_is_contention(spine: Spine) -> None:
    """PostgreSQL ends one of the two; that one hears that it may try again."""
    database = await spine.database()
    await spine.superuser("INSERT INTO levels VALUES ('a', 0), ('b', 0)")
    first_has, second_has = asyncio.Event(), asyncio.Event()

    async def take(names: str, mine: asyncio.Event, theirs: asyncio.Event) -> None:
        async with database.transaction() as tx:
            await tx.execute("UPDATE levels SET units = units + 1 WHERE name = $1", names[0])
            mine.set()
            await theirs.wait()
            await tx.execute("UPDATE levels SET units = units + 1 WHERE name = $1", names[1])

    outcomes = await asyncio.gather(
        take("ab", first_has, second_has), take("ba", second_has, first_has), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["Contended", "NoneType"]
    levels = await spine.superuser("SELECT units FROM levels")
    assert [row[0] for row in levels] == [1, 1]


@pytest.mark.parametrize("error", [OSError("a file"), TimeoutError(), ConnectionError("a bus")])
async def test_what_else_fails_in_a_transaction_is_not_the_database(
    spine: Spine, error: Exception
) -> None:
    """A file that is not there, or a bus, is not reported as the database being down."""
    database = await spine.database()
    with pytest.raises(type(error)):
        await note(database, "a", error=error)
    assert await spine.effects() == []


async def test_a_connection_that_is_cut_is_the_database_being_down(spine: Spine) -> None:
    """Its transaction is gone, and the next one gets a new connection."""
    database = await spine.database(most=1)
    with pytest.raises(DatabaseDown) as told:
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO effects (what) VALUES ('half')")
            pid = await tx.fetch_value("SELECT pg_backend_pid()")
            await spine.superuser("SELECT pg_terminate_backend($1)", pid)
            await tx.execute("INSERT INTO effects (what) VALUES ('more')")
    assert told.value.retry_after_seconds
    await note(database, "healed")
    assert await spine.effects() == ["healed"]


async def test_a_database_that_nobody_answers_for(spine: Spine) -> None:
    """Opening says so in our words, and so does using what was never opened."""
    gone = Database(msgspec.structs.replace(spine.owner, host="/nowhere"))
    with pytest.raises(DatabaseDown):
        await gone.open()
    with pytest.raises(DatabaseDown):
        async with gone.reading():
            pass


async def test_no_connection_left_is_the_database_being_down(spine: Spine) -> None:
    """A pool that stays empty refuses within its patience instead of letting everybody wait."""
    database = await spine.database(most=1)
    begun, done = asyncio.Event(), asyncio.Event()

    async def holds() -> None:
        async with database.transaction():
            begun.set()
            await done.wait()

    holder = asyncio.create_task(holds())
    await begun.wait()
    with pytest.raises(DatabaseDown):
        async with database.reading():
            pass
    done.set()
    await holder


async def test_the_clock_is_the_database_s(spine: Spine) -> None:
    """What this machine's clock says decides nothing."""
    database = await spine.database()
    async with database.reading() as reading:
        theirs = await reading.fetch_value("SELECT clock_timestamp()")
        assert abs(reading.now - theirs) < timedelta(seconds=5)
    database.clock.set(datetime(2001, 1, 1, tzinfo=UTC), 0.0)
    async with database.reading() as reading:
        assert reading.now.year < 2026


async def test_every_connection_has_its_time_outs(spine: Spine) -> None:
    """A statement, a lock and an idle transaction each end by themselves."""
    database = await spine.database()
    async with database.reading() as reading:
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert await reading.fetch_value(f"SHOW {name}") not in ("0", "0ms"), name
        assert await reading.fetch_value("SHOW transaction_isolation") == "read committed"


async def test_the_probe_sees_every_statement(spine: Spine) -> None:
    """The crash tests end the process at each of these places."""
    seen: list[str] = []
    database = await spine.database(probe=seen.append)
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO effects (what) VALUES ('a')")
        await tx.notify("trial")
    async with database.statement() as tx:
        await tx.fetch_value("SELECT 1")
    async with database.reading() as reading:
        await reading.fetch("SELECT 2")
    names = ["BEGIN", "INSERT INTO", "SELECT pg_n", "COMMIT", "SELECT 1", "SELECT 2"]
    told = [f"{when} {name}" for name in names for when in ("before", "after")]
    assert len(seen) == len(told)
    assert all(one.startswith(two) for one, two in zip(seen, told, strict=True)), seen


async def test_listening_heals(spine: Spine) -> None:
    """A listening connection that was cut is made anew, and whatever was missed is told as such."""
    database = await spine.database()
    heard: list[str] = []
    await database.listen("trial", heard.append)
    await database.keep_listening()
    await spine.superuser("SELECT pg_notify('trial', 'one')")

    async def heard_one() -> bool:
        return "one" in heard

    await eventually(heard_one)
    heard.clear()
    await spine.superuser(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE usename = 'tradewind_trial' AND datname = current_database()"
    )

    async def heals() -> bool:
        try:
            await database.keep_listening()
        except (
            OSError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
        ):
            return False
        return "" in heard

    await eventually(heals)
    await spine.superuser("SELECT pg_notify('trial', 'two')")

    async def heard_two() -> bool:
        return "two" in heard

    await eventually(heard_two)
