"""Writes each service's schema.sql; one rule: they come from the migrations, never from a hand.

Run as `.venv/bin/python -m tests.architecture.write_schemas`.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from architecture.schemas import dump
from architecture.tree import PACKAGE, name_of
from tradewind.compose import PACKAGES
from tradewind.platform.database import Address
from tradewind.platform.embedded.server import EmbeddedPostgres
from tradewind.platform.migrate import migrate


async def write_schemas() -> None:
    """Migrates an empty database of its own and writes down what came of it."""
    with tempfile.TemporaryDirectory() as home:
        server = EmbeddedPostgres(Path(home))
        at = await server.start()
        try:
            owner = Address(at.socket_directory, at.port, at.superuser, at.password, "postgres")
            await migrate(owner, b"of no use to anybody", PACKAGES)
            for service in PACKAGES:
                path = PACKAGE / service / "schema.sql"
                path.write_text(dump(owner, service))
                print(name_of(path))
        finally:
            await server.stop()


if __name__ == "__main__":
    asyncio.run(write_schemas())
