"""P10 with a real replica: whoever reads, sees what was acknowledged before the read began."""

import asyncio
import itertools

import asyncpg
import pytest

from pairs import (
    Pair,
    count,
    note,
    reads,
    taken_back,
    where,
)
from shop import PATIENCE_SECONDS, eventually
from tradewind.platform import consistency, replica
from tradewind.platform.database import DatabaseDown, Reading
from tradewind.platform.errors import NotFound
from tradewind.platform.positions import FLUSHED, WAL_PAGE_BYTES

pytestmark = pytest.mark.asyncio


async def test_reads_are_the_replica_s(pair: Pair) -> None:
    """All is read there, and many reads ask the primary little."""
    database = await pair.database()
    await note(database)
    await taken_back(database)
    figures, flushed = reads(database).figures, database._flushed
    assert flushed is not None

    async def all_there() -> bool:
        """On a busy machine the replica may be left alone for a moment; then it is tried again."""
        read, asked = figures.replica_reads, flushed.questions
        counts = await asyncio.gather(*(database.read(count) for _ in range(200)))
        assert set(counts) == {1}
        return figures.replica_reads - read > 150 and flushed.questions - asked < 20

    await eventually(all_there)


async def test_without_a_replica_the_primary_is_read(pair: Pair) -> None:
    """Also with plans of one's own; no position is asked, and no token is given."""
    database = await pair.database(replica=None)
    assert not await database.read(where)
    assert not await database.read(where, own_plans=True)
    assert await database.token() == 0


@pytest.mark.usefixtures("unhurried")
async def test_one_reads_what_another_wrote(pair: Pair) -> None:
    """With replay paused, an acknowledged write is seen by all, at once, from the primary."""
    writer, reader = await pair.database(), await pair.database()
    await taken_back(reader)
    before = reads(reader).figures.fallbacks.copy()
    await pair.pause()
    for number in range(1, 6):
        await note(writer)
        assert await reader.read(count) == number
    fell_back = reads(reader).figures.fallbacks - before
    assert fell_back.total() == 5
    assert fell_back["resting"] >= 4, "left alone after the first"
    assert reads(reader).resting
    await pair.resume()
    await taken_back(reader)
    assert await reader.read(count) == 5


async def test_a_little_lag_is_waited_for(pair: Pair) -> None:
    """A replica that catches up within 50 ms answers all the same."""
    database = await pair.database()
    await taken_back(database)
    figures, before = reads(database).figures, reads(database).figures.replica_reads
    numbers = itertools.count(1)

    async def several() -> bool:
        """On a busy machine 50 ms may not be enough; then it rests for a moment."""
        number = next(numbers)
        await note(database)
        assert await database.read(count) == number
        return figures.replica_reads - before > 5

    await eventually(several)


@pytest.mark.usefixtures("unhurried")
async def test_half_a_record_is_not_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody writes much and does not commit: the last page that was flushed for him ends in the
    middle of a record, which nobody can replay. All the same reads are the replica's.
    """
    monkeypatch.setattr(replica, "CATCH_UP_SECONDS", PATIENCE_SECONDS)
    database, other = await pair.database(), await pair.database(replica=None)
    await taken_back(database)
    await reads(database)._probe.stop()  # it has the rest of the record flushed, as a read has
    async with other.claim() as tx:  # a transaction that others may be asked in

        async def read_behind_half_a_record() -> bool:
            query = "SELECT repeat(md5(i::text), 3) FROM generate_series(1, 99) i"
            await tx.execute(f"INSERT INTO effects (what) {query}")
            await asyncio.sleep(0.25)  # whole pages are flushed five times a second
            asked = database._settled.questions
            if await pair.ask(FLUSHED) % WAL_PAGE_BYTES == 0:
                assert await database.read(where)
            return database._settled.questions > asked

        for _ in range(5):
            await eventually(read_behind_half_a_record)


async def test_time_never_goes_back(pair: Pair) -> None:
    """Many clients, steady writes, replay paused and resumed: each read has all that was written
    when it began, and no client sees less than it saw before.
    """
    writer, readers = await pair.database(), [await pair.database() for _ in range(2)]
    acknowledged, ending = 0, asyncio.Event()

    async def write() -> None:
        nonlocal acknowledged
        for number in itertools.count(1):
            if ending.is_set():
                return
            await note(writer)
            acknowledged = number
            await asyncio.sleep(0.002)

    async def read(client: int) -> int:
        seen = rounds = 0
        for rounds in itertools.count():
            if ending.is_set():
                break
            least = max(seen, acknowledged)
            seen = await readers[rounds % 2].read(count, stale_ok=client % 2 == 0)
            assert seen >= least, f"client {client} saw {seen} after {least}"
        return rounds

    def enough() -> bool:
        """Both have read from the replica for a while, and from the primary in its place."""
        return all(
            one.replica_reads > 20 and one.fallbacks["behind"] + one.fallbacks["resting"] > 0
            for one in (reads(reader).figures for reader in readers)
        )

    async def trouble() -> None:
        try:
            for rounds in itertools.count(1):
                await pair.pause()
                await asyncio.sleep(0.1)
                await pair.resume()
                await asyncio.sleep(0.5)
                if rounds >= 6 and enough():
                    return
                assert rounds < 60, [reads(reader).figures for reader in readers]
        finally:
            ending.set()

    await asyncio.gather(write(), trouble(), *(read(client) for client in range(20)))


@pytest.mark.usefixtures("unhurried")
async def test_a_read_that_hangs_is_repeated(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """After half a second the primary is asked."""

    async def hang(reading: Reading) -> str:
        hanging = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_sleep(30)::text ELSE 'here' END"
        return str(await reading.fetch_value(hanging))

    database = await pair.database()
    await taken_back(database)
    monkeypatch.setattr(replica, "READ_SECONDS", 0.5)
    assert await database.read(hang) == "here"
    assert reads(database).figures.fallbacks["failed"] == 1
    await taken_back(database)


@pytest.mark.usefixtures("unhurried")
async def test_a_read_that_is_cancelled_is_repeated(pair: Pair) -> None:
    """Replay takes precedence on a replica; that is no fault of it, so it goes on answering."""

    async def cancelled(reading: Reading) -> str:
        if await where(reading):
            await reading.fetch("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(0.4)")
        return "here"

    database = await pair.database()
    await taken_back(database)
    assert await database.read(cancelled) == "here"
    assert reads(database).figures.fallbacks["contended"] == 1
    assert not reads(database).resting


@pytest.mark.usefixtures("unhurried")
async def test_a_refusal_is_an_answer(pair: Pair) -> None:
    """What a read raises of its own is not asked of the primary again."""
    asked: list[bool] = []

    async def refuse(reading: Reading) -> None:
        asked.append(await where(reading))
        raise NotFound("there is none")

    database = await pair.database()
    await taken_back(database)
    with pytest.raises(NotFound):
        await database.read(refuse)
    assert asked == [True]
    assert not reads(database).resting
    asked.clear()
    with pytest.raises(NotFound):
        await database.read(refuse, own_plans=True)
    assert asked == [True]
    assert await database.read(where, own_plans=True)


@pytest.mark.usefixtures("unhurried")
async def test_more_reads_than_connections(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all are taken for long, the primary is asked, and the replica is not blamed."""
    database = await pair.database(most=1)
    await taken_back(database)
    await reads(database)._seats.acquire()
    monkeypatch.setattr(replica, "READ_SECONDS", 0.5)
    assert not await database.read(where)
    assert reads(database).figures.fallbacks["busy"] == 1
    assert not reads(database).resting


async def test_no_read_of_a_replica_in_a_transaction(pair: Pair) -> None:
    """Nothing that decides a write is read from a replica."""
    database = await pair.database()
    async with database.transaction():
        with pytest.raises(RuntimeError, match="inside a database transaction"):
            await database.read(count)


@pytest.mark.usefixtures("unhurried")
async def test_a_token_covers_its_write(pair: Pair) -> None:
    """A replica that has replayed the token shows the write."""
    database = await pair.database()
    replayed = "SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint"
    for number in range(1, 10):
        await note(database)
        token = await database.token()
        assert database.position >= token
        while await pair.ask(replayed, replica=True) < token:
            await asyncio.sleep(0.001)
        seen = await pair.ask("SELECT count(*) FROM trial.effects", replica=True)
        assert seen == number


@pytest.mark.usefixtures("unhurried")
async def test_a_token_ahead_of_the_primary(pair: Pair) -> None:
    """Made up, or of another world: only the primary is asked, and nobody waits for it."""
    database = await pair.database()
    await note(database)
    await taken_back(database)
    consistency.enter({b"consistency-token": b"ffffffffffffffff"})
    assert not await database.read(where)
    assert reads(database).figures.fallbacks["token"] == 1
    assert not reads(database).resting
    consistency.enter({})


@pytest.mark.usefixtures("unhurried")
async def test_positions_are_shared_by_who_asks_later_only(pair: Pair) -> None:
    """A question under way is not joined: what it answers may be older than who comes now."""
    database = await pair.database()
    flushed = database._flushed
    assert flushed is not None
    for _ in range(50):
        under_way = asyncio.create_task(flushed.ask())
        await asyncio.sleep(0)
        await note(database)
        commit = await pair.ask("SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint")
        assert await flushed.ask() >= commit
        await under_way


async def test_a_closed_database_leaves_nothing(pair: Pair) -> None:
    """No connection to either server, and no task."""
    database = await pair.database()
    await taken_back(database)
    await database.close()
    ours = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'tradewind_trial'"

    async def gone() -> bool:
        return not await pair.ask(ours) and not await pair.ask(ours, replica=True)

    await eventually(gone)
    with pytest.raises((DatabaseDown, asyncpg.InterfaceError)):
        await database.read(count)
