"""The embedded server's life. The rule: one owner per home, who is the only one to start or end it.

Whatever goes wrong on the way up, nothing is left running and the next start begins anew.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import asyncpg

from tradewind.platform.embedded import cluster
from tradewind.platform.embedded.endpoint import Endpoint, make_endpoint
from tradewind.platform.embedded.errors import (
    DidNotComeUp,
    EmbeddedError,
    disk_full,
    explain_os_error,
)
from tradewind.platform.embedded.home import Home, bound_log, give_tree, last_words
from tradewind.platform.embedded.leftovers import disown_stale_files, end_leftovers
from tradewind.platform.embedded.programs import Programs, choose_programs, default_namespace
from tradewind.platform.processes import Command, Leashed, close_kept, keep_to_owner

# Recovery after a crash may take its time; a server that still has not come up then hangs.
_COMES_UP_SECONDS = 900.0
_WORD_SECONDS = 5.0
# No socket yet, nobody behind it, or still recovering; anything else will not get better.
_NOT_YET = (
    FileNotFoundError,
    ConnectionError,
    TimeoutError,
    BlockingIOError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
)
_LOG_LOOK_SECONDS = 10.0
_FORCED_END_SECONDS = 15.0


class EmbeddedPostgres:
    """A PostgreSQL server that lives in `home` for as long as its owner does.

    `log` is told, in one line each, what takes time or was found amiss. `stop_seconds` is how long
    `stop` waits for an orderly end before it forces one. `namespace` is the command by which root
    runs a program in a user namespace; tests give one that refuses. `settings` are added to its
    own, or stand in their place.
    """

    def __init__(
        self,
        home: Path,
        *,
        log: Callable[[str], None] | None = None,
        stop_seconds: float = 30.0,
        namespace: tuple[str, ...] | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Name the home; nothing is touched before `start`."""
        self._home = Home.at(home)
        self._settings = settings
        self._log = log or _say_nothing
        self._stop_seconds = stop_seconds
        self._namespace = namespace
        self._lock: int | None = None
        self._server: Leashed | None = None
        self._log_keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id, or None while there is none."""
        return self._server.pid if self._server and self._server.runs else None

    async def start(self) -> Endpoint:
        """Make the database if there is none, start the server, return when it answers.

        Raises EmbeddedError, with nothing left running, where that cannot be.
        """
        if self._lock is not None:
            raise EmbeddedError("started already")
        try:
            self._lock = _take_lock(self._home)
            return await self._start()
        except OSError as error:
            await self.stop()
            raise explain_os_error(error, self._home.base) from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the server in order, or by force where it takes too long. Harmless when repeated."""
        if self._lock is None:
            return
        if self._log_keeper is not None:
            self._log_keeper.cancel()
            self._log_keeper = None
        if self._server is not None:
            await self._end(self._server)
            self._server = None
        # Also what a failed start or a killed server has left of itself.
        await end_leftovers(self._home, self._log)
        _give_lock_back(self._lock)
        self._lock = None

    async def wait(self) -> int:
        """Wait for the server to end, by `stop` or by itself; return its exit code."""
        if self._server is None:
            raise EmbeddedError("not started")
        return await self._server.ended()

    async def _start(self) -> Endpoint:
        home = self._home
        home.make_folders()
        programs = await choose_programs(home, self._namespace or default_namespace())
        if cluster.has_data(home):
            cluster.check_version(home, programs)
        await end_leftovers(home, self._log)
        cluster.clear_unfinished(home)
        if not cluster.has_data(home):
            await cluster.initialise(home, programs, self._log)
        endpoint = make_endpoint(home)
        owner = programs.run_as.owner
        give_tree(home.data, *owner)
        give_tree(home.socket, *owner)
        cluster.write_settings(home, programs, self._settings)
        disown_stale_files(home, owner)
        await self._bring_up(programs, endpoint)
        return endpoint

    async def _bring_up(self, programs: Programs, endpoint: Endpoint) -> None:
        home = self._home
        bound_log(home.server_log)
        output = home.open_private(home.server_log, os.O_WRONLY | os.O_APPEND)
        try:
            said_before = os.fstat(output).st_size
            arguments = (programs.path("postgres"), "-D", cluster.data_argument(home.data))
            self._server = Leashed(Command(arguments, programs.run_as, home.data, output))
        finally:
            os.close(output)
        self._log_keeper = asyncio.create_task(_keep_bounded(home.server_log))
        answers = asyncio.create_task(self._until_it_answers(endpoint))
        ends = asyncio.create_task(self._server.ended())
        try:
            await asyncio.wait(
                {answers, ends}, timeout=_COMES_UP_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if answers.done():
                answers.result()
                return
        finally:
            answers.cancel()
            ends.cancel()
        said = last_words(home.server_log, said_before)
        if "No space left on device" in said or "Disk quota exceeded" in said:
            raise disk_full(home.base, said)
        raise DidNotComeUp(f"PostgreSQL did not come up: {said} (more in {home.server_log})")

    async def _until_it_answers(self, endpoint: Endpoint) -> None:
        pause_seconds = 0.005
        next_word = time.monotonic() + _WORD_SECONDS
        while True:
            try:
                connection = await asyncpg.connect(**endpoint.connect_arguments())
            except asyncpg.InvalidPasswordError:
                raise EmbeddedError(
                    f"the password in {self._home.password} is not the server's: "
                    "restore it from a backup"
                ) from None
            except _NOT_YET:
                await asyncio.sleep(pause_seconds)
            else:
                await connection.close()
                return
            if time.monotonic() > next_word:
                self._log("PostgreSQL is still coming up: recovering what a crash has cut short")
                next_word += _WORD_SECONDS
            pause_seconds = min(pause_seconds * 1.5, 0.25)

    async def _end(self, server: Leashed) -> None:
        for number, patience_seconds in (
            (signal.SIGINT, self._stop_seconds),
            (signal.SIGQUIT, _FORCED_END_SECONDS),
        ):
            server.send(number)
            server.send(signal.SIGCONT)  # one that was stopped hears nothing
            if await server.ended_within(patience_seconds):
                return
            self._log(f"PostgreSQL does not end at {number.name}; forcing it")
        server.send(signal.SIGKILL)
        await server.ended()


def _say_nothing(_line: str) -> None:
    pass


async def _keep_bounded(log: Path) -> None:
    while True:
        await asyncio.sleep(_LOG_LOOK_SECONDS)
        with contextlib.suppress(OSError):
            bound_log(log)


def _take_lock(home: Home) -> int:
    """Become the owner of a home, or say who is; the lock goes with the process, in any case."""
    home.make_root()
    descriptor = os.open(home.owner_lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise EmbeddedError(
            f"already running in {home.base} (process {holder or 'unknown'}): "
            "stop it first, or set TRADEWIND_HOME to another folder"
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    keep_to_owner(descriptor)
    with contextlib.suppress(OSError):  # the number only serves the message above
        home.hand_to_keeper(descriptor)
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _give_lock_back(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.truncate(descriptor, 0)
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    close_kept(descriptor)
