"""A streaming replica beside the embedded server. The rule: it is disposable, and made anew alone.

It lives in the same home, reached by a socket of its own, and is fed by the primary through the
primary's socket. Whatever it cannot go on from (its place is lost, its primary is another one, its
files are damaged) ends in a new base backup. Roles and passwords are the primary's.
"""

import asyncio
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import asyncpg

from tradewind.platform.embedded import cluster, upstream
from tradewind.platform.embedded.endpoint import Endpoint, make_endpoint
from tradewind.platform.embedded.errors import DidNotComeUp, EmbeddedError, disk_full
from tradewind.platform.embedded.home import Home, give_tree, last_words
from tradewind.platform.embedded.leftovers import disown_stale_files, end_leftovers
from tradewind.platform.embedded.programs import Programs, choose_programs, default_namespace
from tradewind.platform.embedded.server import EmbeddedPostgres
from tradewind.platform.embedded.upstream import Primary

_LOOK_SECONDS = 2.0
_STUCK_SECONDS = 120.0
_ANSWER_SECONDS = 5.0
_PROGRESS = """
SELECT pg_last_wal_replay_lsn()::text,
       coalesce((SELECT status = 'streaming' FROM pg_stat_wal_receiver), false)
"""


class EmbeddedReplica(EmbeddedPostgres):
    """A hot standby of the embedded server of `primary_home`; used as that one is.

    `start` needs a primary only where there is no data to go on from. Where it cannot go on while
    it runs, the server is ended: `wait` returns, and the next `start` makes it anew. `settings` are
    added to its own.
    """

    def __init__(
        self,
        primary_home: Path,
        *,
        log: Callable[[str], None] | None = None,
        stop_seconds: float = 30.0,
        namespace: tuple[str, ...] | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
        stuck_seconds: float = _STUCK_SECONDS,
    ) -> None:
        """Name the home; nothing is touched before `start`."""
        super().__init__(
            primary_home,
            log=log,
            stop_seconds=stop_seconds,
            namespace=namespace,
            settings=settings,
        )
        self._home = Home.replica_at(primary_home)
        self._upstream = Home.at(primary_home)
        self._stuck_seconds = stuck_seconds
        self._known: Primary | None = None
        self._watch: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """End the replica in order, or by force. Harmless when repeated."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        await super().stop()

    async def _start(self) -> Endpoint:
        home = self._home
        home.make_folders()
        programs = await choose_programs(home, self._namespace or default_namespace())
        await end_leftovers(home, self._log)
        cluster.clear_unfinished(home)
        endpoint = make_endpoint(home)
        self._known = await upstream.look_at(self._upstream)
        reason = why_anew(home, programs, self._known)
        if reason is None:
            try:
                await self._run(programs, endpoint)
            except DidNotComeUp as error:
                reason = f"what there was does not start ({error})"
        if reason is not None:
            await self._make(programs, reason)
            await self._run(programs, endpoint)
        self._watch = asyncio.create_task(self._keep_looking(endpoint), name="watch the replica")
        return endpoint

    async def _run(self, programs: Programs, endpoint: Endpoint) -> None:
        home, owner = self._home, programs.run_as.owner
        for tree in (home.data, home.socket, home.passfile):
            give_tree(tree, *owner)
        # What the primary can hold is told by it alone; without it the last words stay.
        if self._known is not None:
            more = {**self._known.capacities, **standby_settings(home, self._upstream)}
            cluster.write_settings(home, programs, {**more, **self._settings})
        disown_stale_files(home, owner)
        await self._bring_up(programs, endpoint)

    async def _make(self, programs: Programs, reason: str) -> None:
        """Take a base backup; cut short, it is thrown away by the next start."""
        home = self._home
        self._log(f"making the replica: {reason}")
        await end_leftovers(home, self._log)
        owner = programs.run_as.owner
        await upstream.admit(self._upstream, home, owner)
        self._known = await upstream.look_at(self._upstream)
        shutil.rmtree(home.data, ignore_errors=True)
        data = home.fresh / "data"
        data.mkdir(mode=0o700, parents=True)
        give_tree(home.fresh, *owner)
        code = await cluster.run_once(
            home,
            programs,
            (
                programs.path("pg_basebackup"),
                f"--pgdata={cluster.data_argument(data)}",
                f"--dbname={upstream.connection_info(data, self._upstream, home)}",
                "--checkpoint=fast",
                "--wal-method=stream",
                f"--slot={upstream.SLOT}",
                "--no-password",
            ),
            home.backup_log,
        )
        if code != 0:
            said = last_words(home.backup_log)
            cluster.clear_unfinished(home)
            if "No space left on device" in said or "Disk quota exceeded" in said:
                raise disk_full(home.base, said)
            raise EmbeddedError(f"no base backup: {said} (more in {home.backup_log})")
        # What an operator has set for the primary by ALTER SYSTEM is not meant for this one.
        for name in ("standby.signal", "postgresql.auto.conf"):
            home.write_whole(data / name, "", owner)
        cluster.put_in_place(home)

    async def _keep_looking(self, endpoint: Endpoint) -> None:
        """End the server where it cannot go on; whoever keeps it up starts it again."""
        loop = asyncio.get_running_loop()
        last, since = "", loop.time()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            primary = await upstream.look_at(self._upstream)
            replayed, streaming = await _progress(endpoint)
            if primary is None or streaming or replayed != last:
                last, since = replayed, loop.time()
            reason = None
            if primary is not None:
                reason = why_ended(self._home, primary, self._known)
            if reason is None and loop.time() - since > self._stuck_seconds:
                # Its files say that all is well, but nothing comes: only a new one will.
                (self._home.data / "standby.signal").unlink(missing_ok=True)
                reason = f"nothing has come for {self._stuck_seconds:.0f} s"
            if reason is not None and self._server is not None:
                self._log(f"ending the replica, to start it again: {reason}")
                await self._end(self._server)
                return


def why_anew(home: Home, programs: Programs, primary: Primary | None) -> str | None:
    """Say why a replica cannot go on from the data in `home`; None where it can."""
    if not cluster.has_data(home):
        return "there is none yet"
    version = home.data / "PG_VERSION"
    if not version.is_file() or version.read_text(encoding="utf-8").strip() != programs.major:
        return "its data is of another version"
    if not (home.data / "standby.signal").is_file() or not home.passfile.is_file():
        return "what there was is no replica any more"
    return None if primary is None else _why_not_of(home, primary)


def why_ended(home: Home, primary: Primary, known: Primary | None) -> str | None:
    """Say why a running replica must start again; None where all is well."""
    if known is None or any(
        int(value) > int(known.capacities.get(name, "0"))
        for name, value in primary.capacities.items()
    ):
        return "the primary holds more than it was told"
    return _why_not_of(home, primary)


def _why_not_of(home: Home, primary: Primary) -> str | None:
    try:
        found = read_system_identifier(home)
    except OSError as error:
        return f"its control file cannot be read ({error.strerror})"
    if found != primary.system_identifier:
        return "it is of another database"
    if not primary.keeps_our_place:
        return "it was away for so long that the primary no longer has what it needs"
    return None


def read_system_identifier(home: Home) -> int:
    """Return whose data it is: the first eight bytes of `pg_control`."""
    with (home.data / "global" / "pg_control").open("rb") as file:
        return int.from_bytes(file.read(8), sys.byteorder)


def standby_settings(home: Home, primary: Home) -> dict[str, str]:
    """Return what makes a server a replica of this primary."""
    return {
        "cluster_name": "tradewind replica",
        "primary_conninfo": upstream.connection_info(home.data, primary, home),
        "primary_slot_name": upstream.SLOT,
        "hot_standby": "on",
        # Old rows that a read here still sees are not removed there meanwhile …
        "hot_standby_feedback": "on",
        "wal_receiver_status_interval": "1s",
        # … and what must be replayed all the same does not wait longer than a read may take.
        "max_standby_streaming_delay": "1s",
        "max_standby_archive_delay": "1s",
        "wal_receiver_timeout": "10s",
        "wal_retrieve_retry_interval": "200ms",
    }


async def _progress(endpoint: Endpoint) -> tuple[str, bool]:
    """Where the replica is, and whether the primary feeds it; empty where it does not answer."""
    with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection = await asyncpg.connect(
            **endpoint.connect_arguments(), timeout=_ANSWER_SECONDS, command_timeout=_ANSWER_SECONDS
        )
        try:
            row = await connection.fetchrow(_PROGRESS)
        finally:
            connection.terminate()
        if row is not None:
            return str(row[0]), bool(row[1])
    return "", True
