"""Counters: whole stores in the test's own hands, without workers and without a server."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import pytest_asyncio

from orders.parts import Counter, fresh_owner
from tradewind.platform.database import Address


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_counter(postgres: Address) -> AsyncGenerator[Counter]:
    """One store for all tests that do not mind what others did there."""
    counter = await Counter.open(await fresh_owner(postgres))
    yield counter
    await counter.close()


@pytest_asyncio.fixture(loop_scope="session")
async def counter(shared_counter: Counter) -> AsyncGenerator[Counter]:
    """The shared one; after each test everything has settled and no invariant is broken (P18)."""
    yield shared_counter
    await shared_counter.store.settle()
    known, shared_counter.known_broken = shared_counter.known_broken, await shared_counter.broken()
    assert shared_counter.known_broken == known


Open = Callable[..., Awaitable[list[Counter]]]


@pytest_asyncio.fixture(loop_scope="session")
async def counters(postgres: Address) -> AsyncGenerator[Open]:
    """Opens so many processes' worth of a store on one database of its own."""
    opened: list[Counter] = []

    async def make(
        many: int, changes: Mapping[str, str] | None = None, **wiring: Any
    ) -> list[Counter]:
        owner = await fresh_owner(postgres)
        made = [await Counter.open(owner, changes, **wiring) for _ in range(many)]
        opened.extend(made)
        return made

    yield make
    for one in opened:
        await one.close()
