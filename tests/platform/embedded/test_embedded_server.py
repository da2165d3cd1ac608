"""The embedded PostgreSQL in ordinary life: what it is like, where it lies, and that it ends."""

import asyncio
import contextlib
import os
import stat
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from tradewind.platform.embedded import home as homes
from tradewind.platform.embedded import settings
from tradewind.platform.embedded.endpoint import Endpoint, find_endpoint
from tradewind.platform.embedded.errors import EmbeddedError
from tradewind.platform.embedded.home import Home
from tradewind.platform.embedded.leftovers import find_processes
from tradewind.platform.embedded.server import EmbeddedPostgres

Make = Callable[..., EmbeddedPostgres]
Own = Callable[..., tuple["subprocess.Popen[str]", str]]
Ask = Callable[[Endpoint, str], Awaitable[object]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]
Session = Callable[[int], list[int]]

GIGABYTE = 1024**3


@pytest.mark.asyncio
async def test_data_stays(tmp_path: Path, make: Make, ask: Ask) -> None:
    """What was written is there after a stop and a start."""
    server = make(tmp_path / "home")
    await ask(await server.start(), "create table kept as select 7 as number")
    await server.stop()
    assert await ask(await server.start(), "select number from kept") == 7


@pytest.mark.asyncio
async def test_settings_in_force(tmp_path: Path, make: Make, ask: Ask) -> None:
    """The server is durable, light, and trusts nobody."""
    endpoint = await make(tmp_path).start()
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "wal_level": "replica",
        "listen_addresses": "",
        "jit": "off",
        "max_connections": "80",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "log_min_duration_statement": "500ms",
        "autovacuum_naptime": "10s",
    }
    assert {name: await ask(endpoint, f"show {name}") for name in expected} == expected
    trusting = "select count(*) from pg_hba_file_rules where auth_method <> 'scram-sha-256'"
    assert await ask(endpoint, trusting) == 0


@pytest.mark.asyncio
async def test_text(tmp_path: Path, make: Make, ask: Ask) -> None:
    """Text is sorted by code point on every machine, and letters beyond ASCII are letters."""
    endpoint = await make(tmp_path).start()
    ordered = "select string_agg(w, '' order by w) from unnest('{é,a,Z,z,B}'::text[]) w"
    assert await ask(endpoint, ordered) == "BZazé"
    assert await ask(endpoint, "select upper('é')") == "É"
    await ask(endpoint, "create extension pg_trgm")
    assert await ask(endpoint, "select cardinality(show_trgm('ñ'))") == 2


@pytest.mark.parametrize(
    ("memory_bytes", "shared"), [(GIGABYTE // 4, 32), (4 * GIGABYTE, 256), (64 * GIGABYTE, 512)]
)
def test_settings_fit(memory_bytes: int, shared: int) -> None:
    """Shared memory is a sixteenth of all, from 32 to 512 MB; a small disk keeps less WAL."""
    text = settings.render(settings.Machine(memory_bytes, 2, GIGABYTE), has_lz4=False)
    assert f"shared_buffers = '{shared}MB'" in text
    assert "max_wal_size = '102MB'" in text
    assert "wal_compression = 'pglz'" in text


def test_this_machine(tmp_path: Path) -> None:
    """The machine has at least one core, some memory, and some disk."""
    here = settings.Machine.here(tmp_path)
    assert here.cores >= 1
    assert here.memory_bytes > 0
    assert here.free_disk_bytes > 0


@pytest.mark.parametrize("user", ["postgres", "stranger"])
@pytest.mark.asyncio
async def test_passwords(tmp_path: Path, make: Make, user: str) -> None:
    """A wrong password is refused, also to the superuser."""
    endpoint = await make(tmp_path).start()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(**endpoint.connect_arguments(user, "wrong"))
    assert endpoint.password not in repr(endpoint)


@pytest.mark.asyncio
async def test_closed_to_others(tmp_path: Path, make: Make) -> None:
    """Only the owner enters the folders and reads the password."""
    await make(tmp_path).start()
    root = tmp_path / "postgres"
    folders = (root, root / "socket", root / "data", root / "log")
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    files = (root / "password", root / "owner.lock", root / "log" / "server.log")
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.asyncio
async def test_nothing_outside(tmp_path: Path, make: Make, ask: Ask, session: Session) -> None:
    """No process of the server has a file open, mapped or listened to outside the home."""
    server = make(tmp_path)
    await ask(await server.start(), "create table t as select 1")
    assert server.pid is not None
    assert len(session(server.pid)) > 1
    looked_at: set[int] = set()
    for pid in session(server.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            targets = open_files(pid)
            mapped = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
            files = {target for target in targets if target.startswith("/")} - {"/dev/null"}
            assert all(file.startswith(f"{tmp_path}/postgres/") for file in files), files
            assert "/dev/shm" not in mapped
            looked_at.add(pid)
    assert server.pid in looked_at
    assert len(looked_at) > 1


def open_files(pid: int) -> set[str]:
    """What a process has open; what it closes as we look is left out."""
    found: set[str] = set()
    for number in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(str(number.readlink()))
    return found


@pytest.mark.asyncio
async def test_stop_leaves_nothing(
    tmp_path: Path, make: Make, until: Until, session: Session
) -> None:
    """After a stop, and a second one, no process, socket or lock of the server is left."""
    server = make(tmp_path)
    await server.start()
    pid = server.pid
    assert pid is not None
    assert os.getsid(pid) == pid
    await server.stop()
    await server.stop()
    assert server.pid is None
    assert find_processes(Home.at(tmp_path)) == set()
    # Its watcher has let go of all it had, and may be on its last way out for a moment.
    await until(lambda: session(pid) == [])
    assert list((tmp_path / "postgres" / "socket").iterdir()) == []
    assert not (tmp_path / "postgres" / "data" / "postmaster.pid").exists()


@pytest.mark.parametrize("length", [150, 1500])
@pytest.mark.asyncio
async def test_long_path(tmp_path: Path, make: Make, own: Own, ask: Ask, length: int) -> None:
    """A home works at any path length, also for a command in another process."""
    home = tmp_path
    while len(str(home)) < length:
        home /= "long" * 20
    endpoint = await make(home).start()
    assert await ask(endpoint, "select 1") == 1
    assert find_endpoint(home) == endpoint
    assert "already running" in own(home)[1]


@pytest.mark.asyncio
async def test_odd_path(tmp_path: Path, make: Make, ask: Ask) -> None:
    """A home may have spaces, quotes, commas, dollars and any language's letters in its path."""
    home = tmp_path / 'it\'s "odd", $HOME `id` \\ {a} #' / "Bücher 本 %s"
    await make(home).start()
    assert await ask(find_endpoint(home), "select 1") == 1


@pytest.mark.asyncio
async def test_second_start(tmp_path: Path, make: Make, own: Own, ask: Ask) -> None:
    """A second start on the same home is refused, naming the first, which works on."""
    owner, words = own(tmp_path)
    assert words.startswith("started")
    with pytest.raises(EmbeddedError, match=rf"already running .*process {owner.pid}\)"):
        await make(tmp_path).start()
    assert await ask(find_endpoint(tmp_path), "select 1") == 1


@pytest.mark.asyncio
async def test_started_already(tmp_path: Path, make: Make, ask: Ask) -> None:
    """A server that is started twice says so and works on."""
    server = make(tmp_path)
    endpoint = await server.start()
    with pytest.raises(EmbeddedError, match="started already"):
        await server.start()
    assert await ask(endpoint, "select 1") == 1


@pytest.mark.asyncio
async def test_not_running(tmp_path: Path, make: Make) -> None:
    """A command that needs the running store says how to start it, and touches nothing."""
    with pytest.raises(EmbeddedError, match=r"not running .*make run.*TRADEWIND_HOME"):
        find_endpoint(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    server = make(tmp_path)
    await server.start()
    await server.stop()
    with pytest.raises(EmbeddedError, match="not running"):
        find_endpoint(tmp_path)


@pytest.mark.asyncio
async def test_wait(tmp_path: Path, make: Make, ask: Ask) -> None:
    """The owner learns of the end of its server, and can start it again."""
    server = make(tmp_path)
    with pytest.raises(EmbeddedError, match="not started"):
        await server.wait()
    endpoint = await server.start()
    waiting = asyncio.create_task(server.wait())
    assert server.pid is not None
    os.kill(server.pid, 9)
    assert await waiting == -9
    assert server.pid is None
    await server.stop()
    assert await server.start() == endpoint
    assert await ask(endpoint, "select 1") == 1


def test_log_is_bounded(tmp_path: Path) -> None:
    """A log that has grown too long is put aside, in the place of the one put aside before."""
    log = tmp_path / "server.log"
    with log.open("ab") as writer:
        for words in (b"old", b"new"):
            writer.write(words * (homes.LOG_LIMIT_BYTES // 3 + 1))
            writer.flush()
            homes.bound_log(log)
            assert log.stat().st_size == 0
    assert (tmp_path / "server.log.1").read_bytes()[:6] == b"newnew"
    homes.bound_log(log)
    assert (tmp_path / "server.log.1").exists()
