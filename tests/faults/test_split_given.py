"""A split store on servers of somebody else, which it neither starts nor ends."""

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from faults.ends import new_goods
from faults.splitting import RunningSplit
from servers import started
from shop import eventually, free_port, key, new_database, purchase
from tradewind.platform.database import Address
from tradewind.split.redis import redis_program
from tradewind.split.standing import told_parts
from tradewind.topology.services import SERVICES

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(
    postgres: Address, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[RunningSplit]:
    """On a PostgreSQL and a Redis that are there; three instances of orders, one of users."""
    home: Path = tmp_path_factory.mktemp("given")
    owner = await new_database(postgres)
    redis = redis_program(
        "given", home / "redis", free_port(), "a-password", eviction="volatile-ttl"
    )
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(started([redis]))
        url = f"redis://:a-password@{redis.where}/0"
        store = RunningSplit(
            home,
            {
                "TRADEWIND_DATABASE_URL": f"postgresql://{owner.user}:{owner.password}@localhost/"
                f"{owner.database}?host={owner.host}&sslmode=disable",
                "TRADEWIND_SESSIONS_URL": url,
                "TRADEWIND_CACHE_URL": url,
            },
        )
        store.words = (*store.words, "--instances", "orders=3,users=1")
        await store.start()
        yield store
        await store.stop()


async def test_what_is_given_is_not_started(running: RunningSplit) -> None:
    """Named servers are left to their owner; the rest runs, in the numbers asked for."""
    parts = told_parts(running.home)
    assert not [name for name in parts if "redis" in name or "PostgreSQL" in name]
    numbers = {name: sum(part.startswith(f"{name} ") for part in parts) for name in SERVICES}
    assert numbers == {"users": 1, "products": 2, "orders": 3, "notifications": 2}
    assert {"rabbitmq", "haproxy"} <= set(parts)


async def test_it_sells(running: RunningSplit) -> None:
    """A purchase goes all the way, and is told of."""
    [sku] = await new_goods(running, 1)
    async with httpx.AsyncClient(base_url=running.base, timeout=60) as client:
        body = purchase(lines=[{"sku": sku, "quantity": 1}])
        bought = await client.post("/v1/checkout", json=body, headers=key())
        assert bought.status_code == 201, bought.text
        token = {"Order-Token": bought.json()["token"]}

        async def seen() -> bool:
            path = f"/v1/orders/{bought.json()['id']}"
            return (await client.get(path, headers=token)).status_code == 200

        await eventually(seen)
    code, said = await running.command("events", "drained")
    assert code == 0, said


async def test_the_doctor_asks_every_part(running: RunningSplit) -> None:
    """From another terminal: each server and each instance is asked, and told of."""
    code, said = await running.command("doctor")
    assert code == 0, said
    assert said.count(" answers.") == 4 + 8, said


async def test_nothing_outlives_its_owner(running: RunningSplit) -> None:
    """Where the command itself is killed all that it started ends, and it can start again."""
    pids = {part.pid for part in told_parts(running.home).values()}
    running.kill()
    await running.gone()

    async def all_gone() -> bool:
        return not [pid for pid in pids if pid is not None and Path(f"/proc/{pid}").exists()]

    await eventually(all_gone, patience=60)
    await running.start()
    code, said = await running.check()
    assert code == 0, said
