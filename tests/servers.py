"""Real servers for tests, started as the store starts them; one rule: whoever starts one ends it.

A server lives on free loopback ports and in a folder of its own, and holds nothing of another run.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from shop import free_port
from tradewind.platform.redis.connection import RedisAddress, RedisLimits, RedisLink
from tradewind.split.programs import Program, ProgramServer
from tradewind.split.rabbitmq import BrokerPlace, rabbitmq
from tradewind.split.redis import Eviction, redis_program

REDIS_PASSWORD = 'only for tests: "ünsafe\\/@:#'


@asynccontextmanager
async def started(programs: Sequence[Program]) -> AsyncGenerator[list[ProgramServer]]:
    """The programs running, each started when those before it answer; ended in reverse."""
    servers: list[ProgramServer] = []
    try:
        for program in programs:
            server = ProgramServer(program)
            servers.append(server)
            await server.start()
        yield servers
    finally:
        for server in reversed(servers):
            await server.stop()


class Broker:
    """A RabbitMQ that runs; `server` is the broker itself, to be killed, stopped and started."""

    def __init__(self, place: BrokerPlace, server: ProgramServer) -> None:
        self.place = place
        self.url = place.url
        self.server = server


@asynccontextmanager
async def started_broker(
    folder: Path, password: str = "only for tests: ünsafe/@:#"
) -> AsyncGenerator[Broker]:
    """A RabbitMQ of its own in the folder; it takes about five seconds to come up."""
    place = BrokerPlace(
        folder=folder,
        port=free_port(),
        distribution_port=free_port(),
        epmd_port=free_port(),
        password=password,
    )
    async with started(rabbitmq(place)) as servers:
        yield Broker(place, servers[-1])


class RedisServer:
    """A Redis that runs; `server` is to be killed, stopped and started again, on the same port."""

    def __init__(self, address: RedisAddress, server: ProgramServer) -> None:
        self.address = address
        self.server = server

    def link(self, limits: RedisLimits | None = None, password: str = REDIS_PASSWORD) -> RedisLink:
        """A new way to it."""
        address = RedisAddress(self.address.host, self.address.port, password)
        return RedisLink("redis of a test", address, limits)

    def send(self, number: signal.Signals) -> None:
        """Sends its process a signal."""
        assert self.server.pid is not None
        os.kill(self.server.pid, number)

    async def kill(self) -> None:
        """Ends it with -9 and waits for that."""
        self.send(signal.SIGKILL)
        await self.server.wait()


@asynccontextmanager
async def started_redis(
    folder: Path, *, eviction: Eviction = "volatile-ttl", max_bytes: int = 64 * 1024 * 1024
) -> AsyncGenerator[RedisServer]:
    """A Redis of its own in the folder."""
    port = free_port()
    program = redis_program(
        "redis", folder, port, REDIS_PASSWORD, eviction=eviction, max_bytes=max_bytes
    )
    async with started([program]) as (server,):
        yield RedisServer(RedisAddress("127.0.0.1", port, REDIS_PASSWORD), server)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Broker]:
    """The run's own RabbitMQ. Whoever stops or kills it starts it again."""
    async with started_broker(tmp_path_factory.mktemp("broker")) as one:
        yield one


async def balancer_told(control: Path, service: str, what: str = "status") -> list[str]:
    """What a HAProxy says at its socket of each instance of a service, in one of its columns.

    A status is `UP`, `DOWN` or `NOLB`, without how many looks are to follow.
    """
    reader, writer = await asyncio.open_unix_connection(str(control))
    writer.write(b"show stat " + service.encode() + b" 4 -1\n")
    lines = (await reader.read()).decode().strip().splitlines()
    writer.close()
    column = lines[0].split(",").index(what)
    return [line.split(",")[column].split(" ")[0] for line in lines[1:] if line]
