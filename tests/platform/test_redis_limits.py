"""How much one client may ask of all instances; one rule: Redis counts, and nobody waits for it."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from servers import RedisServer, started_redis
from tradewind.platform.redis.connection import RedisLimits, RedisLink, listed
from tradewind.platform.redis.limits import RedisRateLimit
from tradewind.platform.web.asgi import Receive, Scope, Send
from tradewind.platform.web.front import Front
from tradewind.platform.web.settings import WebSettings

pytestmark = pytest.mark.asyncio
SECRET = b"secret of the store" * 2
PATIENT = RedisLimits(call_seconds=10.0, connect_seconds=10.0)


@pytest_asyncio.fixture(loop_scope="session")
async def redis(tmp_path: Path) -> AsyncGenerator[RedisServer]:
    """A Redis of the test's own."""
    async with started_redis(tmp_path / "redis", eviction="allkeys-lru") as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def links(redis: RedisServer) -> AsyncGenerator[list[RedisLink]]:
    """The ways of two instances to it."""
    made = [redis.link(PATIENT) for _ in range(2)]
    yield made
    for link in made:
        await link.close()


async def only_key(link: RedisLink) -> bytes:
    """The one key that there is."""
    (keys,) = await link.ask([("KEYS", "*")])
    (key,) = listed(keys, 1)
    assert isinstance(key, bytes)
    return key


async def test_what_one_instance_gave_the_others_do_not_give_again(links: list[RedisLink]) -> None:
    """A burst is a burst of all together, and each client has its own."""
    one, two = (RedisRateLimit(link, SECRET, per_second=0.01, burst=4) for link in links)
    now = time.monotonic()
    given = [await limit.take("a", now) for limit in (one, two, one, two)]
    assert given == [0, 0, 0, 0]
    assert 0 < await one.take("a", now) <= 100
    assert 0 < await two.take("a", now) <= 100
    assert await two.take("b", now) == 0
    assert one.alone == two.alone == 0


async def test_a_bucket_fills_again(links: list[RedisLink]) -> None:
    """After a burst a client waits, no longer than the rate says, and then may go on."""
    limit = RedisRateLimit(links[0], SECRET, per_second=20, burst=2)
    given: list[float] = []
    async with asyncio.timeout(30):
        while not given or not given[-1]:
            given.append(await limit.take("a", time.monotonic()))
    assert 0 < given[-1] <= 0.05
    async with asyncio.timeout(30):
        while await limit.take("a", time.monotonic()):
            await asyncio.sleep(0.01)


async def test_many_checks_are_one_round_trip(links: list[RedisLink]) -> None:
    """Those that come together are counted together, each client for itself."""
    limit = RedisRateLimit(links[0], SECRET, per_second=0.01, burst=2)
    now = time.monotonic()
    clients = [f"client {number % 100}" for number in range(300)]
    given = await asyncio.gather(*[limit.take(client, now) for client in clients])
    assert sum(seconds == 0 for seconds in given) == 200
    assert links[0].counts.round_trips <= 3


async def test_who_was_refused_is_refused_here(links: list[RedisLink]) -> None:
    """A flood is answered without asking, until its time is up."""
    limit = RedisRateLimit(links[0], SECRET, per_second=0.01, burst=1)
    now = time.monotonic()
    assert await limit.take("a", now) == 0
    seconds = await limit.take("a", now)
    asked = links[0].counts.round_trips
    for _ in range(100):
        assert await limit.take("a", now + 1) == pytest.approx(seconds - 1)
    assert links[0].counts.round_trips == asked
    await limit.take("a", now + seconds)
    assert links[0].counts.round_trips == asked + 1


async def test_no_address_stands_in_redis_and_all_of_it_ends(links: list[RedisLink]) -> None:
    """Addresses are hidden by the store's secret, and expire when the bucket is full."""
    limit = RedisRateLimit(links[0], SECRET, per_second=0.01, burst=3)
    await limit.take("203.0.113.7", time.monotonic())
    key = await only_key(links[1])
    assert b"203" not in key
    (left,) = await links[1].ask([("PTTL", key)])
    assert isinstance(left, int)
    assert 0 < left <= 100_001


@pytest.mark.parametrize("garbage", ["1e300", "nan", "inf", "-1e300", "another key's value", ""])
async def test_garbage_locks_nobody_out(links: list[RedisLink], garbage: str) -> None:
    """Whatever stands there, a client waits no longer than one request takes to be earned."""
    limit = RedisRateLimit(links[0], SECRET, per_second=100, burst=3)
    # A bucket of this limit is gone in a moment: where it would stand is asked of one that stays.
    await RedisRateLimit(links[0], SECRET, per_second=0.01, burst=3).take("a", time.monotonic())
    await links[1].ask([("SET", await only_key(links[1]), garbage)])
    assert 0 <= await limit.take("a", time.monotonic()) <= 0.01
    async with asyncio.timeout(30):
        while await limit.take("a", time.monotonic()):
            await asyncio.sleep(0.01)
    assert limit.alone == 0


@pytest.mark.parametrize("how", ["killed", "stopped", "broken"])
async def test_without_redis_each_process_counts_for_itself(redis: RedisServer, how: str) -> None:
    """A limit there is, in any case; and Redis is not waited for."""
    link = redis.link(PATIENT)
    limit = RedisRateLimit(link, SECRET, per_second=0.01, burst=5)
    await limit.take("another", time.monotonic())
    if how == "killed":
        await redis.kill()
    elif how == "stopped":
        redis.send(signal.SIGSTOP)
        link.limits = RedisLimits(call_seconds=0.2)
    else:
        # Full, a replica, a script that is not taken: an answer, and of no use.
        await link.ask(
            [
                ("CONFIG", "SET", "maxmemory", "1"),
                ("CONFIG", "SET", "maxmemory-policy", "noeviction"),
            ]
        )
    now = time.monotonic()
    given = [await limit.take("a", now) for _ in range(8)]
    assert [seconds == 0 for seconds in given] == [True] * 5 + [False] * 3
    assert limit.alone == 8
    assert link.counts.failures <= link.limits.failures_most
    await link.close()


async def test_the_listeners_of_two_instances_share_a_limit(
    served: Any, links: list[RedisLink]
) -> None:
    """Beyond it a client is told when to come back; health checks are always answered."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    settings = WebSettings(client_requests_per_second=1_000, client_burst=1_000)
    limits = [RedisRateLimit(link, SECRET, per_second=0.01, burst=3) for link in links]
    one, two = [await served(Front(app, settings, wide_limit=limit)) for limit in limits]
    answers = [await instance.client.get("/v1/x") for instance in (one, two, one, two)]
    assert [answer.status_code for answer in answers] == [204, 204, 204, 429]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 100
    assert answers[3].json()["code"] == "rate_limited"
    assert (await one.client.get("/readyz")).status_code == 204
