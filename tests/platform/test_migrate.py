"""Migrations: each once, in order, together or not at all; roles that may do nothing else."""

import asyncio
import sys
from pathlib import Path

import asyncpg
import pytest

from faults.spine import write_package
from shop import SECRET, new_database
from tradewind.compose import PACKAGES
from tradewind.platform.database import Address, Database
from tradewind.platform.ids import new_id
from tradewind.platform.migrate import (
    MigrationError,
    address_of,
    migrate,
    read_migrations,
    role_of,
)

FIRST = {"0001_a.sql": "CREATE TABLE a (id int PRIMARY KEY);"}
SECOND = {**FIRST, "0002_b.sql": "CREATE TABLE b (id int PRIMARY KEY);"}


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The name of a package that can be imported once it is written."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return f"moving_{new_id().hex}"


async def tables(owner: Address) -> set[str]:
    """The tables of the service."""
    connection = await asyncpg.connect(**owner.arguments())
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'moving'")
    finally:
        await connection.close()
    return {row[0] for row in rows}


@pytest.mark.asyncio
async def test_each_runs_once(postgres: Address, tmp_path: Path, name: str) -> None:
    """A second start runs nothing; a new file runs alone, after the old ones."""
    owner = await new_database(postgres)
    packages = {"moving": write_package(tmp_path, name, FIRST)}
    ran = await migrate(owner, SECRET, packages)
    assert ran == [
        "moving/platform/0001_spine.sql",
        "moving/platform/0002_causes.sql",
        "moving/0001_a.sql",
    ]
    assert await migrate(owner, SECRET, packages) == []
    write_package(tmp_path, name, SECOND)
    assert await migrate(owner, SECRET, packages) == ["moving/0002_b.sql"]
    assert {"a", "b", "outbox", "inbox", "idempotency_keys"} <= await tables(owner)


@pytest.mark.asyncio
async def test_many_processes_start_at_once(postgres: Address, tmp_path: Path, name: str) -> None:
    """One of them migrates, the others wait for it and find nothing to do."""
    owner = await new_database(postgres)
    packages = {"moving": write_package(tmp_path, name, SECOND)}
    ran = await asyncio.gather(*(migrate(owner, SECRET, packages) for _ in range(4)))
    assert sorted(map(len, ran)) == [0, 0, 0, 4]


@pytest.mark.asyncio
async def test_one_that_was_changed_after_it_ran_is_refused(
    postgres: Address, tmp_path: Path, name: str
) -> None:
    """Nobody can know then what the schema is; the message says what to do."""
    owner = await new_database(postgres)
    packages = {"moving": write_package(tmp_path, name, FIRST)}
    await migrate(owner, SECRET, packages)
    write_package(tmp_path, name, {"0001_a.sql": "CREATE TABLE a (id bigint PRIMARY KEY);"})
    with pytest.raises(MigrationError, match="changed after it ran"):
        await migrate(owner, SECRET, packages)


@pytest.mark.asyncio
async def test_one_that_fails_leaves_nothing(postgres: Address, tmp_path: Path, name: str) -> None:
    """It is rolled back as a whole, named, and runs when it is mended."""
    owner = await new_database(postgres)
    broken = {**FIRST, "0002_b.sql": "CREATE TABLE b (id int); SELECT nonsense;"}
    packages = {"moving": write_package(tmp_path, name, broken)}
    with pytest.raises(MigrationError, match=r"0002_b\.sql failed"):
        await migrate(owner, SECRET, packages)
    assert "b" not in await tables(owner)
    write_package(tmp_path, name, SECOND)
    assert await migrate(owner, SECRET, packages) == ["moving/0002_b.sql"]


@pytest.mark.asyncio
async def test_what_comes_after_the_old_code_is_gone_waits(
    postgres: Address, tmp_path: Path, name: str
) -> None:
    """Phase `pre` leaves `.post.sql` files alone, so that a rolling upgrade stops nobody."""
    owner = await new_database(postgres)
    files = {**FIRST, "0002_drop_a.post.sql": "DROP TABLE a;"}
    packages = {"moving": write_package(tmp_path, name, files)}
    await migrate(owner, SECRET, packages, ["pre"])
    assert "a" in await tables(owner)
    assert await migrate(owner, SECRET, packages, ["post"]) == ["moving/0002_drop_a.post.sql"]
    assert "a" not in await tables(owner)


@pytest.mark.asyncio
async def test_a_role_has_its_rows_and_nothing_else(postgres: Address) -> None:
    """The database itself refuses SQL across services, and any DDL of a service."""
    owner = await new_database(postgres)
    await migrate(owner, SECRET, PACKAGES)
    database = Database(address_of(owner, SECRET, "orders"))
    await database.open()
    refused = (
        "SELECT 1 FROM products.stock",
        "SELECT 1 FROM users.users",
        "CREATE TABLE mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "DROP TABLE orders",
        "TRUNCATE orders",
        "INSERT INTO schema_migrations (name, checksum) VALUES ('9999', '')",
        "SET ROLE tradewind_users",
    )
    try:
        for query in refused:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with database.transaction() as tx:
                    await tx.execute(query)
        async with database.transaction() as tx:
            assert await tx.fetch_value("SELECT count(*) FROM orders") == 0
            assert await tx.fetch_value("SELECT current_user") == role_of("orders")
    finally:
        await database.close()


def test_every_service_s_migrations_are_numbered_and_distinct() -> None:
    """Their order is their numbers', and no two have the same."""
    for package in PACKAGES.values():
        numbers = [one.name[:4] for one in read_migrations(package)]
        assert numbers == sorted(numbers)
        assert len(numbers) == len(set(numbers)) > 0
