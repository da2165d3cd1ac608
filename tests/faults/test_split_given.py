"""A split store on servers of somebody else, which it neither starts nor ends."""

from collections.abc import AsyncGenerator
from pathlib import Path

import asyncpg
import httpx
import pytest
import pytest_asyncio

from acceptance import accept, handed_out
from faults.ends import new_goods
from faults.splitting import FIRST_STAFF, RunningSplit
from pooler import pooler
from servers import started
from shop import eventually, free_port, key, new_database, purchase
from tradewind.platform.database import Address
from tradewind.split.redis import redis_program
from tradewind.split.standing import told_parts
from tradewind.topology.services import SERVICES

pytestmark = pytest.mark.asyncio
SERVER_CONNECTIONS = 4
"""That the pooler makes for a role."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def owner(postgres: Address) -> Address:
    """A database that is there, and the role that owns it."""
    return await new_database(postgres)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(
    owner: Address, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[RunningSplit]:
    """On a PostgreSQL behind a PgBouncer and a Redis, all of them there; three instances of orders,
    one of users.
    """
    home: Path = tmp_path_factory.mktemp("given")
    redis = redis_program(
        "given", home / "redis", free_port(), "a-password", eviction="volatile-ttl"
    )
    port = free_port()
    few = pooler(owner, home / "pgbouncer", port, server_connections=SERVER_CONNECTIONS)
    async with started([redis, few]):
        url = f"redis://:a-password@{redis.where}/0"
        there = f"{owner.database}?host={owner.host}&sslmode=disable"
        store = RunningSplit(
            home,
            {
                "TRADEWIND_DATABASE_URL": f"postgresql://{owner.user}:{owner.password}@localhost/"
                + there,
                "TRADEWIND_POOLER_URL": f"postgresql://127.0.0.1:{port}/{owner.database}",
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


async def test_services_do_not_know_the_owner(running: RunningSplit, owner: Address) -> None:
    """Each connects as itself; the role that made theirs is told to none of them."""
    assert owner.password
    for service in SERVICES:
        [pid] = running.pids(f"{service} 1")
        told = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"TRADEWIND_DATABASE_URL=postgresql://localhost/" in told
        assert owner.password.encode() not in told


@pytest.mark.usefixtures("running")
async def test_connections_are_the_pooler_s(owner: Address) -> None:
    """However many instances there are, a role has no more of the server than the pooler gives."""
    connection = await asyncpg.connect(**owner.arguments())
    try:
        many = await connection.fetch(
            """
            SELECT usename, count(*) FROM pg_stat_activity
            WHERE datname = $1 AND usename LIKE 'tradewind_%' GROUP BY usename
            """,
            owner.database,
        )
    finally:
        await connection.close()
    assert {role for role, _ in many} == {f"tradewind_{name}" for name in SERVICES}
    assert max(count for _, count in many) <= SERVER_CONNECTIONS


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


@handed_out
async def test_the_contract_is_kept(running: RunningSplit) -> None:
    """All that a customer can see, with every connection of a service PgBouncer's."""
    await accept(running.base, (FIRST_STAFF, running.password))


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
