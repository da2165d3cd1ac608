"""PgBouncer in transaction mode as `deploy/pgbouncer` sets it up; one rule: that file is tested."""

import configparser
import os
import shutil
from pathlib import Path

import asyncpg
import msgspec

from shop import repository
from tradewind.platform.database import Address
from tradewind.platform.embedded.programs import default_namespace
from tradewind.split.programs import Program


def pooler(owner: Address, folder: Path, port: int, *, server_connections: int) -> Program:
    """One before the owner's database, for all roles; so many connections to it for each."""
    folder.mkdir()
    users, settings = folder / "users.txt", configparser.ConfigParser(interpolation=None)
    users.write_text(f'"{owner.user}" "{owner.password}"\n')
    assert settings.read(repository() / "deploy" / "pgbouncer" / "pgbouncer.ini")
    settings["databases"] = {
        owner.database: f"host={owner.host} port={owner.port} dbname={owner.database} "
        f"auth_user={owner.user}"
    }
    settings["pgbouncer"].update(
        listen_addr="127.0.0.1",
        listen_port=str(port),
        unix_socket_dir="",
        auth_file=str(users),
        default_pool_size=str(server_connections),
    )
    with (folder / "pgbouncer.ini").open("w") as file:
        settings.write(file)

    async def answers() -> bool:
        there = msgspec.structs.replace(owner, host="127.0.0.1", port=port)
        try:
            connection = await asyncpg.connect(
                **there.arguments(), timeout=2, statement_cache_size=0
            )
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    # It does not run as root: then as nobody, seen from inside, who may enter what root may.
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    prefix = default_namespace() if os.geteuid() == 0 else ()
    return Program(
        name="pgbouncer",
        arguments=[*prefix, program, str(folder / "pgbouncer.ini")],
        folder=folder,
        answers=answers,
    )
