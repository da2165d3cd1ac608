"""One RabbitMQ for all tests of this folder, and a service of nothing but the spine."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest_asyncio

from faults.carrying import Lane
from faults.spine import open_spine, silence
from servers import Broker, broker
from tradewind.platform.database import Address

__all__ = ["broker"]


@pytest_asyncio.fixture(loop_scope="session")
async def lane(postgres: Address, broker: Broker, tmp_path: Path) -> AsyncGenerator[Lane]:
    """A publisher, its queue and who hears it, on a database of the test's own."""
    async with open_spine(postgres, tmp_path) as spine:
        one = Lane(spine, broker.url)
        await one.begin()
        with silence():
            try:
                yield one
            finally:
                await one.end()
