"""Starting a program on a leash. The rule: when its owner is gone, however it went, it ends.

The owner alone holds the write end of a pipe. A tiny shell waits at the other end and sends
a signal to the program once the pipe closes, which the kernel does even for an owner that was
killed with -9. PR_SET_PDEATHSIG would not do: the change of credentials by `unshare` clears it.
"""

import asyncio
import contextlib
import functools
import os
import select
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypedDict

# The watcher is a grandchild: PostgreSQL would wonder at a child that it did not make. It stands
# before the program does, so no instant is unwatched. `$$` is the program: exec keeps the number.
# A word on the pipe says that the program has ended, and its number may be someone else's now.
_LEASH = """
exec 3<&0 </dev/null
signal=$1; shift
( ( trap '' HUP INT QUIT TERM
    read -r word <&3 || { kill -s "$signal" "$$"; kill -s CONT "$$"; } ) >/dev/null 2>&1 & )
exec 3<&- "$@"
"""
_WATCHER_LEAVES_SECONDS = 5.0


class Identity(Protocol):
    """Who runs a program: what stands before its command line, and which user starts it."""

    @property
    def prefix(self) -> tuple[str, ...]:
        """The command that runs another one, before which nothing else stands."""
        ...

    @property
    def switch_to(self) -> tuple[int, int] | None:
        """The user and group to change to beforehand, where this process is root."""
        ...


class Ourselves:
    """A program is run by whoever we are."""

    prefix: tuple[str, ...] = ()
    switch_to: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A program to start: its arguments, who runs it, where, and the file it writes to.

    `environment` is added to the little that every program of ours inherits; `orphaned` is the
    signal that ends it when its owner is gone.
    """

    arguments: Sequence[str]
    identity: Identity
    folder: Path
    output: int
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    orphaned: signal.Signals = signal.SIGINT


class Leashed:
    """A running program that ends with its owner; it is reaped as soon as it has ended."""

    def __init__(self, command: Command) -> None:
        """Start the program in its own session, so that Ctrl-C in the terminal passes it by."""
        watched, held = os.pipe()
        keep_to_owner(held)
        try:
            # Not asyncio's own: uvloop's cannot change the user.
            self._process = subprocess.Popen(  # noqa: S603  a program of ours
                [*_leash(command.orphaned), *command.identity.prefix, *command.arguments],
                stdin=watched,
                stdout=command.output,
                stderr=command.output,
                cwd=command.folder,
                env=plain_environment() | dict(command.environment),
                start_new_session=True,
                umask=0o077,
                **user_arguments(command.identity),
            )
        except BaseException:
            close_kept(held)
            raise
        finally:
            os.close(watched)
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        threading.Thread(target=self._reap, name=f"reap {self._process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Tell whether the program has not ended yet."""
        return not self._ended.done()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the program has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the program to end; return its exit code, negative for a signal."""
        return await asyncio.shield(self._ended)

    async def ended_within(self, seconds: float) -> bool:
        """Tell whether the program has ended, waiting for that up to `seconds`."""
        done, _ = await asyncio.wait({self._ended}, timeout=seconds)
        return bool(done)

    def _reap(self) -> None:
        code = self._process.wait()
        with contextlib.suppress(OSError):
            os.write(self._held, b"ended\n")
        leaving = select.poll()
        leaving.register(self._held, 0)
        # POLLERR comes when the watcher has closed its end: then nothing of ours is left.
        leaving.poll(_WATCHER_LEAVES_SECONDS * 1000)
        close_kept(self._held)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._note_end, code)

    def _note_end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)


def _leash(orphaned: signal.Signals) -> tuple[str, ...]:
    return "/bin/sh", "-c", _LEASH, "sh", orphaned.name.removeprefix("SIG")


def plain_environment() -> dict[str, str]:
    """Return what programs that we start may see: no secret, no PG variable, no locale of ours."""
    inherited = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", **inherited}


class UserArguments(TypedDict, total=False):
    """The arguments of Popen that change the user."""

    user: int
    group: int
    extra_groups: list[int]


def user_arguments(identity: Identity) -> UserArguments:
    """Return the arguments with which subprocess changes to the identity's user."""
    if identity.switch_to is None:
        return {}
    uid, gid = identity.switch_to
    # Not an empty list: Python 3.12.0 would keep root's groups (CVE-2023-6507).
    return {"user": uid, "group": gid, "extra_groups": [gid]}


_kept: set[int] = set()


def keep_to_owner(descriptor: int) -> None:
    """Close a descriptor in every forked child, where close-on-exec would leave it open.

    A pool of worker processes that outlives a killed owner would otherwise hold its lock.
    """
    _watch_forks()
    _kept.add(descriptor)


def close_kept(descriptor: int) -> None:
    """Close a descriptor that was kept to the owner."""
    _kept.discard(descriptor)
    os.close(descriptor)


@functools.cache
def _watch_forks() -> None:
    os.register_at_fork(after_in_child=_close_in_child)


def _close_in_child() -> None:
    for descriptor in _kept:
        os.close(descriptor)
    _kept.clear()
