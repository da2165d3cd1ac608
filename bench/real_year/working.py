"""Much at once, but not too much; one rule: the first thing that goes wrong ends all of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def work_off(things: Iterable[T], work: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """Does the work for each, in their order, so many at the same time."""
    left = iter(things)

    async def worker() -> None:
        for one in left:
            await work(one)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
