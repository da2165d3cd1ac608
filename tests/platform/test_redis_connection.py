"""The way to a Redis that may be dead, stopped, slow, full or out of its mind; on a real one."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Connection
from structlog.testing import capture_logs

from servers import REDIS_PASSWORD, RedisServer, started_redis
from shop import free_port
from tradewind.platform.redis.connection import (
    RedisAddress,
    RedisAway,
    RedisLimits,
    RedisLink,
)

pytestmark = pytest.mark.asyncio
PATIENT = RedisLimits(call_seconds=10.0, connect_seconds=10.0)
HASTY = RedisLimits(call_seconds=0.2, connect_seconds=0.4)
"""For a Redis that does not answer: one that does might be taken for it where a machine is slow."""


@pytest_asyncio.fixture(loop_scope="session")
async def redis(tmp_path: Path) -> AsyncGenerator[RedisServer]:
    """A Redis of the test's own."""
    async with started_redis(tmp_path / "redis", eviction="noeviction") as server:
        yield server


async def until(condition: Callable[[], bool]) -> None:
    """Waits, with patience, for what must come by itself."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def given_up(link: RedisLink) -> None:
    """Asks until nobody is sent there any more."""
    for _ in range(link.limits.failures_most):
        with pytest.raises(RedisAway):
            await link.ask([("PING",)])
    assert link.away


async def spares_everybody(link: RedisLink) -> None:
    """However many ask now, none of them is sent."""
    before = link.counts.round_trips
    for _ in range(100):
        with pytest.raises(RedisAway):
            await link.ask([("PING",)])
    assert link.counts.round_trips == before


async def until_answered(link: RedisLink) -> None:
    """Asks until there is an answer."""
    async with asyncio.timeout(30):
        while True:
            try:
                await link.ask([("PING",)])
            except RedisAway:
                await asyncio.sleep(0.01)
            else:
                return


@asynccontextmanager
async def listening(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncGenerator[RedisAddress]:
    """Something else than a Redis, at an address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except ConnectionError:
            pass  # whoever asked has left
        finally:
            writer.close()

    port = free_port()
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield RedisAddress("127.0.0.1", port)
    finally:
        server.close()


async def test_many_commands_are_one_round_trip(redis: RedisServer) -> None:
    """Their replies come in order, and a refused one is an error among them."""
    link = redis.link(PATIENT)
    replies = await link.ask([("SET", "a", "1"), ("HGET", "a", "b"), ("GET", "a"), ("GET", "b")])
    assert replies[0] == b"OK"
    assert isinstance(replies[1], Exception)
    assert replies[2:] == [b"1", None]
    assert (link.counts.round_trips, link.counts.refusals) == (1, 1)
    assert not link.away
    await link.close()


async def test_connections_are_bounded(redis: RedisServer) -> None:
    """Whoever comes too many waits for a turn."""
    link = redis.link(RedisLimits(call_seconds=10.0, connect_seconds=10.0, connections=2))
    await asyncio.gather(*[link.ask([("PING",)]) for _ in range(50)])
    (clients,) = await link.ask([("CLIENT", "LIST")])
    assert isinstance(clients, bytes)
    assert clients.count(b"\n") == 2
    await link.close()


async def test_a_killed_redis_is_given_up_and_found_again(redis: RedisServer) -> None:
    """A few learn of its death; then nobody waits until it answers, and what it held is gone."""
    link = redis.link(PATIENT)
    await link.ask([("SET", "a", "1")])
    await redis.kill()
    with capture_logs() as logs:
        await given_up(link)
        await spares_everybody(link)
        await redis.server.start()
        await until_answered(link)
    assert await link.ask([("GET", "a")]) == [None]
    told = [entry["event"] for entry in logs if entry.get("redis") == link.name]
    assert told == ["redis is away", "redis answers again"]
    assert link.counts.outages == 1
    await link.close()


async def test_a_stopped_redis_costs_a_few_calls_and_no_more(redis: RedisServer) -> None:
    """It is asked by nobody but the probe, until it goes on."""
    link = redis.link(PATIENT)
    await link.ask([("PING",)])
    redis.send(signal.SIGSTOP)
    link.limits = HASTY
    await given_up(link)
    await spares_everybody(link)
    assert link.counts.failures == link.limits.failures_most
    redis.send(signal.SIGCONT)
    await until_answered(link)
    await link.close()


async def test_those_who_wait_for_a_turn_are_spared_too(redis: RedisServer) -> None:
    """Of a crowd that meets a stopped Redis hardly more are sent than there are connections."""
    limits = RedisLimits(call_seconds=0.5, connections=6)
    link = redis.link(msgspec.structs.replace(PATIENT, connections=limits.connections))
    await asyncio.gather(*[link.ask([("PING",)]) for _ in range(limits.connections)])
    before = link.counts.round_trips
    redis.send(signal.SIGSTOP)
    link.limits = limits
    sent = [asyncio.create_task(link.ask([("PING",)])) for _ in range(limits.connections)]
    await until(lambda: link.counts.round_trips - before == limits.connections)
    await asyncio.sleep(limits.call_seconds / 2)  # so that they still wait when the others fail
    waiting = [link.ask([("PING",)]) for _ in range(300)]
    answers = await asyncio.gather(*sent, *waiting, return_exceptions=True)
    assert all(isinstance(answer, RedisAway) for answer in answers)
    assert link.counts.round_trips - before < limits.connections + limits.failures_most
    redis.send(signal.SIGCONT)
    await link.close()


async def test_a_late_answer_is_not_taken_for_the_next_one(redis: RedisServer) -> None:
    """A connection on which an answer is missing is never used again."""
    link = redis.link(PATIENT)
    await link.ask([("MSET", "a", "of a", "b", "of b")])
    redis.send(signal.SIGSTOP)
    link.limits = HASTY
    with pytest.raises(RedisAway):
        await link.ask([("GET", "a")])
    redis.send(signal.SIGCONT)
    link.limits = PATIENT
    assert await link.ask([("GET", "b")]) == [b"of b"]
    await link.close()


async def test_whoever_leaves_takes_the_connection_along(redis: RedisServer) -> None:
    """A caller that is cancelled half-way leaves no answer behind for others."""
    link = redis.link(PATIENT)
    await link.ask([("MSET", "a", "of a", "b", "of b")])
    redis.send(signal.SIGSTOP)
    leaving = asyncio.create_task(link.ask([("GET", "a")]))
    await until(lambda: link.counts.round_trips == 2)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    redis.send(signal.SIGCONT)
    assert await link.ask([("GET", "b")]) == [b"of b"]
    assert link.counts.failures == 0
    await link.close()


async def fill(link: RedisLink) -> int:
    """Sets key after key until one is refused; answers how many were not."""
    for number in range(1_000):
        (reply,) = await link.ask([("SET", f"key {number}", b"x" * 20_000)])
        if isinstance(reply, Exception):
            return number
    raise AssertionError("it takes everything")


async def test_a_full_redis_refuses_and_is_not_away(tmp_path: Path) -> None:
    """What it still does, reading and deleting, is asked of it; told once, and once when over."""
    folder = tmp_path / "redis"
    async with started_redis(folder, eviction="noeviction", max_bytes=3_000_000) as redis:
        link = redis.link(PATIENT)
        with capture_logs() as logs:
            assert await fill(link) > 0
            assert not link.away
            assert await link.ask([("STRLEN", "key 0"), ("DEL", "key 0")]) == [20_000, 1]
        told = [entry["event"] for entry in logs if entry.get("redis") == link.name]
        assert told == ["redis refuses", "redis refuses no more"]
        await link.close()


async def test_a_wrong_password_is_a_redis_that_is_away(redis: RedisServer) -> None:
    """Nobody but its own callers gets in, and a caller that does not goes elsewhere."""
    link = redis.link(password="another one")
    await given_up(link)
    await spares_everybody(link)
    await link.close()
    nobody = RedisLink("nobody", RedisAddress(redis.address.host, redis.address.port))
    await given_up(nobody)
    await nobody.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\x00\xff\r\n",
        b"$12\r\nab",
        b"*1000\r\n",
        b"",
    ],
)
async def test_what_is_no_redis_is_away(garbage: bytes) -> None:
    """Garbage, half an answer, and a connection that closes are failures like any other."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(garbage)
        await writer.drain()
        if garbage:
            await reader.read(-1)

    async with listening(answer) as address:
        link = RedisLink("no redis", address, HASTY)
        await given_up(link)
        await spares_everybody(link)
        await link.close()


async def test_a_slow_redis_is_away(redis: RedisServer) -> None:
    """Half a second of delay is no answer, to those who ask or to the probe."""
    delay = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection(redis.address.host, redis.address.port)
        try:
            while asked := await reader.read(65_536):
                behind[1].write(asked)
                answered = await behind[0].read(65_536)
                if not delay.is_set():
                    await asyncio.sleep(0.5)
                writer.write(answered)
        finally:
            behind[1].close()

    async with listening(answer) as slow:
        link = RedisLink("slow", RedisAddress(slow.host, slow.port, REDIS_PASSWORD), HASTY)
        await given_up(link)
        await spares_everybody(link)
        delay.set()
        await until_answered(link)
        await link.close()


async def test_whatever_becomes_of_the_driver(redis: RedisServer) -> None:
    """An error that nobody foresaw is a Redis that is away, and the probe outlives it, too."""
    link = redis.link(PATIENT)
    connect = link._connect

    async def fail() -> Connection:
        raise RuntimeError("unable to perform operation on a closed transport")

    link._connect = fail
    await given_up(link)
    await spares_everybody(link)
    link._connect = connect
    await until_answered(link)
    await link.close()


async def test_a_closed_link_is_away(redis: RedisServer) -> None:
    """It opens no connection any more, and a round trip under way leaves none behind."""
    link = redis.link(PATIENT)
    await link.ask([("PING",)])
    redis.send(signal.SIGSTOP)
    under_way = asyncio.create_task(link.ask([("PING",)]))
    await until(lambda: link.counts.round_trips == 2)
    await link.close()
    redis.send(signal.SIGCONT)
    assert await under_way == [b"PONG"]
    assert link._idle == []
    await spares_everybody(link)
    assert link.away


async def test_our_redis_is_private_and_keeps_nothing(redis: RedisServer) -> None:
    """Loopback alone, a password that no command line shows, and nothing on disk."""
    link = redis.link(PATIENT)
    bound, saved, appended = await link.ask(
        [("CONFIG", "GET", "bind"), ("CONFIG", "GET", "save"), ("CONFIG", "GET", "appendonly")]
    )
    assert bound == [b"bind", b"127.0.0.1"]
    assert saved == [b"save", b""]
    assert appended == [b"appendonly", b"no"]
    await link.ask([("SET", "a", "1")])
    await link.close()
    command_line = Path(f"/proc/{redis.server.pid}/cmdline").read_bytes()
    assert REDIS_PASSWORD.encode() not in command_line
    folder = redis.server.program.folder
    assert (folder / "redis.conf").stat().st_mode & 0o777 == 0o600
    assert REDIS_PASSWORD not in redis.server.program.log.read_text()
    await redis.server.stop()
    assert sorted(path.name for path in folder.iterdir()) == ["log", "redis.conf"]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", RedisAddress("localhost", 6379)),
        ("redis://:a%40b@h:1/2", RedisAddress("h", 1, "a@b", database=2)),
        ("rediss://me:secret@h:7", RedisAddress("h", 7, "secret", "me", tls=True)),
    ],
)
async def test_addresses(url: str, address: RedisAddress) -> None:
    """A URL says where a Redis listens and who we are there."""
    assert RedisAddress.from_url(url) == address


@pytest.mark.parametrize("url", ["http://h", "redis://", "redis://:secret@h:x", "redis://h/secret"])
async def test_bad_addresses(url: str) -> None:
    """What is no address is refused, and no secret is repeated."""
    with pytest.raises(ValueError, match="write redis://") as refused:
        RedisAddress.from_url(url)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
