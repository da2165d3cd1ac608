"""A primary and a replica of a test's own, and what may be done to them."""

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from faults.spine import open_spine
from shop import SECRET, eventually
from tradewind.platform.database import Address, Database, Reading
from tradewind.platform.embedded.endpoint import Endpoint, find_replica_endpoint
from tradewind.platform.embedded.replica import EmbeddedReplica
from tradewind.platform.embedded.server import EmbeddedPostgres
from tradewind.platform.migrate import address_of
from tradewind.platform.replica import Replica


def address(endpoint: Endpoint, database: str = "postgres") -> Address:
    """The superuser's address of an embedded server."""
    return Address(
        endpoint.socket_directory, endpoint.port, endpoint.superuser, endpoint.password, database
    )


def processes_of(leader: int) -> list[int]:
    """The processes of a server, in whatever process groups they are."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        pid = int(entry.parent.name)
        if leader in (pid, int(fields[1])) and fields[0] != "Z":
            found.append(pid)
    return found


def send(server: EmbeddedPostgres, number: signal.Signals, *, leader_last: bool = False) -> None:
    """A signal to all processes of a server."""
    assert server.pid is not None
    pids = processes_of(server.pid)
    for pid in sorted(pids, key=lambda pid: (pid == server.pid) == leader_last):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


class Pair:
    """A primary, its replica, and a database with the table `effects` in the schema `trial`."""

    def __init__(self, primary: EmbeddedPostgres, replica: EmbeddedReplica, home: Path) -> None:
        self.primary = primary
        self.replica = replica
        self.home = home
        self.said: list[str] = []
        self.owner = Address("", 0, "", "", "")
        self._opened: list[Database] = []

    async def database(self, *, most: int = 6, **more: Any) -> Database:
        """A process of the service `trial` that reads from the replica; ended with the pair."""
        own = address_of(self.owner, SECRET, "trial")
        there = msgspec.structs.replace(own, host=find_replica_endpoint(self.home).socket_directory)
        given: dict[str, Any] = {"replica": there, **more}
        database = Database(own, most=most, **given)
        self._opened.append(database)
        await database.open()
        return database

    async def ask(self, query: str, *arguments: Any, replica: bool = False) -> Any:
        """What the primary's superuser is answered, or the replica's."""
        host = find_replica_endpoint(self.home).socket_directory if replica else self.owner.host
        there = msgspec.structs.replace(self.owner, host=host)
        connection = await asyncpg.connect(**there.arguments(), timeout=10)
        try:
            return await connection.fetchval(query, *arguments)
        finally:
            await connection.close()

    async def received(self, position: int) -> None:
        """Waits until the replica has got, though perhaps not replayed, so much."""
        got = "SELECT (pg_last_wal_receive_lsn() - '0/0'::pg_lsn)::bigint"

        async def has_it() -> bool:
            return await self.ask(got, replica=True) >= position

        await eventually(has_it)

    async def pause(self) -> None:
        """The replica receives, but replays no more."""
        await self.ask("SELECT pg_wal_replay_pause()", replica=True)

    async def resume(self) -> None:
        """It replays again."""
        await self.ask("SELECT pg_wal_replay_resume()", replica=True)

    @asynccontextmanager
    async def commits_held(self) -> AsyncGenerator[None]:
        """The primary flushes commits but lets nobody see them: it waits for a replica that is not
        there. On leaving they go on.
        """
        await self.set("synchronous_standby_names", "nobody")
        try:
            yield
        finally:
            await self.set("synchronous_standby_names", "")

    async def set(self, name: str, value: str) -> None:
        """Sets one of the primary's parameters."""
        await self.ask(f"ALTER SYSTEM SET {name} = '{value}'")
        await self.ask("SELECT pg_reload_conf()")

        async def known() -> bool:
            return await self.ask(f"SHOW {name}") == value

        await eventually(known)

    async def end(self) -> None:
        """Closes all connections of `database`."""
        for database in self._opened:
            await database.close()


@asynccontextmanager
async def open_pair(folder: Path, **settings: str) -> AsyncGenerator[Pair]:
    """A pair that runs; `settings` are the replica's. Ended on leaving, whatever became of it."""
    home, said = folder / "home", list[str]()
    primary = EmbeddedPostgres(home)
    replica = EmbeddedReplica(home, log=said.append, settings=settings)
    pair = Pair(primary, replica, home)
    pair.said = said
    try:
        start = address(await primary.start())
        async with open_spine(start, folder) as spine:
            pair.owner = spine.owner
            await replica.start()
            try:
                yield pair
            finally:
                await pair.end()
    finally:
        await replica.stop()
        await primary.stop()


async def note(database: Database, what: str = "something") -> None:
    """One row more."""
    async with database.statement() as tx:
        await tx.execute("INSERT INTO effects (what) VALUES ($1)", what)


async def note_in_transaction(database: Database) -> None:
    """The same, with a BEGIN and a COMMIT."""
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO effects (what) VALUES ('something')")


async def count(reading: Reading) -> int:
    """How many rows there are."""
    return int(await reading.fetch_value("SELECT count(*) FROM effects"))


async def where(reading: Reading) -> bool:
    """Whether it is the replica that is asked."""
    return bool(await reading.fetch_value("SELECT pg_is_in_recovery()"))


def reads(database: Database) -> Replica:
    """What a database knows of its replica."""
    assert database.replica is not None
    return database.replica


async def taken_back(database: Database) -> None:
    """Waits until the replica answers again."""

    async def answers() -> bool:
        return not reads(database).resting and await database.read(where)

    await eventually(answers)


async def left_alone(database: Database) -> None:
    """Waits until reads no longer ask the replica."""

    async def rests() -> bool:
        return reads(database).resting

    await eventually(rests)
