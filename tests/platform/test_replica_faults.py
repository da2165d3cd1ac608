"""P10 when things fail: the replica, the primary, or what was known of either."""

import asyncio
import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

from pairs import (
    Pair,
    count,
    left_alone,
    note,
    open_pair,
    reads,
    send,
    taken_back,
    where,
)
from shop import PATIENCE_SECONDS, eventually, lived
from tradewind.platform import consistency
from tradewind.platform import replica as replica_module
from tradewind.platform.database import DatabaseDown, Reading
from tradewind.split.keeping import Keeper

pytestmark = pytest.mark.asyncio


async def test_a_killed_replica_is_not_noticed(pair: Pair) -> None:
    """Reads go on without a fault, and the replica has them again once it is back."""
    keeper = Keeper("replica", pair.replica, pair.said.append)
    await pair.replica.stop()
    await keeper.start()
    database = await pair.database()
    await note(database)
    await taken_back(database)
    send(pair.replica, signal.SIGKILL)
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        assert await database.read(count) == 1
    await taken_back(database)
    await keeper.stop()


async def test_a_stopped_replica_is_hardly_noticed(pair: Pair) -> None:
    """Reads under way wait half a second, then it is left alone; nothing is to be done."""
    database = await pair.database()
    await note(database)
    await taken_back(database)
    before = reads(database).figures.rests
    send(pair.replica, signal.SIGSTOP)
    try:
        for _ in range(20):
            assert await database.read(count) == 1
        assert reads(database).resting
        assert reads(database).figures.rests == before + 1, "left alone once, until it is well"
    finally:
        send(pair.replica, signal.SIGCONT)
    await taken_back(database)


@pytest.mark.parametrize("own_plans", [False, True])
async def test_a_replica_stopped_in_the_middle(pair: Pair, own_plans: bool) -> None:
    """A read that has begun there is repeated on the primary, and waits for nothing there."""

    async def read(reading: Reading) -> bool:
        there = await where(reading)
        if there:
            send(pair.replica, signal.SIGSTOP)
        assert await count(reading) == 1
        return there

    database = await pair.database()
    await note(database)
    await taken_back(database)
    try:
        async with lived(4):
            assert not await database.read(read, own_plans=own_plans)
    finally:
        send(pair.replica, signal.SIGCONT)
    await taken_back(database)


async def test_a_replica_that_takes_no_new_connection(pair: Pair) -> None:
    """Where those that are open work, but no new one is had, it is not taken back."""
    database = await pair.database()
    await note(database)
    await taken_back(database)
    assert pair.replica.pid is not None
    os.kill(pair.replica.pid, signal.SIGSTOP)
    try:
        reads(database)._rest("a test")
        asked = reads(database).position.questions

        async def looked_at() -> bool:
            return reads(database).position.questions > asked + 3

        await eventually(looked_at)
        assert reads(database).resting
        assert await database.read(count) == 1
    finally:
        os.kill(pair.replica.pid, signal.SIGCONT)
    await taken_back(database)


async def test_a_minute_behind(tmp_path: Path) -> None:
    """The primary has all reads, at its own pace."""
    async with open_pair(tmp_path, recovery_min_apply_delay="60s") as pair:
        database = await pair.database()
        await note(database)
        await left_alone(database)
        for number in range(2, 20):
            await note(database)
            assert await database.read(count) == number
        figures = reads(database).figures
        assert figures.replica_reads == 0
        assert figures.rests == 1

        async def measured() -> bool:
            return figures.lag_bytes > 0 and figures.lag_seconds > 0.5

        await eventually(measured)


async def test_a_replica_that_came_back_with_less(pair: Pair) -> None:
    """What it had replayed in its life before counts for nothing."""
    database = await pair.database()
    await pair.ask("CHECKPOINT")
    for _ in range(20):
        await note(database)
    await taken_back(database)
    known = reads(database).position.newest
    send(pair.replica, signal.SIGKILL, leader_last=True)
    await pair.replica.wait()
    await pair.replica.stop()
    pair.replica._settings = {"recovery_min_apply_delay": "60s"}
    await pair.replica.start()
    replayed = "SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint"
    assert await pair.ask(replayed, replica=True) < known, "the test needs one that has less"
    # As a process sees it that did not notice: the probe has not come round yet.
    await reads(database)._probe.stop()
    reads(database).resting = False
    assert await database.read(count) == 20


@pytest.mark.usefixtures("unhurried")
async def test_another_server_at_the_same_place(pair: Pair) -> None:
    """What is known of one server is not believed of another, that a new connection leads to."""
    database = await pair.database()
    await note(database)
    await taken_back(database)
    replica = reads(database)
    replica._drop_lines()
    replica._address = database.address
    assert await database.read(count) == 1
    assert replica.figures.fallbacks["restarted"] == 1


@pytest.mark.usefixtures("unhurried")
async def test_a_new_connection_is_asked_first(pair: Pair) -> None:
    """The position of before is not believed of what a new connection leads to, untried."""
    database = await pair.database()
    await taken_back(database)
    replica = reads(database)
    await replica._probe.stop()
    replica._drop_lines()
    asked = replica.position.questions
    replica.position.known = 2**60
    assert await database.read(where)
    assert replica.position.questions == asked + 1


async def test_a_replica_of_something_else(pair: Pair, tmp_path: Path) -> None:
    """A server that is no replica, or none any more, is not read."""
    there = msgspec.structs.replace(
        pair.owner, user="tradewind_trial", password=(await pair.database()).address.password
    )
    database = await pair.database(replica=there)
    await left_alone(database)
    assert not await database.read(where)


@pytest.mark.usefixtures("unhurried")
async def test_browsing_outlives_the_primary(pair: Pair) -> None:
    """With the primary gone catalogue reads are stale at worst; others say that it is down."""
    database = await pair.database()
    await note(database)
    await taken_back(database)
    send(pair.primary, signal.SIGKILL, leader_last=True)
    await pair.primary.wait()
    for _ in range(5):
        assert await database.read(count, stale_ok=True) == 1
    with pytest.raises(DatabaseDown):
        await database.read(count)
    assert await database.token() == 0
    assert reads(database).figures.stale_reads == 5
    await pair.primary.stop()
    await pair.primary.start()
    await note(database)
    assert await database.read(count) == 2
    await taken_back(database)
    assert await database.read(count) == 2


async def test_a_stopped_primary(pair: Pair) -> None:
    """Browsing waits for it once, then goes on without it."""
    database = await pair.database()
    await note(database)
    await taken_back(database)
    send(pair.primary, signal.SIGSTOP)
    try:
        assert await database.read(count, stale_ok=True) == 1
        assert database._flushed is not None
        asked = database._flushed.questions
        for _ in range(20):
            assert await database.read(count, stale_ok=True) == 1
        assert database._flushed.questions < asked + 10, "each would take a second"
    finally:
        send(pair.primary, signal.SIGCONT)

    async def fresh() -> bool:
        return not reads(database).primary_silent

    await eventually(fresh)
    await note(database)
    assert await database.read(count, stale_ok=True) == 2


async def test_who_asks_in_vain_is_the_last(pair: Pair) -> None:
    """The first who asks a silent primary knows it for all; nobody has to notice it before."""
    database = await pair.database()
    await note(database)
    await taken_back(database)
    replica, flushed = reads(database), database._flushed
    assert flushed is not None
    await replica._probe.stop()
    asked = flushed.questions
    send(pair.primary, signal.SIGSTOP)
    try:
        for _ in range(5):
            assert await database.read(count, stale_ok=True) == 1
    finally:
        send(pair.primary, signal.SIGCONT)
    assert flushed.questions == asked + 1


@pytest.mark.usefixtures("unhurried")
async def test_stale_is_never_older_than_the_token(pair: Pair) -> None:
    """Who shows a token that the replica has not replayed is refused, rather than shown less."""
    database = await pair.database()
    await note(database)
    await taken_back(database)
    await pair.pause()
    await note(database)
    token = await database.token()
    assert token > reads(database).position.known
    send(pair.primary, signal.SIGKILL, leader_last=True)
    await pair.primary.wait()
    assert await database.read(count, stale_ok=True) == 1
    consistency.enter({b"consistency-token": consistency.write_token(token)})
    with pytest.raises(DatabaseDown):
        await database.read(count, stale_ok=True)
    consistency.enter({})


@pytest.mark.usefixtures("unhurried")
async def test_stale_is_what_was_shown_before(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the primary just gone, the replica is waited for until it has what it can have soon."""
    database = await pair.database()
    await taken_back(database)
    await pair.pause()
    await note(database)
    assert await database.read(count) == 1
    replica = reads(database)
    await replica._probe.stop()
    await pair.received(await database.token())
    send(pair.primary, signal.SIGKILL, leader_last=True)
    await pair.primary.wait()
    replica.resting, replica.primary_silent = False, True
    # A moment, in which the replica goes on, however long it takes here to tell it so.
    monkeypatch.setattr(replica_module, "CATCH_UP_SECONDS", PATIENCE_SECONDS)
    asked = replica.position.questions
    reading = asyncio.create_task(database.read(count, stale_ok=True))

    async def waits() -> bool:
        return replica.position.questions > asked + 1

    await eventually(waits)
    assert not reading.done()
    await pair.resume()
    assert await reading == 1


@pytest.mark.usefixtures("unhurried")
async def test_a_silent_primary_is_asked_once(pair: Pair) -> None:
    """Who cannot do without it goes there at once, and does not wait for its position first."""
    database = await pair.database()
    await taken_back(database)
    replica, flushed = reads(database), database._flushed
    assert flushed is not None
    await replica._probe.stop()
    replica.primary_silent = True
    asked = flushed.questions
    assert not await database.read(where)
    assert await database.read(where, stale_ok=True)
    assert flushed.questions == asked
