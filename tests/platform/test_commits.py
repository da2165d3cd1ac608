"""P10 in the moment in which a replica shows a commit that its primary does not show yet."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from pairs import (
    Pair,
    count,
    note,
    note_in_transaction,
    reads,
)
from shop import eventually
from tradewind.platform import commits, telemetry
from tradewind.platform.database import Database, DatabaseDown

pytestmark = pytest.mark.asyncio

Writing = Callable[[Database], Coroutine[None, None, None]]


@asynccontextmanager
async def shown_by_the_replica_only(pair: Pair, write: Writing) -> AsyncGenerator[None]:
    """A row that the replica has shown, but the primary does not yet; then the replica stops."""
    writer = await pair.database()
    await note(writer)
    async with pair.commits_held():
        writing = asyncio.create_task(write(writer))

        async def shown() -> bool:
            return await pair.ask("SELECT count(*) FROM trial.effects", replica=True) == 2

        await eventually(shown)
        assert not writing.done()
        assert await pair.ask("SELECT count(*) FROM trial.effects") == 1
        await pair.pause()
        await pair.ask("SELECT pg_logical_emit_message(false, 'tradewind', 'more', true)")
        yield
    await writing


@pytest.mark.parametrize("track_activities", ["on", "off"])
@pytest.mark.parametrize("write", [note, note_in_transaction])
async def test_the_primary_shows_what_the_replica_did(
    pair: Pair, write: Writing, track_activities: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit is on its way to replicas before the primary shows it; whoever asks that next, waits
    for it, also where the server does not say what it is doing.
    """
    monkeypatch.setattr(commits, "SETTLE_SECONDS", 60.0)
    await pair.set("track_activities", track_activities)
    reader = await pair.database()
    figures = reads(reader).figures
    async with shown_by_the_replica_only(pair, write):
        before = figures.primary_reads
        reading = asyncio.create_task(reader.read(count))

        async def asked_primary() -> bool:
            return figures.primary_reads > before

        await eventually(asked_primary)
        await asyncio.wait({reading}, timeout=0.3)
        assert not reading.done()
    assert await reading == 2


@pytest.mark.usefixtures("unhurried")
async def test_commits_that_hang_are_not_waited_for_long(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then what was shown already is to be had from the replica only, for who may read there."""
    monkeypatch.setattr(commits, "SETTLE_SECONDS", 0.3)
    monkeypatch.setattr(telemetry, "SELDOM_SECONDS", 600.0)
    reader = await pair.database()
    async with shown_by_the_replica_only(pair, note):
        with capture_logs() as logs:
            refused = [reader.read(count) for _ in range(20)]
            told = await asyncio.gather(*refused, return_exceptions=True)
        assert {type(one) for one in told} == {DatabaseDown}
        assert "finishes no commits" in str(told[0])
        # Once, however many met it, with the session that somebody may have a look at.
        [line] = [one for one in logs if one["event"] == "commits hang"]
        assert len(line["sessions"]) == 1
        assert await reader.read(count, stale_ok=True) == 2
        assert reads(reader).figures.stale_reads == 1


async def test_who_only_writes_is_not_waited_for(pair: Pair) -> None:
    """A transaction that is open for long commits nothing yet, whether it works or waits."""
    writer, reader = await pair.database(), await pair.database()
    begun, held = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with writer.transaction() as tx:
            await tx.execute("INSERT INTO effects (what) VALUES ('later')")
            await tx.execute("SET LOCAL lock_timeout = 0")
            begun.set()
            await held.wait()
            await tx.execute("INSERT INTO effects (what) SELECT pg_advisory_xact_lock(1)::text")

    async def works() -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return bool(await pair.ask(waiting))

    writing = asyncio.create_task(write())
    await begun.wait()
    await pair.pause()
    await note(reader)
    assert await reader.read(count) == 1
    async with reader.reading() as holder:
        await holder.fetch("SELECT pg_advisory_lock(1)")
        held.set()
        await eventually(works)
        assert await reader.read(count) == 1
        assert not writing.done()
        await holder.fetch("SELECT pg_advisory_unlock(1)")
    await writing
    assert await reader.read(count) == 3
