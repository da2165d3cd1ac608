"""A real server around an application, in the test's own event loop, on a free loopback port; and
a PostgreSQL of a test's own, with its replica.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from pairs import Pair, open_pair
from shop import PATIENCE_SECONDS, free_port
from tradewind.platform import database as database_module
from tradewind.platform import replica as replica_module
from tradewind.platform.web.asgi import Application
from tradewind.platform.web.serving import ServingSettings, serve


class Served:
    """One application being served; `raw` speaks to it byte by byte."""

    def __init__(self, port: int, stop: asyncio.Event, serving: asyncio.Task[None]) -> None:
        self.port = port
        self.base = f"http://127.0.0.1:{port}"
        self.stop = stop
        self.serving = serving
        self.client = httpx.AsyncClient(base_url=self.base, timeout=PATIENCE_SECONDS)

    async def raw(self, sent: bytes) -> bytes:
        """Send these bytes; give all that comes back until the server closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(sent)
            await writer.drain()
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await reader.read()
        finally:
            writer.close()

    async def end(self) -> None:
        """Stop gracefully and wait for it."""
        await self.client.aclose()
        self.stop.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(self.serving, return_exceptions=True)


Serving = Callable[..., Awaitable[Served]]


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Serving]:
    """Each application given to it is being listened for until the test ends."""
    running: list[Served] = []

    async def start(app: Application | Any, **settings: Any) -> Served:
        port = free_port()
        stop, ready = asyncio.Event(), asyncio.Event()
        chosen = ServingSettings(**settings)
        task = asyncio.create_task(
            serve(app, "127.0.0.1", port, settings=chosen, ready=ready.set, stop=stop)
        )
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            waiting.cancel()
            task.result()
        one = Served(port, stop, task)
        running.append(one)
        return one

    yield start
    for one in running:
        await one.end()


@pytest_asyncio.fixture(loop_scope="session")
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """A primary and its replica, both well, for one test: its processes may be stopped."""
    async with open_pair(tmp_path) as one:
        yield one


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """For databases opened from now on every question to a server has much time.

    For tests that look at who answers, and not at how quick he is. A replica that is behind is
    still waited for a moment only.
    """
    monkeypatch.setattr(database_module, "_POSITION_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(replica_module, "READ_SECONDS", PATIENCE_SECONDS)
