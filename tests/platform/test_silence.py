"""A primary that hangs: it closes no connection, and answers nobody."""

import asyncio
import contextlib
import signal
import socket
import time

import pytest

from pairs import Pair, send
from shop import eventually
from tradewind.platform.database import Database, DatabaseDown
from tradewind.platform.silence import ANSWER_SECONDS, LOOK_SECONDS, SUSPECT_SECONDS

pytestmark = pytest.mark.asyncio
STATEMENT_SECONDS = 20.0
"""How long a statement may wait for a server that says nothing."""
CONNECT_SECONDS = 5.0
"""How long a connection is waited for where nothing is known of the server."""


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


async def looks(database: Database, times: int) -> None:
    """Waits until it has been looked after so often again."""
    looking = database.pool.silence._looking
    until = looking.steps + times

    async def enough() -> bool:
        return looking.steps >= until

    await eventually(enough, patience=60)


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
    # A machine that stands still is no server that does.
    database.pool.silence._answer_seconds = STATEMENT_SECONDS
    long = SUSPECT_SECONDS + ANSWER_SECONDS + 3 * LOOK_SECONDS
    async with database.transaction() as tx:
        await tx.execute("SELECT pg_sleep($1)", long)
        await tx.execute("INSERT INTO effects (what) VALUES ('slow')")
    assert await pair.ask("SELECT count(*) FROM trial.effects") == 1


async def test_a_queue_that_is_full_is_no_answer(pair: Pair) -> None:
    """A host that takes no more connections for a server that hangs has not heard from it."""
    database = await pair.database(most=2, replica=None)
    send(pair.primary, signal.SIGSTOP)
    try:
        with contextlib.ExitStack() as queue:
            place = f"{database.address.host}/.s.PGSQL.{database.address.port}"
            with pytest.raises(BlockingIOError):
                for _ in range(10_000):
                    one = queue.enter_context(socket.socket(socket.AF_UNIX))
                    one.setblocking(False)
                    one.connect(place)
            with pytest.raises(DatabaseDown):
                async with asyncio.timeout(STATEMENT_SECONDS - 5):
                    await note(database, "first")
            assert database.pool.silence.fallen
            await looks(database, 8)
            assert database.pool.silence.fallen
    finally:
        send(pair.primary, signal.SIGCONT)
    await eventually(lambda: speaks(database))
    await note(database, "after")


async def test_a_host_that_knows_of_no_server(pair: Pair) -> None:
    """After a host has started anew nobody tells those who wait for an answer from before."""
    database = await pair.database(most=2, replica=None)
    await pair.primary.stop()
    database.pool.silence.asked()
    assert await eventually(lambda: has_fallen(database))
    database.pool.silence.ended(heard=False)
    with pytest.raises(DatabaseDown):
        await note(database, "nobody")
    await pair.primary.start()
    await eventually(lambda: speaks(database))
    await note(database, "after")


async def test_an_answer_is_an_answer_for_a_while(pair: Pair) -> None:
    """However long a statement takes, the server is not asked at every look."""
    database = await pair.database(most=1, replica=None)
    asked = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
    before, begun = await pair.ask(asked), time.monotonic()
    async with database.reading() as reading:
        await reading.fetch_value("SELECT pg_sleep($1)", 4 * SUSPECT_SECONDS)
    took = time.monotonic() - begun  # longer where the machine is slow
    # The last one is ours; one more may have been asked before the statement was.
    assert await pair.ask(asked) - before <= took // SUSPECT_SECONDS + 2


async def test_what_was_done_stands_where_its_connection_is_lost(pair: Pair) -> None:
    """That a connection cannot be given back is not what whoever had it is told."""
    database = await pair.database(most=1, replica=None)
    await database.pool.silence.stop()

    async def read() -> None:
        async with database.reading() as reading:
            await reading.fetch_value("SELECT pg_sleep(600)")

    begun = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
    task = asyncio.create_task(read())
    await eventually(lambda: pair.ask(begun))
    send(pair.primary, signal.SIGSTOP)
    try:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert database.pool.failures["gone"] == 1
    finally:
        send(pair.primary, signal.SIGCONT)
    await note(database, "after")
