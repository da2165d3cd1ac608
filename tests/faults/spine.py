"""A service of nothing but the spine, on a database of its own: outbox, inbox, idempotency keys.

Its one table of its own, `effects`, is where reactions and actions of tests leave their mark.
"""

import logging
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import asyncpg
import structlog

from shop import SECRET, new_database
from tradewind.platform.database import Address, Database, Probe
from tradewind.platform.events import Event, Message, encode
from tradewind.platform.ids import new_id
from tradewind.platform.migrate import address_of, migrate

TABLE = """
CREATE TABLE effects (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text NOT NULL);
CREATE TABLE levels (name text PRIMARY KEY, units int NOT NULL CHECK (units >= 0));
"""


class Happened(Event, frozen=True, kw_only=True):
    """Something happened; `what` says what."""

    TYPE: ClassVar[str] = "trial.happened.v1"
    what: str

    @property
    def key(self) -> str:
        """Itself."""
        return self.what


class HappenedToo(Event, frozen=True, kw_only=True):
    """Another kind of event."""

    TYPE: ClassVar[str] = "trial.happened_too.v1"
    what: str

    @property
    def key(self) -> str:
        """Itself."""
        return self.what


class Spine:
    """One database with the schema `trial`, and any number of processes' connections to it."""

    def __init__(self, owner: Address) -> None:
        self.owner = owner
        self._opened: list[Database] = []

    async def database(self, *, most: int = 6, probe: Probe | None = None) -> Database:
        """Connections as the role of the service; ended with the spine."""
        database = Database(address_of(self.owner, SECRET, "trial"), most=most, probe=probe)
        await database.open()
        self._opened.append(database)
        return database

    async def superuser(self, query: str, *arguments: Any) -> list[Any]:
        """A statement of somebody who may do everything."""
        connection = await asyncpg.connect(**self.owner.arguments())
        try:
            await connection.execute("SET search_path = trial")
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()

    async def effects(self) -> list[str]:
        """What was left, in order."""
        return [row[0] for row in await self.superuser("SELECT what FROM effects ORDER BY id")]

    async def end(self) -> None:
        """Closes all connections."""
        for database in self._opened:
            await database.close()


def write_package(folder: Path, name: str, migrations: dict[str, str]) -> str:
    """A package on disk that holds these migrations; gives its name, to be found in `folder`."""
    package = folder / name
    (package / "migrations").mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text('"""A service of a test."""\n')
    for file, sql in migrations.items():
        (package / "migrations" / file).write_text(sql)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return name


@asynccontextmanager
async def open_spine(postgres: Address, folder: Path) -> AsyncGenerator[Spine]:
    """A migrated spine; ended on leaving."""
    package = write_package(folder, f"trial_{new_id().hex}", {"0001_effects.sql": TABLE})
    owner = await new_database(postgres)
    await migrate(owner, SECRET, {"trial": package})
    spine = Spine(owner)
    try:
        yield spine
    finally:
        await spine.end()
        sys.path.remove(str(folder))


@contextmanager
def silence() -> Generator[None]:
    """No log while failures are made on purpose: so many tracebacks take longer than the tests."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def messages_of(events: Sequence[Event], ids: Sequence[UUID] | None = None) -> list[Message]:
    """Events as they come from a bus."""
    known = ids or [new_id() for _ in events]
    return [
        Message(id_, event.TYPE, event.key, encode(event), datetime.now(UTC))
        for id_, event in zip(known, events, strict=True)
    ]
