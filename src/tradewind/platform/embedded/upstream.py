"""What a replica needs of its primary. The rule: it gets a role and a slot of its own, no more.

The role may stream and nothing else. The slot keeps what the replica has not had yet, within
`max_slot_wal_keep_size`; where that was not enough it is lost, and the replica is made anew.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from tradewind.platform.embedded.endpoint import PORT, make_endpoint
from tradewind.platform.embedded.errors import EmbeddedError
from tradewind.platform.embedded.home import Home

ROLE = "tradewind_replication"
SLOT = "tradewind_replica"
_ANSWER_SECONDS = 5.0
# A standby must be able to hold what its primary holds, or it stops replaying.
_CAPACITIES = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
_LOOK = """
SELECT (SELECT system_identifier FROM pg_control_system()),
       (SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1),
       (SELECT array_agg(name || '=' || setting) FROM pg_settings WHERE name = ANY($2))
"""
_RELEASE_SLOT = """
SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots
WHERE slot_name = $1 AND active_pid IS NOT NULL
"""
_DROP_SLOT = """
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1
"""
# Before the backup begins, so that nothing is dropped between its end and the first streaming.
_MAKE_SLOT = "SELECT pg_create_physical_replication_slot($1, true)"


@dataclass(frozen=True, slots=True)
class Primary:
    """What a primary says of itself; `slot` is `wal_status` of ours, None where there is none."""

    system_identifier: int
    slot: str | None
    capacities: Mapping[str, str]

    @property
    def keeps_our_place(self) -> bool:
        """Whether all that the replica has not had yet is still there."""
        return self.slot not in (None, "lost")


async def look_at(primary: Home) -> Primary | None:
    """Ask the primary of this home; None where it does not answer."""
    connection = await _connect(primary)
    if connection is None:
        return None
    try:
        row = await connection.fetchrow(_LOOK, SLOT, list(_CAPACITIES))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None
    finally:
        connection.terminate()
    if row is None:
        return None
    system_identifier, slot, settings = row
    # It is signed in SQL, and not in the files.
    number = int(system_identifier) % 2**64
    return Primary(number, slot, dict(one.split("=", 1) for one in settings))


async def admit(primary: Home, replica: Home, owner: tuple[int, int]) -> None:
    """Make the replica's role and its passfile, and a slot from here on in place of any before.

    Raises EmbeddedError where the primary does not answer.
    """
    connection = await _connect(primary)
    if connection is None:
        raise EmbeddedError(f"no database answers in {primary.base}: a replica is made of one")
    password = secrets.token_urlsafe(32)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", ROLE):
            await connection.execute(f"CREATE ROLE {ROLE}")
        # The password is of letters, digits, hyphens and underscores: nothing needs quoting.
        await connection.execute(
            f"ALTER ROLE {ROLE} LOGIN REPLICATION CONNECTION LIMIT 5 PASSWORD '{password}'"
        )
        await connection.execute(_RELEASE_SLOT.replace("$1", f"'{SLOT}'"))
        await connection.execute(_DROP_SLOT.replace("$1", f"'{SLOT}'"))
        await connection.fetchval(_MAKE_SLOT, SLOT)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise EmbeddedError(f"the primary admits no replica: {error}") from error
    finally:
        connection.terminate()
    replica.write_whole(replica.passfile, f"*:*:*:{ROLE}:{password}\n", owner)


def socket_from(data: Path, primary: Home) -> str:
    """Return where a program that works in `data` finds the primary's socket.

    Through its own working directory, wherever the home lies, for a socket's path is short.
    """
    here = Path("/proc/self/cwd")
    if not here.exists():
        return str(primary.socket)
    return str(here / os.path.relpath(primary.socket, data))


def connection_info(data: Path, primary: Home, replica: Home) -> str:
    """Return `primary_conninfo` of a replica with this data folder."""
    passfile = os.path.relpath(replica.passfile, data)
    words = {
        "host": socket_from(data, primary),
        "port": str(PORT),
        "user": ROLE,
        "passfile": passfile,
        "application_name": SLOT,
        "connect_timeout": "5",
    }
    return " ".join(f"{name}={_quoted(value)}" for name, value in words.items())


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


async def _connect(primary: Home) -> Any:
    arguments = make_endpoint(primary).connect_arguments()
    try:
        return await asyncpg.connect(
            **arguments, timeout=_ANSWER_SECONDS, command_timeout=2 * _ANSWER_SECONDS
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None
