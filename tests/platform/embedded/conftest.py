"""Servers and owners for the tests of the embedded PostgreSQL, all ended after each test."""

import asyncio
import contextlib
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tradewind.platform.embedded.endpoint import Endpoint
from tradewind.platform.embedded.server import EmbeddedPostgres

HERE = Path(__file__).parent
PYTHONPATH = os.pathsep.join([str(HERE.parents[2] / "src"), sysconfig.get_path("purelib")])
NOBODY = 65534
# Far beyond what any machine needs: these tests wait for what must come, not for how soon.
PATIENCE_SECONDS = 300.0


@pytest_asyncio.fixture
async def make() -> AsyncIterator[Callable[..., EmbeddedPostgres]]:
    """Make servers, with the arguments of EmbeddedPostgres."""
    made: list[EmbeddedPostgres] = []

    def make_server(
        home: Path,
        log: Callable[[str], None] | None = None,
        namespace: tuple[str, ...] | None = None,
    ) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(home, log=log, namespace=namespace))
        return made[-1]

    yield make_server
    for server in made:
        await server.stop()


@pytest.fixture
def launch() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start owners in processes of their own, given a home and words for `owner.py`."""
    owners: list[subprocess.Popen[str]] = []

    def launch_owner(home: Path, *words: str) -> "subprocess.Popen[str]":
        owners.append(
            subprocess.Popen(
                [sys.executable, "-B", str(HERE / "owner.py"), str(home), *words],
                env={**os.environ, "PYTHONPATH": PYTHONPATH},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return owners[-1]

    yield launch_owner
    for owner in owners:
        owner.kill()
        owner.communicate()


@pytest.fixture
def own(
    launch: Callable[..., "subprocess.Popen[str]"],
) -> Callable[..., tuple["subprocess.Popen[str]", str]]:
    """Start an owner as `launch` does and wait for what it says of the start."""

    def launch_and_listen(home: Path, *words: str) -> tuple["subprocess.Popen[str]", str]:
        owner = launch(home, *words)
        assert owner.stdout is not None
        return owner, owner.stdout.readline()

    return launch_and_listen


@pytest.fixture
def ask() -> Callable[[Endpoint, str], Awaitable[object]]:
    """Ask a server for one value."""

    async def ask_server(endpoint: Endpoint, query: str) -> object:
        connection = await asyncpg.connect(**endpoint.connect_arguments())
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return ask_server


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait for what must come to pass."""

    async def wait_until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.002)

    return wait_until


@pytest.fixture
def session() -> Callable[[int], list[int]]:
    """List the live processes of the session that a server leads, its watcher included."""

    def list_session(leader: int) -> list[int]:
        found: list[int] = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text(errors="replace").rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.parent.name))
        return found

    return list_session


@pytest.fixture
def public_home() -> Iterator[Path]:
    """Give a home that every user can reach; pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory(prefix="tradewind-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "home"


@pytest.fixture
def own_as_nobody() -> Iterator[Callable[[Path], tuple["subprocess.Popen[str]", str]]]:
    """Start an owner as the user nobody, and wait for what it says of the start."""
    owners: list[subprocess.Popen[str]] = []

    def start(arguments: list[str]) -> "subprocess.Popen[str] | None":
        environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
        for python in (sys.executable, "/usr/bin/python3"):
            with contextlib.suppress(OSError):
                return subprocess.Popen(
                    [python, "-B", *arguments],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    cwd="/",
                    user=NOBODY,
                    group=NOBODY,
                    extra_groups=[NOBODY],
                )
        return None

    with start(["-c", "import asyncpg, uvloop, tradewind"]) or contextlib.nullcontext() as trial:
        if trial is None or trial.wait() != 0:
            pytest.skip("another user cannot reach a Python that can import what the store needs")

    def launch_and_listen(home: Path) -> tuple["subprocess.Popen[str]", str]:
        owner = start([str(HERE / "owner.py"), str(home)])
        assert owner is not None
        assert owner.stdout is not None
        owners.append(owner)
        return owner, owner.stdout.readline()

    yield launch_and_listen
    for owner in owners:
        owner.kill()
        owner.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 24 MB, too small for a database."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tradewind-test", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
