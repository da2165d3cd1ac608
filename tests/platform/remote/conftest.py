"""Keys of a house of the test's own, and stand-ins for instances that go wrong."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest_asyncio

from contracts.internal import House
from contracts.stand_ins import Instance, Script, Stand, standing


@pytest_asyncio.fixture(loop_scope="session")
async def house(tmp_path: Path) -> AsyncGenerator[House]:
    """Keys of all services, and ways between them, closed with the test."""
    one = House(tmp_path / "keys")
    yield one
    await one.close()


@pytest_asyncio.fixture(loop_scope="session")
async def stand() -> AsyncGenerator[Stand]:
    """Makes instances that do as they are told; ended with the test."""
    async with AsyncExitStack() as stack:

        async def make(script: Script, *, ready: bool = True) -> Instance:
            return await stack.enter_async_context(standing(script, ready=ready))

        yield make
