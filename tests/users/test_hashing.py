"""Password hashes: their kinds, their cost, and how many at once."""

import asyncio

import argon2
import bcrypt
import pytest

from tradewind.platform.errors import Unavailable
from tradewind.users.actions.hashing import Hashing, Strength

WEAK = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)


@pytest.mark.asyncio
async def test_a_hash_is_argon2id_of_the_right_cost() -> None:
    """argon2id, 19 MiB, two passes, one lane; the same password hashes differently each time."""
    hashing = Hashing(Strength(), threads=1)
    one, two = await hashing.hash("a long phrase"), await hashing.hash("a long phrase")
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert one != two
    assert await hashing.verify(one, "a long phrase")
    assert not await hashing.verify(one, "another phrase")
    assert not hashing.is_weak(one)
    hashing.close()


@pytest.mark.asyncio
async def test_nobody_has_the_password_of_an_unknown_user() -> None:
    """Where there is no hash the work is done all the same, and the answer is no."""
    hashing = Hashing(Strength(), threads=1)
    assert not await hashing.verify(None, "")
    hashing.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("version", ["2a", "2b", "2y"])
async def test_old_hashes_are_read(version: str) -> None:
    """Hashes of bcrypt in its three spellings, reading 72 bytes as before; each is weak."""
    hashing = Hashing(Strength(), threads=1)
    made = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    stored = f"${version}${made[4:]}"
    assert await hashing.verify(stored, "x" * 72)
    assert await hashing.verify(stored, "x" * 100)
    assert not await hashing.verify(stored, "x" * 71)
    assert hashing.is_weak(stored)
    hashing.close()


@pytest.mark.asyncio
async def test_a_broken_hash_is_nobodys() -> None:
    """What is no hash lets nobody in, and breaks nothing."""
    hashing = Hashing(Strength(), threads=1)
    for stored in ("", "plain text", "$2b$10$short", "$argon2id$v=19$m=1$x"):
        assert not await hashing.verify(stored, stored)
    hashing.close()


def test_cheaper_argon2_is_weak_and_dearer_is_not() -> None:
    """Only a hash that costs less than ours is made anew."""
    hashing = Hashing(Strength(), threads=1)
    assert hashing.is_weak(WEAK.hash("a long phrase"))
    dearer = argon2.PasswordHasher(time_cost=3, memory_cost=32_768, parallelism=1)
    assert not hashing.is_weak(dearer.hash("a long phrase"))
    hashing.close()


@pytest.mark.asyncio
async def test_what_does_not_fit_is_refused_at_once() -> None:
    """Beyond the queue's length the answer is Unavailable with a time to come back, and the loop
    runs on meanwhile; those before it get their hash.
    """
    hashing = Hashing(Strength(), threads=1, waiting_most=3)
    tasks = [asyncio.create_task(hashing.hash("a long phrase")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as refused:
        await hashing.hash("a long phrase")
    assert refused.value.retry_after_seconds
    assert not any(task.done() for task in tasks)
    assert len(set(await asyncio.gather(*tasks))) == 3
    assert hashing.waiting == 0
    hashing.close()
