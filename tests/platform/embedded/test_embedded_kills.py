"""The embedded PostgreSQL when something is killed: nothing stays, and the next start works."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from tradewind.platform.embedded.endpoint import Endpoint, find_endpoint
from tradewind.platform.embedded.home import Home
from tradewind.platform.embedded.leftovers import find_processes
from tradewind.platform.embedded.server import EmbeddedPostgres

Make = Callable[..., EmbeddedPostgres]
Launch = Callable[..., "subprocess.Popen[str]"]
Own = Callable[..., tuple["subprocess.Popen[str]", str]]
Ask = Callable[[Endpoint, str], Awaitable[object]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]
Session = Callable[[int], list[int]]


@pytest.mark.parametrize("word", ["", "uvloop", "fork"])
@pytest.mark.asyncio
async def test_owner_killed(
    tmp_path: Path, make: Make, own: Own, ask: Ask, until: Until, session: Session, word: str
) -> None:
    """The server of a killed owner ends by itself, even while a forked child of it lives on."""
    owner, words = own(tmp_path, word)
    server, *children = (int(number) for number in words.split()[1:])
    await ask(find_endpoint(tmp_path), "create table kept as select 7 as number")
    owner.kill()
    try:
        await until(lambda: session(server) == [])
        assert await ask(await make(tmp_path).start(), "select number from kept") == 7
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


@pytest.mark.asyncio
async def test_start_at_once(tmp_path: Path, make: Make, own: Own, ask: Ask) -> None:
    """After a kill the next start works at once, while the old server is still ending."""
    for _ in range(3):
        owner, words = own(tmp_path)
        assert words.startswith("started")
        owner.kill()
        owner.wait()
        server = make(tmp_path)
        assert await ask(await server.start(), "select 1") == 1
        await server.stop()


@pytest.mark.asyncio
async def test_watcher_killed_too(
    tmp_path: Path, make: Make, own: Own, ask: Ask, until: Until, session: Session
) -> None:
    """A server that nobody watches any more is ended by the next start."""
    owner, words = own(tmp_path)
    watchers: set[int] = set()

    def is_alone() -> bool:
        """A process of the server that ends between the two looks is in the first one alone."""
        found = session(int(words.split()[1]))
        watchers.clear()
        watchers.update(set(found) - find_processes(Home.at(tmp_path)))
        return len(watchers) == 1

    await until(is_alone)
    os.kill(watchers.pop(), signal.SIGKILL)
    owner.kill()
    owner.wait()
    log: list[str] = []
    assert await ask(await make(tmp_path, log.append).start(), "select 1") == 1
    assert any("earlier run" in line for line in log)


@pytest.mark.asyncio
async def test_orphans_of_a_server(tmp_path: Path, make: Make, own: Own, ask: Ask) -> None:
    """A process that has outlived its killed server is ended before the next one starts."""
    owner, words = own(tmp_path)
    connection = await asyncpg.connect(**find_endpoint(tmp_path).connect_arguments())
    orphan = connection.get_server_pid()
    os.kill(orphan, signal.SIGSTOP)
    os.kill(int(words.split()[1]), signal.SIGKILL)
    owner.wait()
    assert orphan in find_processes(Home.at(tmp_path))
    assert await ask(await make(tmp_path).start(), "select 1") == 1
    assert orphan not in find_processes(Home.at(tmp_path))
    connection.terminate()


def made_as_far_as(part: str, home: Home) -> Callable[[], bool]:
    """Whether a database is made so far; or whole, where we were held up meanwhile."""
    return lambda: (home.fresh / "data" / part).exists() or home.data.exists()


@pytest.mark.asyncio
async def test_killed_during_initdb(
    tmp_path: Path, make: Make, launch: Launch, ask: Ask, until: Until
) -> None:
    """An owner killed while its database is being made leaves nothing that counts."""

    async def kill() -> Home:
        for number in range(5):
            home = Home.at(tmp_path / str(number))
            owner = launch(home.base)
            await until(made_as_far_as("base/1", home))
            owner.kill()
            owner.wait()
            if not home.data.exists():  # else we were held up until it was made
                return home
        pytest.fail("each time there was a whole database")

    home = await kill()
    assert await ask(await make(home.base).start(), "select 1") == 1
    assert not home.fresh.exists()


@pytest.mark.asyncio
async def test_cancelled(tmp_path: Path, make: Make, ask: Ask, until: Until) -> None:
    """A start that is cancelled leaves nothing running and can be repeated."""

    async def begin() -> tuple[Home, EmbeddedPostgres, asyncio.Task[Endpoint]]:
        for number in range(5):
            home = Home.at(tmp_path / str(number))
            server = make(home.base)
            starting = asyncio.create_task(server.start())
            await until(made_as_far_as("base", home))
            if not home.data.exists():  # else we were held up until it was made
                return home, server, starting
            await starting
            await server.stop()
        pytest.fail("each time there was a whole database")

    home, server, starting = await begin()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert find_processes(home) == set()
    assert not home.data.exists()
    assert await ask(await server.start(), "select 1") == 1


@pytest.mark.asyncio
async def test_stale_locks(tmp_path: Path, make: Make, ask: Ask) -> None:
    """Lock files whose process number now belongs to a stranger hinder nobody and harm nobody."""
    server = make(tmp_path)
    await server.start()
    lock = tmp_path / "postgres" / "data" / "postmaster.pid"
    lines = lock.read_text(encoding="utf-8").splitlines()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.stop()
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            stale = "\n".join([str(stranger.pid), *lines[1:]]) + "\n"
            for text in (stale, ""):
                lock.write_text(text, encoding="utf-8")
                socket_lock = tmp_path / "postgres" / "socket" / ".s.PGSQL.5432.lock"
                socket_lock.write_text(text, encoding="utf-8")
                assert await ask(await server.start(), "select 1") == 1
                await server.stop()
            assert stranger.poll() is None
        finally:
            stranger.kill()
