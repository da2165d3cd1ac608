"""Sessions read through Redis; one rule: whatever Redis says, nobody is believed for a second."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio

from servers import RedisServer, started_redis
from shop import eventually
from tradewind.platform.clock import Clock
from tradewind.platform.errors import Unavailable
from tradewind.platform.ids import digest
from tradewind.platform.principals import Principal
from tradewind.platform.redis.connection import RedisLimits, RedisLink, listed
from tradewind.platform.redis.sealed import Seal
from tradewind.platform.redis.sessions import (
    ENDED,
    VERSION,
    RedisAuthenticator,
    SessionEntry,
    SessionRevoker,
    session_key,
)

pytestmark = pytest.mark.asyncio
SECRET = b"secret of the store" * 2
PATIENT = RedisLimits(call_seconds=10.0, connect_seconds=10.0)
TOKEN = "token of somebody"
KEY = session_key(digest(TOKEN))
BELIEVED_SECONDS = 60.0
"""By the clock that stands. Redis goes by its own: no entry shall end before its test does."""
IN_EARNEST_SECONDS = 0.8


class StandingClock(Clock):
    """The database's time, which stands until it is told to go on; all instances share it."""

    def __init__(self) -> None:
        super().__init__()
        self.at = super().now()

    def now(self) -> datetime:
        """Read it."""
        return self.at

    def go_on(self, seconds: float) -> None:
        """So much later."""
        self.at += timedelta(seconds=seconds)


class Record:
    """Users, who know the record: counts who asks, and may be held back."""

    def __init__(self, clock: StandingClock) -> None:
        self.calls = 0
        self.living: dict[str, Principal] = {TOKEN: Principal(uuid4(), "customer", uuid4())}
        self.takes_seconds = 0.0
        self.held: asyncio.Event | None = None
        self.fails: Exception | None = None
        self._clock = clock

    async def authenticate(self, token: str) -> Principal | None:
        """Reads, and answers when it may."""
        self.calls += 1
        if self.fails is not None:
            raise self.fails
        found = self.living.get(token)
        self._clock.go_on(self.takes_seconds)
        if self.held is not None:
            await self.held.wait()
        return found


class Instances:
    """Two instances with a way to Redis each, the record, and whoever revokes."""

    def __init__(self, redis: RedisServer, limits: RedisLimits = PATIENT) -> None:
        self.redis = redis
        self.clock = StandingClock()
        self.record = Record(self.clock)
        self.links = [redis.link(limits) for _ in range(3)]
        self.one, self.two = (
            RedisAuthenticator(self.record, link, SECRET, self.clock, seconds=BELIEVED_SECONDS)
            for link in self.links[:2]
        )
        self.revoker = SessionRevoker(self.links[2])
        self.raw = RedisLink("raw", redis.address, PATIENT)

    async def stored(self) -> Any:
        """What stands in Redis for the token."""
        return (await self.raw.ask([("GET", KEY)]))[0]

    async def store(self, value: bytes) -> None:
        """Puts it there, to stay."""
        assert await self.raw.ask([("SET", KEY, value)]) == [b"OK"]

    async def end_session(self) -> None:
        """The record first, then everybody is told."""
        del self.record.living[TOKEN]
        await self.revoker.forget([digest(TOKEN)])

    async def close(self) -> None:
        """Ends the ways to Redis."""
        for link in [*self.links, self.raw]:
            await link.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RedisServer]:
    """One Redis for all tests that do it no harm."""
    async with started_redis(tmp_path_factory.mktemp("redis") / "redis") as redis:
        yield redis


@pytest_asyncio.fixture(loop_scope="session")
async def instances(server: RedisServer) -> AsyncGenerator[Instances]:
    """Instances on that Redis, emptied."""
    made = Instances(server)
    await made.raw.ask([("FLUSHALL",)])
    yield made
    await made.close()


async def test_what_one_instance_looked_up_the_others_know(instances: Instances) -> None:
    """The record is asked once; every instance then has the same answer."""
    expected = instances.record.living[TOKEN]
    assert await instances.one.authenticate(TOKEN) == expected
    assert await instances.two.authenticate(TOKEN) == expected
    assert await instances.one.authenticate(TOKEN) == expected
    assert instances.record.calls == 1
    assert (instances.one.counts.misses, instances.two.counts.hits) == (1, 1)


async def test_a_crowd_is_a_few_round_trips(instances: Instances) -> None:
    """Lookups that come together are one command."""
    await instances.one.authenticate(TOKEN)
    before = instances.links[0].counts.round_trips
    asked = [instances.one.authenticate(TOKEN) for _ in range(500)]
    assert set(await asyncio.gather(*asked)) == {instances.record.living[TOKEN]}
    assert instances.links[0].counts.round_trips - before <= 3
    assert instances.record.calls == 1


async def test_a_token_of_nobody_is_asked_for_each_time(instances: Instances) -> None:
    """That there is no such session is not kept: it may be signed in to next."""
    assert await instances.one.authenticate("unknown") is None
    assert await instances.one.authenticate("unknown") is None
    assert instances.record.calls == 2


async def test_no_token_and_no_address_stands_in_redis(instances: Instances) -> None:
    """Keys are hashes of tokens, and all of it ends by itself within the second."""
    one = RedisAuthenticator(instances.record, instances.links[0], SECRET, instances.clock)
    looking = [("MULTI",), ("KEYS", "*"), ("GET", KEY), ("PTTL", KEY), ("EXEC",)]

    async def found() -> list[Any] | None:
        await one.authenticate(TOKEN)
        (*_, seen) = await instances.raw.ask(looking)
        return listed(seen, 3) if listed(seen, 3)[0] else None

    keys, value, left = await eventually(found)
    assert keys == [KEY]
    assert TOKEN.encode() not in KEY
    assert TOKEN.encode() not in value
    assert 0 < left <= IN_EARNEST_SECONDS * 1000


async def test_a_revocation_is_heard_by_every_instance_at_once(instances: Instances) -> None:
    """Not a moment has passed, and the ended session is refused by all."""
    await instances.one.authenticate(TOKEN)
    await instances.two.authenticate(TOKEN)
    await instances.end_session()
    assert await instances.two.authenticate(TOKEN) is None
    assert await instances.one.authenticate(TOKEN) is None
    assert instances.revoker.failures == 0


async def test_a_lookup_begun_before_a_revocation_does_not_outlive_it(
    instances: Instances,
) -> None:
    """What it read may be of the time before, so a tombstone is never overwritten."""
    instances.record.held = asyncio.Event()
    before = asyncio.create_task(instances.one.authenticate(TOKEN))
    while instances.record.calls < 1:
        await asyncio.sleep(0)
    await instances.end_session()
    instances.record.held.set()
    assert await before is not None
    assert await instances.stored() == ENDED
    assert await instances.two.authenticate(TOKEN) is None


async def test_nobody_joins_a_lookup_that_began_before(instances: Instances) -> None:
    """Whoever comes after a revocation is not given what was read before it."""
    instances.record.held = asyncio.Event()
    before = asyncio.create_task(instances.one.authenticate(TOKEN))
    while instances.record.calls < 1:
        await asyncio.sleep(0)
    await instances.end_session()
    after = asyncio.create_task(instances.one.authenticate(TOKEN))
    while instances.record.calls < 2:
        await asyncio.sleep(0)
    instances.record.held.set()
    assert await before is not None
    assert await after is None


async def test_behind_a_tombstone_the_record_is_asked(instances: Instances) -> None:
    """A session that was changed, not ended, goes on, as the record has it now."""
    await instances.one.authenticate(TOKEN)
    changed = msgspec.structs.replace(instances.record.living[TOKEN], email_verified=True)
    instances.record.living[TOKEN] = changed
    await instances.revoker.forget([digest(TOKEN)])
    assert await instances.two.authenticate(TOKEN) == changed
    assert await instances.two.authenticate(TOKEN) == changed
    assert instances.two.counts.ended == 2
    (left,) = await instances.raw.ask([("PTTL", KEY)])
    assert isinstance(left, int)
    assert IN_EARNEST_SECONDS * 1000 < left <= 5_000


async def test_an_old_copy_is_not_believed_for_a_second(instances: Instances) -> None:
    """A Redis that failed over to an older copy brings nobody back: the moment is in the value."""
    await instances.one.authenticate(TOKEN)
    old = await instances.stored()
    await instances.end_session()
    await instances.store(old)  # as the copy has it, and to stay
    instances.clock.go_on(BELIEVED_SECONDS + 0.01)
    assert await instances.two.authenticate(TOKEN) is None
    assert await instances.one.authenticate(TOKEN) is None


async def test_belief_is_counted_from_when_the_lookup_began(instances: Instances) -> None:
    """What was read may be as old as that, however long the answer took."""
    instances.record.takes_seconds = BELIEVED_SECONDS - 0.3
    await instances.one.authenticate(TOKEN)
    old = await instances.stored()
    await instances.store(old)
    await instances.end_session()
    await instances.store(old)
    instances.clock.go_on(0.31)
    assert await instances.two.authenticate(TOKEN) is None


async def test_what_took_too_long_is_not_kept(instances: Instances) -> None:
    """It would not be believed by anybody."""
    instances.record.takes_seconds = BELIEVED_SECONDS
    assert await instances.one.authenticate(TOKEN) is not None
    assert await instances.stored() is None


async def test_a_moment_that_is_yet_to_come_is_not_believed(instances: Instances) -> None:
    """Else an entry written under a clock that ran ahead would be believed too long."""
    instances.clock.go_on(600)
    await instances.one.authenticate(TOKEN)
    old = await instances.stored()
    instances.clock.go_on(-600)
    await instances.store(old)
    assert await instances.two.authenticate(TOKEN) is not None
    assert instances.record.calls == 2


def forged(key: bytes, secret: bytes, version: int, clock: StandingClock) -> bytes:
    """An entry that makes somebody an administrator, sealed as told."""
    entry = SessionEntry(clock.now().timestamp(), Principal(uuid4(), "admin", uuid4()))
    return Seal(secret, "sessions", version).seal(key, msgspec.msgpack.encode(entry))


@pytest.mark.parametrize(
    "kind",
    ["own secret", "other key", "old version", "no seal", "cut", "bit flipped", "other type"],
)
async def test_whoever_writes_to_redis_becomes_nobody(instances: Instances, kind: str) -> None:
    """Only what was sealed under the store's secret, for this token, in this schema, is read."""
    clock = instances.clock
    sound = forged(KEY, SECRET, VERSION, clock)
    await instances.store(sound)
    found = await instances.one.authenticate(TOKEN)
    assert found is not None
    assert found.role == "admin"  # so that it is the fault below that makes the difference
    entry = SessionEntry(clock.now().timestamp(), Principal(uuid4(), "admin", uuid4()))
    values = {
        "own secret": forged(KEY, b"guessed" * 5, VERSION, clock),
        "other key": forged(session_key(digest("another")), SECRET, VERSION, clock),
        "old version": forged(KEY, SECRET, VERSION - 1, clock),
        "no seal": msgspec.msgpack.encode(entry),
        "cut": sound[:-1],
        "bit flipped": sound[:-1] + bytes([sound[-1] ^ 1]),
        "other type": b"",
    }
    await instances.store(values[kind])
    if kind == "other type":
        await instances.raw.ask([("DEL", KEY), ("RPUSH", KEY, "a", "b")])
    found = await instances.two.authenticate(TOKEN)
    assert found is not None
    assert found == instances.record.living[TOKEN]
    # And it is put right for the others.
    assert await instances.one.authenticate(TOKEN) == found
    assert instances.record.calls == 1


async def test_an_entry_of_a_schema_that_was_changed_in_silence(instances: Instances) -> None:
    """Where somebody forgets to raise the version, it is a miss and no failure."""
    value = Seal(SECRET, "sessions", VERSION).seal(KEY, msgspec.msgpack.encode(["nonsense"]))
    await instances.store(value)
    assert await instances.one.authenticate(TOKEN) == instances.record.living[TOKEN]


async def test_a_record_that_cannot_be_asked(instances: Instances) -> None:
    """Its failure is told as it is; nobody is signed out, and nobody in."""
    instances.record.fails = Unavailable("down")
    with pytest.raises(Unavailable, match="down"):
        await instances.one.authenticate(TOKEN)


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_without_redis_the_record_is_asked(tmp_path: Path, how: str) -> None:
    """The same answers, slower; a revocation counts at once, and Redis is not waited for."""
    async with started_redis(tmp_path / "redis") as redis:
        instances = Instances(redis, RedisLimits(call_seconds=0.2))
        await instances.one.authenticate(TOKEN)
        if how == "killed":
            await redis.kill()
        else:
            redis.send(signal.SIGSTOP)
        for _ in range(50):
            assert await instances.one.authenticate(TOKEN) is not None
        # Each instance learns it for itself.
        assert instances.links[0].counts.failures <= 2 * instances.links[0].limits.failures_most
        assert instances.record.calls == 51
        await instances.end_session()
        assert instances.revoker.failures == 1
        assert await instances.one.authenticate(TOKEN) is None
        await instances.close()


async def test_a_redis_that_comes_back_empty(tmp_path: Path) -> None:
    """It is filled again by whoever asks."""
    async with started_redis(tmp_path / "redis") as redis:
        instances = Instances(redis)
        await instances.one.authenticate(TOKEN)
        await redis.kill()
        await redis.server.start()
        async with asyncio.timeout(30):
            while not instances.one.counts.hits:
                assert await instances.one.authenticate(TOKEN) is not None
                await asyncio.sleep(0.01)
        await instances.close()


async def test_a_redis_that_stopped_and_went_on_brings_nobody_back(tmp_path: Path) -> None:
    """The tombstone was lost meanwhile, and what was kept before is over."""
    async with started_redis(tmp_path / "redis") as redis:
        instances = Instances(redis)
        await instances.one.authenticate(TOKEN)
        old = await instances.stored()
        redis.send(signal.SIGSTOP)
        for link in instances.links:
            link.limits = RedisLimits(call_seconds=0.2)
        await instances.end_session()
        instances.clock.go_on(BELIEVED_SECONDS + 0.01)
        redis.send(signal.SIGCONT)
        async with asyncio.timeout(30):
            while any(link.away for link in instances.links):
                await asyncio.sleep(0.01)
        await instances.store(old)
        assert await instances.two.authenticate(TOKEN) is None
        await instances.close()


async def test_a_full_redis_still_hears_of_a_revocation(tmp_path: Path) -> None:
    """Where it takes no tombstone it deletes the entry."""
    full = started_redis(tmp_path / "redis", eviction="noeviction", max_bytes=3_000_000)
    async with full as redis:
        instances = Instances(redis)
        await instances.one.authenticate(TOKEN)
        (persisted,) = await instances.raw.ask([("PERSIST", KEY)])
        assert persisted == 1
        for number in range(10_000):
            (reply,) = await instances.raw.ask([("SET", f"{number}", b"x" * 10_000)])
            if isinstance(reply, Exception):
                break
        await instances.raw.ask([("CONFIG", "SET", "maxmemory", "1mb")])
        await instances.end_session()
        assert instances.revoker.failures == 1
        assert await instances.two.authenticate(TOKEN) is None
        await instances.close()


async def test_nobody_to_forget(instances: Instances) -> None:
    """An end of no session is told to nobody."""
    await instances.revoker.forget([])
    assert instances.links[2].counts.round_trips == 0
