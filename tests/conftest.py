"""A whole store on a real PostgreSQL, for every test that wants one.

One embedded PostgreSQL serves the whole run; `store` is one store for all tests that only use its
API, `new_store` makes one of a test's own on a database of its own.
"""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import settings

from faults.splitting import SplitWorld
from shop import NewStore, Shop, served_store
from tradewind.platform.database import Address
from tradewind.platform.embedded.server import EmbeddedPostgres

# Everywhere as in CI: how long an example takes is the machine's affair, and one run finds what the
# next one finds. Other examples: make test ARGS=--hypothesis-profile=default
settings.load_profile("ci")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Address]:
    """The run's own PostgreSQL; gives its superuser's address."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("home"))
    endpoint = await server.start()
    try:
        # Many stores at once, each with its pools; what an owner changes so, stays.
        connection = await asyncpg.connect(**endpoint.connect_arguments())
        await connection.execute("ALTER SYSTEM SET max_connections = 400")
        await connection.close()
        await server.stop()
        endpoint = await server.start()
        yield Address(
            endpoint.socket_directory,
            endpoint.port,
            endpoint.superuser,
            endpoint.password,
            "postgres",
        )
    finally:
        await server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def store(postgres: Address) -> AsyncGenerator[Shop]:
    """One store for all tests that only use its API."""
    async for shop in served_store(postgres):
        yield shop


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def split(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[SplitWorld]:
    """One split store, behind HAProxy and on real servers, for all tests that only use its API."""
    world = SplitWorld(tmp_path_factory.mktemp("split"))
    yield world
    await world.end()


@pytest_asyncio.fixture(loop_scope="session")
async def new_store(postgres: Address) -> AsyncGenerator[NewStore]:
    """Makes stores of the test's own, each on a database of its own."""
    running: list[AsyncGenerator[Shop]] = []

    async def make(changes: Mapping[str, str] | None = None, **wiring: Any) -> Shop:
        generator = served_store(postgres, changes, **wiring)
        running.append(generator)
        return await anext(generator)

    yield make
    for generator in running:
        await generator.aclose()
