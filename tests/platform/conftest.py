"""A real server around an application, in the test's own event loop, on a free loopback port."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest_asyncio

from shop import free_port
from tradewind.platform.web.asgi import Application
from tradewind.platform.web.serving import ServingSettings, serve

PATIENCE_SECONDS = 30.0


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
