"""The embedded PostgreSQL on a bad disk or bad data: one clear line, nothing running, no harm."""

import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tradewind.platform.embedded.endpoint import Endpoint
from tradewind.platform.embedded.errors import EmbeddedError
from tradewind.platform.embedded.home import Home
from tradewind.platform.embedded.leftovers import find_processes
from tradewind.platform.embedded.server import EmbeddedPostgres

Make = Callable[..., EmbeddedPostgres]
Ask = Callable[[Endpoint, str], Awaitable[object]]


async def refuse(server: EmbeddedPostgres, home: Path, match: str) -> None:
    """Expect a start to fail in one line that matches, leaving nothing running."""
    with pytest.raises(EmbeddedError, match=match) as caught:
        await server.start()
    assert "\n" not in str(caught.value)
    assert find_processes(Home.at(home)) == set()
    assert server.pid is None


def remount(disk: Path, options: str) -> None:
    """Change a mounted disk."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def fill(filler: Path) -> None:
    """Write to a file for as long as the disk takes it."""
    with filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.mark.asyncio
async def test_full_at_first(small_disk: Path, make: Make, ask: Ask) -> None:
    """A disk too small for the database is named; with room made, the same home works."""
    server = make(small_disk)
    await refuse(server, small_disk, f"the disk of {small_disk} is full.*TRADEWIND_HOME")
    remount(small_disk, "size=400m")
    assert await ask(await server.start(), "select 1") == 1
    await server.stop()


@pytest.mark.asyncio
async def test_full_later(small_disk: Path, make: Make, ask: Ask) -> None:
    """A disk that has filled up is named; with room made, the data is there."""
    remount(small_disk, "size=400m")
    server = make(small_disk)
    await ask(await server.start(), "create table kept as select 7 as number")
    await server.stop()
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        fill(filler)
    await refuse(server, small_disk, "is full: make room")
    filler.unlink()
    assert await ask(await server.start(), "select number from kept") == 7
    await server.stop()


@pytest.mark.asyncio
async def test_unwritable(small_disk: Path, make: Make) -> None:
    """A home that cannot be written to is named."""
    remount(small_disk, "ro")
    await refuse(make(small_disk), small_disk, f"cannot use {small_disk}.*TRADEWIND_HOME")


@pytest.mark.asyncio
async def test_home_is_a_file(tmp_path: Path, make: Make) -> None:
    """A home that is no folder is named."""
    (tmp_path / "home").write_text("")
    await refuse(make(tmp_path / "home"), tmp_path, f"cannot use {tmp_path}/home")


@pytest.mark.asyncio
async def test_cut_initdb(tmp_path: Path, make: Make, ask: Ask) -> None:
    """What an initdb that was cut halfway has left is thrown away."""
    data = Home.at(tmp_path).fresh / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")
    assert await ask(await make(tmp_path).start(), "select 1") == 1
    assert not data.parent.exists()


@pytest.mark.asyncio
async def test_other_version(tmp_path: Path, make: Make, ask: Ask) -> None:
    """Data of another major version is refused, naming both, and is not touched."""
    server = make(tmp_path)
    await server.start()
    await server.stop()
    version = Home.at(tmp_path).data / "PG_VERSION"
    version.write_text("17\n")
    await refuse(server, tmp_path, "is of PostgreSQL 17, the programs here are 18")
    version.write_text("18\n")
    assert await ask(await server.start(), "select 1") == 1


@pytest.mark.asyncio
async def test_foreign_folder(tmp_path: Path, make: Make) -> None:
    """A data folder that PostgreSQL did not make is refused."""
    data = Home.at(tmp_path).data
    data.mkdir(parents=True)
    (data / "letter.txt").write_text("mine")
    await refuse(make(tmp_path), tmp_path, "is not a PostgreSQL data folder")
    assert (data / "letter.txt").read_text() == "mine"


@pytest.mark.asyncio
async def test_does_not_come_up(tmp_path: Path, make: Make, ask: Ask) -> None:
    """A server that does not come up is quoted; with the cause removed it starts."""
    server = make(tmp_path)
    await server.start()
    await server.stop()
    own_settings = Home.at(tmp_path).data / "postgresql.auto.conf"
    own_settings.write_text("shared_preload_libraries = 'nowhere'\n")
    await refuse(server, tmp_path, 'did not come up: .*"nowhere".*server.log')
    own_settings.write_text("")
    assert await ask(await server.start(), "select 1") == 1


@pytest.mark.parametrize("text", ["", "guessed\n"])
@pytest.mark.asyncio
async def test_lost_password(tmp_path: Path, make: Make, ask: Ask, text: str) -> None:
    """A password file that does not fit the data is named; restored, it opens the data again."""
    server = make(tmp_path)
    await server.start()
    await server.stop()
    password = Home.at(tmp_path).password
    shutil.copy(password, tmp_path / "backup")
    password.write_text(text)
    await refuse(server, tmp_path, f"{password}.*restore it")
    shutil.copy(tmp_path / "backup", password)
    assert await ask(await server.start(), "select 1") == 1
