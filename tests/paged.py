"""Instances that share their pages in a real Redis; one rule: each has a way of its own to it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from servers import RedisServer
from tradewind.platform.cache import Answer, Kept
from tradewind.platform.clock import Clock
from tradewind.platform.redis.connection import RedisLimits, RedisLink
from tradewind.platform.redis.pages import PageTimes, RedisPages

SECRET = b"secret of the store" * 2
PATIENT = RedisLimits(call_seconds=10.0, connect_seconds=10.0)
LONG = PageTimes(lifetime=60.0, early=1.0, fetching=30.0)
"""So that nothing ends by itself while a test looks."""
PUBLIC = [(b"cache-control", b"public, s-maxage=5"), (b"surrogate-key", b"p1 list")]
MakePages = Callable[..., RedisPages]


class Source:
    """Produces numbered answers; held back while `gate` is closed."""

    def __init__(self, headers: Any = PUBLIC, status: int = 200) -> None:
        self.calls = 0
        self.headers = headers
        self.status = status
        self.text = b""
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> Answer:
        """Reads, and answers when it may."""
        self.calls += 1
        number = self.calls
        if self.gate is not None:
            await self.gate.wait()
        return Answer(self.status, list(self.headers), self.text or b"answer %d" % number)


def body(found: object) -> bytes:
    """The body of whatever was found."""
    if isinstance(found, Kept):
        return found.body["body"]
    assert isinstance(found, Answer)
    return found.body


async def until(condition: Callable[[], bool]) -> None:
    """Waits, with patience, for what must come by itself."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


async def fetching(pages: RedisPages, source: Source) -> asyncio.Task[Answer]:
    """A fetch under way, held back."""
    source.gate = asyncio.Event()
    calls = source.calls
    task = asyncio.create_task(pages.fetch("/a", source))
    await until(lambda: source.calls > calls)
    return task


async def made_on(server: RedisServer) -> AsyncGenerator[MakePages]:
    """Makes the pages of one more instance each time it is called."""
    made: list[tuple[RedisPages, RedisLink]] = []

    def make(redis: RedisServer = server, limits: RedisLimits = PATIENT, **more: Any) -> RedisPages:
        link = redis.link(limits)
        clock, times = more.pop("clock", Clock()), more.pop("times", LONG)
        pages = RedisPages(link, SECRET, clock, times=times, **more)
        made.append((pages, link))
        return pages

    yield make
    for pages, link in made:
        await pages.close()
        await link.close()
