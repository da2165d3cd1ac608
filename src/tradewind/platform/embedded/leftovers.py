"""What a killed owner left behind. The rule: end it first, and only ever touch what is ours.

A process is ours when it is a PostgreSQL program whose working directory is our data folder;
the number in `postmaster.pid` proves nothing, it may have been given to somebody else.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tradewind.platform.embedded.errors import EmbeddedError
from tradewind.platform.embedded.home import Home

_PROGRAMS = ("postgres", "initdb", "pg_basebackup")
_ORDERLY_STEPS = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 15.0))
_KILLED_SECONDS = 15.0
_PROC = Path("/proc")


async def end_leftovers(home: Home, log: Callable[[str], None]) -> None:
    """End every server, initdb or base backup that still works in this home, until all are gone.

    A server is asked to end in order. What has lost its server, or is only making a new database,
    has nothing to put in order.
    """
    for number, patience_seconds in _ORDERLY_STEPS:
        server = _locked_by(home)
        if server not in find_processes(home):
            break
        log(f"ending PostgreSQL of an earlier run ({number.name} to process {server})")
        _send(server, number)
        if await _all_gone(home, patience_seconds):
            return
    for pid in find_processes(home):
        log(f"ending PostgreSQL of an earlier run (SIGKILL to process {pid})")
        _send(pid, signal.SIGKILL)
    if not await _all_gone(home, _KILLED_SECONDS):
        numbers = ", ".join(str(pid) for pid in sorted(find_processes(home)))
        raise EmbeddedError(
            f"PostgreSQL of an earlier run (process {numbers}) works in {home.root} "
            "and does not end: end it by hand, then start again"
        )


def find_processes(home: Home) -> set[int]:
    """Return the PostgreSQL processes that work in this home."""
    folders = set(_identities(home.data, home.fresh / "data"))
    found: set[int] = set()
    if not folders or not _PROC.is_dir():
        return found
    for entry in os.scandir(_PROC):
        if not entry.name.isdecimal():
            continue
        # Processes come and go while we look; another user's cannot be looked at.
        with contextlib.suppress(OSError):
            name = Path(entry.path, "comm").read_text(errors="replace").strip()
            if name in _PROGRAMS and folders.intersection(_identities(Path(entry.path, "cwd"))):
                found.add(int(entry.name))
    return found


def disown_stale_files(home: Home, owner: tuple[int, int]) -> None:
    """Let the next server pass by the lock files of one that is proven to be gone.

    The data lock is kept and made to name this process, the server's parent, whose number
    PostgreSQL takes for stale: so it still checks that no process shares the old memory.
    """
    for leftover in home.socket.glob(".s.PGSQL.*"):
        leftover.unlink(missing_ok=True)
    lock = home.data / "postmaster.pid"
    if not _PROC.is_dir():
        return  # we cannot tell whether its process lives; PostgreSQL will look
    try:
        _, _, rest = lock.read_text(encoding="utf-8", errors="replace").partition("\n")
    except FileNotFoundError:
        return
    if rest:
        home.write_whole(lock, f"{os.getpid()}\n{rest}", owner)
    else:  # cut short by a full disk: PostgreSQL would refuse it
        lock.unlink()


async def _all_gone(home: Home, patience_seconds: float) -> bool:
    deadline = time.monotonic() + patience_seconds
    pause_seconds = 0.005
    while find_processes(home):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, 0.2)
    return True


def _identities(*folders: Path) -> Iterator[tuple[int, int]]:
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            status = folder.stat()
            yield status.st_dev, status.st_ino


def _locked_by(home: Home) -> int:
    """Return the process that the data's lock names, or 0; it may be anyone's by now."""
    try:
        return int((home.data / "postmaster.pid").read_text(errors="replace").partition("\n")[0])
    except (FileNotFoundError, ValueError):
        return 0


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
