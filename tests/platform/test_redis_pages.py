"""Pages that instances share; one rule: whatever Redis says, a page is a page and nothing else."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from paged import LONG, PATIENT, PUBLIC, SECRET, MakePages, Source, body, fetching, made_on
from servers import RedisServer, started_redis
from shop import eventually
from tradewind.platform.cache import Answer
from tradewind.platform.clock import Clock
from tradewind.platform.redis.connection import RedisLimits, RedisLink
from tradewind.platform.redis.pages import Page, PageTimes
from tradewind.platform.redis.sealed import Seal

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RedisServer]:
    """One Redis for all tests that do it no harm."""
    folder = tmp_path_factory.mktemp("redis") / "redis"
    async with started_redis(folder, eviction="allkeys-lru") as redis:
        yield redis


@pytest_asyncio.fixture(loop_scope="session")
async def raw(server: RedisServer) -> AsyncGenerator[RedisLink]:
    """A way to that Redis, emptied, past the pages."""
    link = server.link(PATIENT)
    await link.ask([("FLUSHALL",)])
    yield link
    await link.close()


@pytest_asyncio.fixture(loop_scope="session")
async def instance(server: RedisServer, raw: RedisLink) -> AsyncGenerator[MakePages]:
    """Makes the pages of one more instance."""
    async for make in made_on(server):
        yield make


async def test_what_one_instance_fetched_the_others_have(instance: MakePages) -> None:
    """The page is fetched once, headers and all."""
    one, two, source = instance(), instance(), Source()
    assert await one.fetch("/a", source) == Answer(200, PUBLIC, b"answer 1")
    assert await two.fetch("/a", source) == Answer(200, PUBLIC, b"answer 1")
    assert body(await two.fetch("/b", source)) == b"answer 2"
    assert (one.counts.kept, two.counts.hits) == (1, 1)


async def test_of_many_instances_one_fetches(instance: MakePages) -> None:
    """The others wait for it a moment, and have it."""
    source = Source()
    many = [instance() for _ in range(4)]
    found = await asyncio.gather(*[pages.fetch("/a", source) for pages in many])
    assert {body(one) for one in found} == {b"answer 1"}
    assert source.calls == 1


async def test_nobody_waits_for_a_fetch_that_does_not_end(instance: MakePages) -> None:
    """After a few looks the others fetch by themselves."""
    one, two, source = instance(), instance(), Source()
    fetch = await fetching(one, source)
    held, source.gate = source.gate, None
    assert body(await two.fetch("/a", source)) == b"answer 2"
    assert two.counts.misses == 1
    assert held is not None
    held.set()
    assert body(await fetch) == b"answer 1"


async def test_a_page_that_is_nearly_over_is_fetched_by_one(instance: MakePages) -> None:
    """The others still give it meanwhile."""
    times = PageTimes(lifetime=60.0, early=60.0, fetching=30.0)
    one, two, source = instance(times=times), instance(times=times), Source()
    await one.fetch("/a", source)
    fetch = await fetching(one, source)
    for _ in range(3):
        assert body(await two.fetch("/a", Source())) == b"answer 1"
    assert two.counts.hits == 3
    assert source.gate is not None
    source.gate.set()
    assert body(await fetch) == b"answer 2"


async def test_a_page_helps_out_where_it_cannot_be_fetched_anew(instance: MakePages) -> None:
    """As long as it may be given; after a drop the failure is told."""
    times = PageTimes(lifetime=60.0, early=60.0, fetching=30.0)
    one, failing = instance(times=times), Source([], 503)
    await one.fetch("/a", Source())
    assert body(await one.fetch("/a", failing)) == b"answer 1"
    assert failing.calls == 1
    one.drop(["p1"])
    await one.close()
    assert (await one.fetch("/a", failing)).status == 503


async def test_a_page_ends_by_itself(instance: MakePages, raw: RedisLink) -> None:
    """Where every word of a drop was lost, it is over a few seconds after its fetch began."""
    one, source = instance(), Source()
    await one.fetch("/a", source)
    (left,) = await raw.ask([("PTTL", "page:1:/a")])
    assert isinstance(left, int)
    assert 0 < left <= LONG.lifetime * 1000
    # A Redis that lets it live on: the moment stands in the page.
    await raw.ask([("PEXPIRE", "page:1:/a", int(10 * LONG.lifetime * 1000))])
    later = instance(clock=clock_ahead(LONG.lifetime + 0.1))
    assert body(await later.fetch("/a", source)) == b"answer 2"


async def test_a_page_of_a_time_to_come_is_not_given(instance: MakePages, raw: RedisLink) -> None:
    """Else a page kept under a clock that ran ahead would be given too long."""
    ahead, one, source = instance(clock=clock_ahead(600)), instance(), Source()
    await ahead.fetch("/a", source)
    assert body(await one.fetch("/a", source)) == b"answer 2"


def clock_ahead(seconds: float) -> Clock:
    """The database's time, so many seconds later."""
    clock = Clock()
    clock.set(clock.now() + timedelta(seconds=seconds), time.monotonic())
    return clock


@pytest.mark.parametrize("headers", [[], [*PUBLIC, (b"set-cookie", b"a=b")]])
async def test_only_what_is_public_is_shared(
    instance: MakePages, raw: RedisLink, headers: Any
) -> None:
    """What is somebody's own never leaves the process."""
    one, source = instance(), Source(headers)
    await one.fetch("/a", source)
    assert await raw.ask([("KEYS", "page:*")]) == [[]]


async def test_a_giant_is_not_shared(instance: MakePages, raw: RedisLink) -> None:
    """Redis holds what many ask for, not what is large."""
    one = instance(max_bytes=5)
    await one.fetch("/a", Source())
    assert await raw.ask([("EXISTS", "page:1:/a")]) == [0]


@pytest.mark.parametrize("kind", ["forged", "other page", "no seal", "other type", "nonsense"])
async def test_what_proves_nothing_is_not_given(
    instance: MakePages, raw: RedisLink, kind: str
) -> None:
    """Garbage and another key's page are misses; the page is fetched, without waiting."""
    one, two, source = instance(), instance(), Source()
    await one.fetch("/a", source)
    await one.fetch("/b", Source([*PUBLIC, (b"x-of", b"b")]))
    (other,) = await raw.ask([("HGET", "page:1:/b", "value")])
    page = Page(Clock().now().timestamp(), Answer(200, list(PUBLIC), b"evil"))
    (fields,) = await raw.ask([("HMGET", "page:1:/a", "number", "tags")])
    bound = b"\n".join([b"/a", *msgspec.convert(fields, list[bytes])])
    values: dict[str, Any] = {
        "forged": Seal(b"guessed" * 5, "pages", 1).seal(bound, msgspec.msgpack.encode(page)),
        "other page": other,
        "no seal": msgspec.msgpack.encode(page),
        "nonsense": Seal(SECRET, "pages", 1).seal(bound, b"nonsense"),
    }
    if kind == "other type":
        await raw.ask([("DEL", "page:1:/a"), ("SET", "page:1:/a", "text")])
    else:
        await raw.ask([("HSET", "page:1:/a", "value", values[kind])])
    assert body(await two.fetch("/a", source)) == b"answer 2"


async def test_a_full_redis_forgets_what_was_not_asked_for(
    tmp_path: Path, instance: MakePages
) -> None:
    """It takes new pages all the same, and nothing that was dropped comes back by it."""
    folder = tmp_path / "redis"
    async with started_redis(folder, eviction="allkeys-lru", max_bytes=3_000_000) as redis:
        one, source = instance(redis), Source()
        for number in range(300):
            big = Source(PUBLIC)
            big.text = b"x" * 20_000
            await one.fetch(f"/{number}", big)
            one.drop([f"tag-{number}"])
        await one.close()
        link = one._redis
        (evicted,) = await link.ask([("INFO", "stats")])
        assert isinstance(evicted, bytes)
        assert b"evicted_keys:0\r" not in evicted
        assert link.counts.refusals == 0

        async def kept() -> bool:
            """It forgets whichever it likes of those that are equally old: then it is kept anew."""
            page = body(await one.fetch("/a", source))
            return body(await one.fetch("/a", source)) == page

        await eventually(kept)
        before = source.calls
        one.drop(["p1"])
        assert body(await one.fetch("/a", source)) == b"answer %d" % (before + 1)


async def test_odd_names_are_names(instance: MakePages) -> None:
    """Whatever a path or a tag is made of, a page is found and dropped by it."""
    one, two = instance(), instance()
    source = Source([PUBLIC[0], (b"surrogate-key", b"\xff\xfe p1")])
    key = "/\udcff?q=ü €"
    await one.fetch(key, source)
    assert body(await two.fetch(key, source)) == b"answer 1"
    one.drop(["€", "\xff\xfe"])
    await one.close()
    assert body(await two.fetch(key, source)) == b"answer 2"


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_without_redis_pages_are_fetched(
    tmp_path: Path, instance: MakePages, how: str
) -> None:
    """The same answers, and Redis is not waited for; a drop is a drop here in any case."""
    async with started_redis(tmp_path / "redis", eviction="allkeys-lru") as redis:
        one, source = instance(redis), Source()
        await one.fetch("/a", source)
        if how == "killed":
            await redis.kill()
        else:
            redis.send(signal.SIGSTOP)
            one._redis.limits = RedisLimits(call_seconds=0.2)
        for number in range(20):
            assert body(await one.fetch("/a", source)) == b"answer %d" % (number + 2)
        link = one._redis
        assert link.counts.failures <= link.limits.failures_most
        one.drop(["p1"])
        await one.close()
