"""The replica beside the embedded PostgreSQL: made whole, kept up, and made anew where it must."""

import asyncio
import os
import shutil
import signal
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tradewind.platform.embedded import cluster
from tradewind.platform.embedded.endpoint import (
    Endpoint,
    find_endpoint,
    find_replica_endpoint,
)
from tradewind.platform.embedded.errors import EmbeddedError
from tradewind.platform.embedded.home import Home
from tradewind.platform.embedded.programs import Programs
from tradewind.platform.embedded.replica import EmbeddedReplica
from tradewind.platform.embedded.server import EmbeddedPostgres
from tradewind.platform.embedded.upstream import ROLE, SLOT
from tradewind.split.keeping import Keeper

Ask = Callable[[Endpoint, str], Awaitable[object]]
pytestmark = pytest.mark.asyncio

PATIENCE_SECONDS = 60.0
NOBODY = 65534


class Two:
    """A primary and its replica in one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.said: list[str] = []
        self.primary = EmbeddedPostgres(home)
        self.replica = EmbeddedReplica(home, log=self.said.append)

    async def write(self, number: int) -> None:
        """Saves a number."""
        connection = await asyncpg.connect(**find_endpoint(self.home).connect_arguments())
        await connection.execute("CREATE TABLE IF NOT EXISTS numbers (n int)")
        await connection.execute("INSERT INTO numbers VALUES ($1)", number)
        await connection.close()

    async def arrives(self, number: int) -> None:
        """Waits until the replica shows a number."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self._has(number):
                await asyncio.sleep(0.02)

    async def _has(self, number: int) -> bool:
        try:
            there = find_replica_endpoint(self.home).connect_arguments()
            connection = await asyncpg.connect(**there, timeout=5)
        except (OSError, TimeoutError, EmbeddedError, asyncpg.PostgresError):
            return False
        try:
            query = "SELECT count(*) FROM numbers WHERE n = $1"
            return bool(await connection.fetchval(query, number))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return False
        finally:
            connection.terminate()

    async def is_fed(self, ask: Ask) -> int:
        """Waits until the primary feeds it, a while after it answers; gives who receives."""
        query = "SELECT pid FROM pg_stat_wal_receiver WHERE status = 'streaming'"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (pid := await ask(find_replica_endpoint(self.home), query)) is None:
                await asyncio.sleep(0.02)
        return int(str(pid))

    def made(self) -> int:
        """How often it was made."""
        return len(self.reasons())

    def reasons(self) -> list[str]:
        """Why it was made, each time."""
        begins = "making the replica: "
        return [line.removeprefix(begins) for line in self.said if line.startswith(begins)]


@pytest_asyncio.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    """Both run; ended after the test."""
    pair = Two(tmp_path / "home")
    try:
        await pair.primary.start()
        await pair.replica.start()
        yield pair
    finally:
        await pair.replica.stop()
        await pair.primary.stop()


async def lose_the_place(two: Two, ask: Ask) -> None:
    """The primary keeps nothing for its replica any more."""
    here = find_endpoint(two.home)
    await ask(here, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    await ask(here, "SELECT pg_reload_conf()")
    for _ in range(4):
        await ask(here, "SELECT pg_logical_emit_message(false, 'fill', 'x')")
        await ask(here, "SELECT pg_switch_wal()")
    await ask(here, "CHECKPOINT")
    lost = f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{SLOT}'"
    assert await ask(here, lost) == "lost"
    await ask(here, "ALTER SYSTEM RESET max_slot_wal_keep_size")
    await ask(here, "SELECT pg_reload_conf()")


async def test_what_is_written_there_is_read_here(two: Two, ask: Ask) -> None:
    """It streams, reads only, and lets roles in with the primary's passwords."""
    await two.write(1)
    await two.arrives(1)
    there = find_replica_endpoint(two.home)
    assert await ask(there, "SELECT pg_is_in_recovery()") is True
    assert await ask(there, "SHOW listen_addresses") == ""
    assert await ask(there, "SHOW hot_standby_feedback") == "on"
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await ask(there, "CREATE TABLE no ()")
    await ask(find_endpoint(two.home), "CREATE ROLE reader LOGIN PASSWORD 'one'")
    await two.write(2)
    await two.arrives(2)
    connection = await asyncpg.connect(**there.connect_arguments("reader", "one"))
    await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(**there.connect_arguments("reader", "two"))


async def test_its_role_may_stream_and_no_more(two: Two, ask: Ask) -> None:
    """Not the superuser's password lies in its files, and only the owner reads them."""
    here = find_endpoint(two.home)
    rights = "SELECT rolreplication::text || rolsuper || rolcreaterole || rolcreatedb FROM pg_roles"
    assert await ask(here, f"{rights} WHERE rolname = '{ROLE}'") == "truefalsefalsefalse"
    await two.is_fed(ask)
    user = f"SELECT usename::text FROM pg_stat_replication WHERE application_name = '{SLOT}'"
    assert await ask(here, user) == ROLE
    home = Home.replica_at(two.home)
    assert here.password not in home.passfile.read_text()
    assert here.password not in (home.data / "tradewind.conf").read_text()
    folders = (home.root, home.data, home.socket, home.server_log.parent)
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    files = (home.passfile, home.server_log, home.backup_log)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_it_goes_on_from_where_it_was(two: Two) -> None:
    """Stopped and started, or killed and started, it is not made again."""
    await two.write(1)
    await two.replica.stop()
    with pytest.raises(EmbeddedError, match="no replica runs"):
        find_replica_endpoint(two.home)
    await two.write(2)
    await two.replica.start()
    await two.arrives(2)
    assert two.replica.pid is not None
    os.kill(two.replica.pid, signal.SIGKILL)
    assert await two.replica.wait() == -signal.SIGKILL
    await two.replica.stop()
    await two.write(3)
    await two.replica.start()
    await two.arrives(3)
    assert two.made() == 1


async def test_one_owner(two: Two) -> None:
    """A second replica of the same home is refused, with one line."""
    with pytest.raises(EmbeddedError, match="already running"):
        await EmbeddedReplica(two.home).start()


async def test_without_its_primary(two: Two) -> None:
    """It starts from what it has; where it has nothing it says what it needs."""
    await two.write(1)
    await two.arrives(1)
    await two.replica.stop()
    await two.primary.stop()
    await two.replica.start()
    await two.arrives(1)
    await two.replica.stop()
    shutil.rmtree(Home.replica_at(two.home).data)
    with pytest.raises(EmbeddedError, match="no database answers"):
        await two.replica.start()
    assert two.replica.pid is None


async def test_the_primary_restarts(two: Two) -> None:
    """The replica finds it again by itself."""
    await two.primary.stop()
    await two.primary.start()
    await two.write(1)
    await two.arrives(1)
    assert two.made() == 1


async def test_a_backup_cut_short_is_thrown_away(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a copy is never taken for a whole one."""
    run_once = cluster.run_once

    async def slowly(home: Home, programs: Programs, arguments: Sequence[str], log: Path) -> int:
        """It takes a quarter of an hour, so that it is cut short wherever we are held up."""
        return await run_once(home, programs, (*arguments, "--max-rate=32k"), log)

    await two.replica.stop()
    home = Home.replica_at(two.home)
    shutil.rmtree(home.data)
    monkeypatch.setattr(cluster, "run_once", slowly)
    running = asyncio.create_task(two.replica.start())
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (home.fresh / "data" / "backup_label").exists() and not home.data.exists():
            await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not home.data.exists()
    monkeypatch.undo()
    await two.write(1)
    await two.replica.start()
    await two.arrives(1)
    assert not home.fresh.exists()


async def test_it_is_made_anew_where_its_place_was_lost(two: Two, ask: Ask) -> None:
    """Away for too long, the primary no longer has what it needs."""
    await two.replica.stop()
    await lose_the_place(two, ask)
    await two.write(1)
    await two.replica.start()
    await two.arrives(1)
    assert two.made() == 2
    assert "no longer has what it needs" in two.reasons()[-1]


async def test_it_is_made_anew_while_it_runs(two: Two, ask: Ask) -> None:
    """Stopped (SIGSTOP) for too long, it is ended, and whoever keeps it up gets a new one."""
    await two.replica.stop()
    keeper = Keeper("replica", two.replica, two.said.append)
    await keeper.start()
    try:
        here = find_endpoint(two.home)
        release = "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
        receiver = await two.is_fed(ask)
        os.kill(receiver, signal.SIGSTOP)
        await ask(here, release)
        await lose_the_place(two, ask)
        os.kill(receiver, signal.SIGCONT)
        await two.write(1)
        await two.arrives(1)
        assert two.made() == 2, two.said
        assert any("ending the replica" in line for line in two.said)
    finally:
        await keeper.stop()


async def test_it_is_made_anew_of_another_primary(two: Two) -> None:
    """A home whose database was made anew has no use for a replica of the old one."""
    await two.write(1)
    await two.replica.stop()
    await two.primary.stop()
    shutil.rmtree(Home.at(two.home).root)
    await two.primary.start()
    await two.write(2)
    await two.replica.start()
    await two.arrives(2)
    assert "another database" in two.reasons()[-1]


@pytest.mark.parametrize("damage", ["pg_control", "no signal", "version"])
async def test_it_is_made_anew_where_it_is_damaged(two: Two, damage: str) -> None:
    """What does not start, or would start as something else, is replaced."""
    await two.replica.stop()
    data = Home.replica_at(two.home).data
    if damage == "pg_control":
        control = data / "global" / "pg_control"
        control.write_bytes(control.read_bytes()[:8] + b"\0" * 8000)
    elif damage == "no signal":
        (data / "standby.signal").unlink()
    else:
        (data / "PG_VERSION").write_text("9.6\n")
    await two.write(1)
    await two.replica.start()
    await two.arrives(1)
    assert two.made() == 2, two.said


async def test_it_is_made_anew_where_nothing_comes(two: Two, ask: Ask) -> None:
    """Whatever the reason, a replica that is not fed for long is replaced."""
    await two.replica.stop()
    two.replica._stuck_seconds = 5.0
    home = Home.replica_at(two.home)
    home.passfile.write_text(f"*:*:*:{ROLE}:wrong\n")
    keeper = Keeper("replica", two.replica, two.said.append)
    await keeper.start()
    try:
        await two.write(1)
        await two.arrives(1)
        assert any("nothing has come" in line for line in two.said)
        assert two.made() == 2
    finally:
        await keeper.stop()


async def test_it_holds_what_the_primary_holds(two: Two, ask: Ask) -> None:
    """A primary that was given more connections takes its replica with it."""
    await two.replica.stop()
    keeper = Keeper("replica", two.replica, two.said.append)
    await keeper.start()
    try:
        await ask(find_endpoint(two.home), "ALTER SYSTEM SET max_connections = 120")
        await two.primary.stop()
        await two.primary.start()
        await two.write(1)
        await two.arrives(1)

        async def has_as_many() -> bool:
            try:
                there = find_replica_endpoint(two.home)
                return await ask(there, "SHOW max_connections") == "120"
            except (OSError, EmbeddedError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return False

        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await has_as_many():
                await asyncio.sleep(0.05)
        assert two.made() == 1
    finally:
        await keeper.stop()


async def test_it_works_in_a_deep_home(tmp_path: Path) -> None:
    """A socket's path may have 107 bytes; a home's may have more, and quotes in it."""
    two = Two(tmp_path / ("it's \\deep" + "x" * 120))
    try:
        await two.primary.start()
        await two.replica.start()
        await two.write(1)
        await two.arrives(1)
    finally:
        await two.replica.stop()
        await two.primary.stop()


async def test_a_full_disk_is_told(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that finds no room says so in one line, and leaves nothing."""
    await two.replica.stop()
    home = Home.replica_at(two.home)
    shutil.rmtree(home.data)

    async def full(*_: object, **__: object) -> int:
        home.backup_log.write_text("pg_basebackup: error: No space left on device\n")
        return 1

    monkeypatch.setattr(cluster, "run_once", full)
    with pytest.raises(EmbeddedError, match=r"disk of .* is full"):
        await two.replica.start()
    assert not home.fresh.exists()
    assert not home.data.exists()


async def test_a_stopped_one_is_ended(two: Two) -> None:
    """A server that was stopped (SIGSTOP) ends in order too, without waiting for force."""
    assert two.replica.pid is not None
    os.kill(two.replica.pid, signal.SIGSTOP)
    await two.replica.stop()
    assert not any("forcing it" in line for line in two.said), two.said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as other users")
async def test_as_another_user(public_home: Path) -> None:
    """Where a user namespace is refused, both are run by the same other user."""
    two = Two(public_home)
    two.primary = EmbeddedPostgres(public_home, namespace=("false",))
    two.replica = EmbeddedReplica(public_home, namespace=("false",), log=two.said.append)
    try:
        await two.primary.start()
        await two.replica.start()
        await two.write(1)
        await two.arrives(1)
        assert Path(f"/proc/{two.replica.pid}").stat().st_uid == NOBODY
        # And back again, as it would be found by a machine that allows one.
        await two.replica.stop()
        await two.primary.stop()
        two.primary = EmbeddedPostgres(public_home)
        two.replica = EmbeddedReplica(public_home, log=two.said.append)
        await two.primary.start()
        await two.replica.start()
        await two.write(2)
        await two.arrives(2)
        assert two.made() == 1
    finally:
        await two.replica.stop()
        await two.primary.stop()
