"""Idempotency keys: the key, its answer and the effect are one transaction (P3)."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from faults.spine import Spine, open_spine
from tradewind.platform.database import Address, Database
from tradewind.platform.idempotency import (
    Key,
    KeyInProgress,
    KeyReused,
    Once,
    Replay,
    delete_old,
    delete_open,
    find_stored,
    fingerprint,
    insert_open,
    update_answers,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(loop_scope="session")
async def spine(postgres: Address, tmp_path: Path) -> AsyncGenerator[Spine]:
    """A spine on a database of the test's own."""
    async with open_spine(postgres, tmp_path) as one:
        yield one


def a_key(key: str = "k", body: bytes = b"{}", principal: str = "ann") -> Key:
    """Ann's key of this name for this body."""
    return Key(principal, key, fingerprint("POST", "/v1/things", body))


async def act(database: Database, key: Key | None, what: str = "done") -> dict[str, str]:
    """An action of one transaction that takes a key."""
    once = Once(key, 201)
    async with database.transaction(once) as tx:
        await tx.execute("INSERT INTO effects (what) VALUES ($1)", what)
        return once.answer({"what": what})


async def test_the_same_request_again_is_the_stored_answer(spine: Spine) -> None:
    """One effect, and the same status and bytes for every later try."""
    database = await spine.database()
    answer = await act(database, a_key())
    for _ in range(2):
        with pytest.raises(Replay) as replay:
            await act(database, a_key())
        assert (replay.value.status, msgspec.json.decode(replay.value.body)) == (201, answer)
    assert await spine.effects() == ["done"]


async def test_without_a_key_every_request_is_its_own(spine: Spine) -> None:
    """Who sends no key is served each time."""
    database = await spine.database()
    for _ in range(2):
        await act(database, None)
    assert await spine.effects() == ["done", "done"]


async def test_another_body_under_the_same_key_is_refused(spine: Spine) -> None:
    """Also another path or method: it is another request."""
    database = await spine.database()
    await act(database, a_key())
    with pytest.raises(KeyReused):
        await act(database, a_key(body=b'{"a":1}'))
    other_path = Key("ann", "k", fingerprint("POST", "/v1/others", b"{}"))
    with pytest.raises(KeyReused):
        await act(database, other_path)
    assert await spine.effects() == ["done"]


async def test_a_key_belongs_to_its_principal(spine: Spine) -> None:
    """Bob's key of the same name is another key."""
    database = await spine.database()
    await act(database, a_key(), "ann's")
    await act(database, a_key(principal="bob"), "bob's")
    assert await spine.effects() == ["ann's", "bob's"]


async def test_thirty_at_once_are_one(spine: Spine) -> None:
    """The primary key makes the others wait; then they meet the stored answer."""
    processes = [await spine.database(most=5) for _ in range(3)]
    outcomes = await asyncio.gather(
        *(act(processes[number % 3], a_key()) for number in range(30)), return_exceptions=True
    )
    assert sum(isinstance(one, dict) for one in outcomes) == 1
    assert all(isinstance(one, dict | Replay) for one in outcomes), outcomes
    assert await spine.effects() == ["done"]


async def test_a_request_that_failed_gives_its_key_back(spine: Spine) -> None:
    """What was rolled back did not happen: the same key may try again."""
    database = await spine.database()

    async def fails() -> None:
        async with database.transaction(Once(a_key(), 201)) as tx:
            await tx.execute("INSERT INTO effects (what) VALUES ('half')")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await fails()
    await act(database, a_key())
    assert await spine.effects() == ["done"]


async def test_an_answer_that_was_forgotten_to_be_noted_is_a_fault(spine: Spine) -> None:
    """An action that takes a key and stores no answer is rolled back, not half idempotent."""
    database = await spine.database()
    with pytest.raises(RuntimeError):
        async with database.transaction(Once(a_key(), 201)) as tx:
            await tx.execute("INSERT INTO effects (what) VALUES ('half')")
    assert await spine.effects() == []


async def test_one_that_takes_long_is_in_progress(spine: Spine) -> None:
    """A second try waits for the first, but not for ever: then it is told to come back."""
    database = await spine.database()
    opened, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        once = Once(a_key(), 201)
        async with database.transaction(once) as tx:
            await tx.execute("INSERT INTO effects (what) VALUES ('slow')")
            opened.set()
            await may_end.wait()
            once.answer({"what": "slow"})

    first = asyncio.create_task(slow())
    await opened.wait()
    with pytest.raises(KeyInProgress) as told:
        await act(database, a_key())
    assert told.value.retry_after_seconds
    may_end.set()
    await first
    with pytest.raises(Replay):
        await act(database, a_key())
    assert await spine.effects() == ["slow"]


async def test_a_key_that_is_open_across_transactions(spine: Spine) -> None:
    """A request of several transactions opens its key, and answers or gives it up at its end."""
    database = await spine.database()
    first, second = a_key("first"), a_key("second")
    async with database.transaction() as tx:
        assert await insert_open(tx, [first, second, first]) == {
            ("ann", "first"),
            ("ann", "second"),
        }
    async with database.transaction() as tx:
        assert await insert_open(tx, [first]) == set()
    with pytest.raises(KeyInProgress):
        await act(database, first)
    async with database.transaction() as tx:
        await update_answers(tx, [(first, 402, b"no")])
        await delete_open(tx, [first, second])
    async with database.reading() as reading:
        stored, gone = await find_stored(reading, [first, second])
    assert gone is None, "an open key is given up"
    assert stored is not None
    assert (stored.status, stored.body) == (402, b"no"), "an answered one never is"


async def test_answers_are_kept_for_a_day_at_least(spine: Spine) -> None:
    """After 24 hours the answer is there; after KEEP_HOURS it goes; an open key stays."""
    database = await spine.database()
    await act(database, a_key("day"))
    await act(database, a_key("old"))
    async with database.transaction() as tx:
        await insert_open(tx, [a_key("open")])
    await spine.superuser(
        """
        UPDATE idempotency_keys SET created_at = created_at -
            CASE key WHEN 'day' THEN interval '25 hours' ELSE interval '49 hours' END
        """
    )
    async with database.transaction() as tx:
        assert await delete_old(tx, 100) == 1
    assert sorted(row[0] for row in await spine.superuser("SELECT key FROM idempotency_keys")) == [
        "day",
        "open",
    ]
    with pytest.raises(Replay):
        await act(database, a_key("day"))
