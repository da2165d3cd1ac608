"""A primary that hangs: it closes no connection, and answers nobody."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from pairs import Pair, open_pair, send
from shop import eventually
from tradewind.platform.database import Contended, Database, DatabaseDown
from tradewind.platform.silence import ANSWER_SECONDS, LOOK_SECONDS, SUSPECT_SECONDS

pytestmark = pytest.mark.asyncio
STATEMENT_SECONDS = 20.0
"""How long a statement may wait for a server that says nothing."""
CONNECT_SECONDS = 5.0
"""How long a connection is waited for where nothing is known of the server."""


@pytest_asyncio.fixture(loop_scope="session")
async def pair(tmp_path: Path) -> AsyncGenerator[Pair]:
    """A server of the test's own, whose processes may be stopped."""
    async with open_pair(tmp_path) as one:
        yield one


async def note(database: Database, what: str) -> None:
    """One row, in a transaction."""
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO effects (what) VALUES ($1)", what)


async def has_fallen(database: Database) -> bool:
    """Whether it is seen to hang."""
    return database.pool.silence.fallen


async def speaks(database: Database) -> bool:
    """Whether it is seen to answer."""
    return not database.pool.silence.fallen


async def test_what_is_under_way_is_ended(pair: Pair) -> None:
    """Long before its own time-out; who waits for a connection is told as well."""
    database = await pair.database(most=2, replica=None)
    # So that a second connection is there: one is given to each of two, the others hope.
    await asyncio.gather(note(database, "before"), note(database, "before"))
    send(pair.primary, signal.SIGSTOP)
    try:
        async with asyncio.timeout(STATEMENT_SECONDS - 5):
            work = [asyncio.create_task(note(database, "under way")) for _ in range(2)]
            # Late enough that they would hope for long after the server is seen to hang.
            await asyncio.wait(work, timeout=SUSPECT_SECONDS + ANSWER_SECONDS / 2)
            work += [asyncio.create_task(note(database, "hopes")) for _ in range(4)]
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            assert database.pool.silence.fallen
            # All of them by one and the same: nobody who hopes goes on to hope for a new one.
            await asyncio.wait(work, timeout=CONNECT_SECONDS / 2)
        assert all(one.done() for one in work)
        assert {type(one.exception()) for one in work} == {DatabaseDown}
    finally:
        send(pair.primary, signal.SIGCONT)
    await eventually(lambda: speaks(database))
    await note(database, "after")
    assert await pair.ask("SELECT count(*) FROM trial.effects WHERE what = 'after'") == 1


async def test_who_comes_later_is_told_at_once(pair: Pair) -> None:
    """Nobody waits, and no connection is taken, until the server speaks again by itself."""
    database = await pair.database(most=2, replica=None)
    send(pair.primary, signal.SIGSTOP)
    try:
        with pytest.raises(DatabaseDown):
            await note(database, "first")
        assert await eventually(lambda: has_fallen(database))
        for _ in range(1000):
            with pytest.raises(DatabaseDown, match="hangs; nothing was changed"):
                await note(database, "later")
    finally:
        send(pair.primary, signal.SIGCONT)
    await eventually(lambda: speaks(database))
    await note(database, "after")
    assert await pair.ask("SELECT array_agg(what) FROM trial.effects") == ["after"]


async def test_a_slow_statement_is_no_silence(pair: Pair) -> None:
    """All connections wait for a lock, longer than a server is given to answer: none is ended."""
    database = await pair.database(most=1, replica=None)
    long = SUSPECT_SECONDS + ANSWER_SECONDS + 3 * LOOK_SECONDS
    async with database.transaction() as tx:
        await tx.execute("SELECT pg_sleep($1)", long)
        await tx.execute("INSERT INTO effects (what) VALUES ('slow')")
    assert await pair.ask("SELECT count(*) FROM trial.effects") == 1


async def test_nobody_there_is_no_silence(pair: Pair) -> None:
    """A server that has ended is refused by its host: no need to wait for anything."""
    database = await pair.database(most=2, replica=None)
    await pair.primary.stop()
    for _ in range(3):
        with pytest.raises((DatabaseDown, Contended)):
            await note(database, "nobody")
        await asyncio.sleep(SUSPECT_SECONDS)
    assert not database.pool.silence.fallen
    await pair.primary.start()
    await note(database, "after")
