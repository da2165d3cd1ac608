"""Drops among instances; one rule: what a drop has overtaken is given by nobody any more."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from paged import LONG, PATIENT, MakePages, Source, body, fetching, made_on
from servers import RedisServer, started_redis
from tradewind.platform.cache import Kept, ResponseCache
from tradewind.platform.redis.connection import Command, RedisLimits, RedisLink
from tradewind.platform.redis.page_drops import DROPS
from tradewind.platform.redis.pages import RedisPages, Ticket

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


async def test_a_drop_is_a_drop_for_all(instance: MakePages) -> None:
    """Once it is told no instance gives the page, and pages with other tags stay."""
    one, two, source = instance(), instance(), Source()
    other = Source([(b"cache-control", b"public"), (b"surrogate-key", b"p2")])
    await one.fetch("/a", source)
    await one.fetch("/b", other)
    one.drop(["p1"])
    await one.close()
    assert body(await two.fetch("/a", source)) == b"answer 2"
    assert body(await two.fetch("/b", other)) == b"answer 1"
    two.clear()
    await two.close()
    assert body(await one.fetch("/b", other)) == b"answer 2"


@pytest.mark.parametrize("who", ["the one who fetches", "another"])
@pytest.mark.parametrize("what", ["its tag", "everything"])
async def test_a_fetch_that_a_drop_overtook_is_kept_by_nobody(
    instance: MakePages, raw: RedisLink, who: str, what: str
) -> None:
    """It began before the drop, so that its answer may be of the time before."""
    one, two, source = instance(), instance(), Source()
    fetch = await fetching(one, source)
    dropper = one if who == "the one who fetches" else two
    if what == "its tag":
        dropper.drop(["list"])
    else:
        dropper.clear()
    await dropper.close()
    assert source.gate is not None
    source.gate.set()
    assert body(await fetch) == b"answer 1"
    assert await raw.ask([("EXISTS", "page:1:/a")]) == [0]
    assert body(await two.fetch("/a", source)) == b"answer 2"
    assert body(await one.fetch("/a", source)) == b"answer 2"


async def test_a_page_kept_past_a_drop_is_not_given(instance: MakePages, raw: RedisLink) -> None:
    """Whoever puts it there: it is judged when it is read, by the number of drops before it."""
    one, two, source = instance(), instance(), Source()
    await one.fetch("/a", source)
    (stored,) = await raw.ask([("DUMP", "page:1:/a")])
    assert isinstance(stored, bytes)
    one.drop(["p1"])
    await one.close()
    await raw.ask([("DEL", "page:1:/a"), ("RESTORE", "page:1:/a", 60_000, stored)])
    assert body(await two.fetch("/a", source)) == b"answer 2"


async def test_numbers_that_were_lost_do_not_come_back_equal(
    instance: MakePages, raw: RedisLink
) -> None:
    """Evicted or flushed, the drops begin a new era, in which no older page is given."""
    one, two, source = instance(), instance(), Source()
    one.drop(["unrelated"])
    await one.close()
    await one.fetch("/a", source)
    one.drop(["p1"])
    await one.close()
    await raw.ask([("DEL", DROPS)])
    two.drop(["unrelated"])
    await two.close()
    assert body(await two.fetch("/a", source)) == b"answer 2"


async def test_a_fetch_from_before_an_era_is_not_kept(instance: MakePages, raw: RedisLink) -> None:
    """What was dropped in between nobody knows any more."""
    one, source = instance(), Source()
    fetch = await fetching(one, source)
    await raw.ask([("DEL", DROPS)])
    assert source.gate is not None
    source.gate.set()
    await fetch
    assert await raw.ask([("EXISTS", "page:1:/a")]) == [0]


async def test_tags_are_bounded(instance: MakePages, raw: RedisLink) -> None:
    """Beyond ten thousand a new era begins; nothing grows for ever."""
    one, source = instance(), Source()
    await one.fetch("/a", source)
    for start in range(0, 12_000, 1_000):
        one.drop([f"tag-{number}" for number in range(start, start + 1_000)])
        await one.close()
    (known,) = await raw.ask([("HLEN", DROPS)])
    assert isinstance(known, int)
    assert known <= 11_100
    assert body(await one.fetch("/a", source)) == b"answer 2"


async def test_a_drop_that_redis_did_not_hear_of_is_kept_here(
    tmp_path: Path, instance: MakePages
) -> None:
    """Until all pages of the time before are over, this process gives none with that tag."""
    async with started_redis(tmp_path / "redis", eviction="allkeys-lru") as redis:
        now = [100.0]
        one = instance(redis, RedisLimits(call_seconds=0.2), monotonic=lambda: now[0])
        source = Source()
        await one.fetch("/a", source)
        redis.send(signal.SIGSTOP)
        one.drop(["p1"])
        await one.close()
        redis.send(signal.SIGCONT)
        await until_back(one)
        # What was sent to the stopped Redis it may carry out later: then it knows as well.
        assert one._drops.refuses(["p1"])
        assert body(await one.fetch("/a", source)) != b"answer 1"
        now[0] += LONG.lifetime
        assert not one._drops.refuses(["p1"])


async def until_back(pages: RedisPages) -> None:
    """Looks until Redis answers."""
    async with asyncio.timeout(30):
        while not isinstance(await pages.get("/other"), Ticket):
            await asyncio.sleep(0.01)


def on_its_way(pages: RedisPages) -> asyncio.Event:
    """What these pages tell Redis from now on reaches it when this is set."""
    arrive, took = asyncio.Event(), pages._drops._took

    async def took_late(command: Command) -> bool:
        async with asyncio.timeout(30):
            await arrive.wait()
        return await took(command)

    pages._drops._took = took_late
    return arrive


async def test_a_drop_that_is_on_its_way_is_one_already(instance: MakePages) -> None:
    """Between hearing of it and Redis knowing of it no page with that tag is given."""
    one, source = instance(), Source()
    await one.fetch("/a", source)
    arrive = on_its_way(one)
    one.drop(["p1"])
    assert body(await one.fetch("/a", source)) == b"answer 2"
    assert one._drops.refuses(["p1"])
    arrive.set()
    await one.close()
    assert not one._drops.refuses(["p1"])


def cache_over(pages: RedisPages) -> ResponseCache:
    """The cache of a process, with these pages behind it."""
    return ResponseCache(beyond=pages, fresh_seconds=60, stale_seconds=60)


async def test_behind_the_cache_of_a_process(instance: MakePages) -> None:
    """Two caches over one Redis: one fetch, and after a drop in one process both fetch anew."""
    source, pages = Source(), [instance(), instance()]
    one, two = (
        ResponseCache(beyond=beyond, fresh_seconds=60, stale_seconds=60) for beyond in pages
    )
    assert body(await one.fill("/a", source)) == b"answer 1"
    assert body(await two.fill("/a", source)) == b"answer 1"
    assert isinstance(two.get("/a"), Kept)
    one.drop(["p1"])
    await pages[0].close()
    two.drop(["p1"])  # as NOTIFY tells it
    assert body(await two.fill("/a", source)) == b"answer 2"
    two.clear()
    await pages[1].close()
    assert body(await one.fill("/a", source)) == b"answer 3"


async def test_a_process_that_hears_first_does_not_keep_the_old_page(instance: MakePages) -> None:
    """It has been told, and Redis not yet: what stands there is not taken into its own cache."""
    source, pages = Source(), [instance(), instance()]
    one, two = (
        ResponseCache(beyond=beyond, fresh_seconds=60, stale_seconds=60) for beyond in pages
    )
    await one.fill("/a", source)
    arrive = on_its_way(pages[1])
    two.drop(["p1"])
    assert body(await two.fill("/a", source)) == b"answer 2"
    assert body(two.get("/a")) == b"answer 2"
    arrive.set()
