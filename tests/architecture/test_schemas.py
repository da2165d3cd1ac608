"""schema.sql against the migrations, on the real PostgreSQL; one rule: the catalogs decide."""

from importlib.resources import files

import asyncpg
import pytest

from architecture.schemas import dump, read
from shop import SECRET, new_database
from tradewind.compose import PACKAGES
from tradewind.platform.database import Address
from tradewind.platform.migrate import migrate


@pytest.mark.asyncio
async def test_schema_is_what_migrations_make(postgres: Address) -> None:
    """Each service's schema.sql makes the same schema as its migrations."""
    migrated, written = await new_database(postgres), await new_database(postgres)
    await migrate(migrated, SECRET, PACKAGES)
    await make_from_files(written)
    for service in PACKAGES:
        made, told = await read(migrated, service), await read(written, service)
        for part, rows in made.items():
            assert rows == told[part], f"{service}: run write_schemas if the migrations are right"
        assert made["tables"], "an empty schema would equal any other"


@pytest.mark.asyncio
async def test_schema_is_written_by_the_tool(postgres: Address) -> None:
    """Nobody edits schema.sql: it is, letter by letter, what the tool writes."""
    migrated = await new_database(postgres)
    await migrate(migrated, SECRET, PACKAGES)
    for service, package in PACKAGES.items():
        assert files(package).joinpath("schema.sql").read_text() == dump(migrated, service)


async def make_from_files(owner: Address) -> None:
    """Every service's schema, made by its schema.sql alone."""
    connection = await asyncpg.connect(**owner.arguments(), timeout=10)
    try:
        await connection.execute("CREATE EXTENSION pg_trgm SCHEMA public")
        for service, package in PACKAGES.items():
            await connection.execute(f"CREATE SCHEMA {service}")
            await connection.execute(f"SET search_path = {service}, public")
            await connection.execute(files(package).joinpath("schema.sql").read_text())
    finally:
        await connection.close()
