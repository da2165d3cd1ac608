"""The data folder: made once, checked and set up at every start. The rule: whole or not at all."""

import os
import secrets
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tradewind.platform.embedded import settings
from tradewind.platform.embedded.errors import EmbeddedError, disk_full
from tradewind.platform.embedded.home import Home, give_tree, last_words, sync_folder
from tradewind.platform.embedded.programs import Programs
from tradewind.platform.processes import Command, Leashed

SUPERUSER = "postgres"
# PostgreSQL cuts paths at 1,024 bytes. Its programs are started in the data folder, and each
# knows that by this name too, wherever it lies.
_LONGEST_PLAIN_PATH_BYTES = 900
_HERE = "/proc/self/cwd"
# Text is sorted by PostgreSQL's own C.UTF-8, the same everywhere. Which letters there are, some
# of its extensions (pg_trgm) still ask the C library: plain C knows no letter beyond ASCII.
_LETTERS = ("C.UTF-8", "en_US.UTF-8", "C")


def data_argument(folder: Path) -> str:
    """Return what names a data folder to a program that is started inside it."""
    path = str(folder)
    if len(os.fsencode(path)) <= _LONGEST_PLAIN_PATH_BYTES:
        return path
    if Path(_HERE).exists():
        return _HERE
    raise EmbeddedError(
        f"the path of {path} is too long for PostgreSQL: set TRADEWIND_HOME to a shorter one"
    )


def has_data(home: Home) -> bool:
    """Tell whether the home was initialised, of any version."""
    return home.data.is_dir()


def check_version(home: Home, programs: Programs) -> None:
    """Refuse a data folder that these programs cannot read."""
    try:
        found = (home.data / "PG_VERSION").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise EmbeddedError(
            f"{home.data} is not a PostgreSQL data folder: move it away or set TRADEWIND_HOME"
        ) from None
    if found != programs.major:
        raise EmbeddedError(
            f"the data in {home.data} is of PostgreSQL {found}, the programs here are "
            f"{programs.major}: dump it with {found} and load it into a new TRADEWIND_HOME, "
            f"or set TRADEWIND_DATABASE_URL to a PostgreSQL {found}"
        )


def read_password(home: Home) -> str:
    """Return the superuser's password."""
    try:
        password = home.password.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        password = ""
    if not password:
        raise EmbeddedError(f"{home.password} is missing or empty: restore it from a backup")
    return password


def clear_unfinished(home: Home) -> None:
    """Remove what an initdb that was cut short has left."""
    shutil.rmtree(home.fresh, ignore_errors=True)


async def initialise(home: Home, programs: Programs, log: Callable[[str], None]) -> None:
    """Make the data folder. What was cut halfway is thrown away, and only a synced one counts."""
    log(f"creating a database in {home.root}")
    data = home.fresh / "data"
    data.mkdir(mode=0o700, parents=True)
    if not home.password.is_file():
        home.write_whole(home.password, secrets.token_urlsafe(32) + "\n")
    # A copy, for the original is closed to whoever else may run initdb.
    home.write_whole(home.fresh / "password", read_password(home) + "\n")
    give_tree(home.fresh, *programs.run_as.owner)
    code, said = 1, ""
    for letters in _LETTERS:
        code = await _run_initdb(home, programs, letters)
        said = last_words(home.initdb_log)
        if code == 0 or "invalid locale name" not in said:
            break
    if code != 0:
        clear_unfinished(home)
        if "No space left on device" in said or "Disk quota exceeded" in said:
            raise disk_full(home.base, said)
        raise EmbeddedError(
            f"the database could not be created: {said} (more in {home.initdb_log})"
        )
    with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("\n" + settings.INCLUDE_LINE)
        file.flush()
        os.fsync(file.fileno())
    put_in_place(home)


def put_in_place(home: Home) -> None:
    """Make the data folder that was in the making the server's, once all of it is on the disk."""
    data = home.fresh / "data"
    sync_folder(data)
    data.rename(home.data)
    sync_folder(home.root)
    clear_unfinished(home)


def write_settings(
    home: Home, programs: Programs, more: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write the settings that fit this machine, and `more`."""
    machine = settings.Machine.here(home.data)
    text = settings.render(machine, has_lz4=programs.has_lz4, more=more)
    home.write_whole(home.data / settings.FILE_NAME, text, programs.run_as.owner)


async def _run_initdb(home: Home, programs: Programs, letters: str) -> int:
    data = home.fresh / "data"
    arguments = (
        programs.path("initdb"),
        f"--pgdata={data_argument(data)}",
        f"--username={SUPERUSER}",
        "--pwfile=../password",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        f"--lc-ctype={letters}",
        "--data-checksums",
        "--no-instructions",
    )
    return await run_once(home, programs, arguments, home.initdb_log)


async def run_once(
    home: Home,
    programs: Programs,
    arguments: Sequence[str],
    log: Path,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Run a program in the data folder that is in the making; return its exit code.

    It goes with whoever waits for it.
    """
    output = home.open_private(log, os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
    try:
        folder = home.fresh / "data"
        program = Leashed(Command(arguments, programs.run_as, folder, output, environment))
    finally:
        os.close(output)
    try:
        return await program.ended()
    except BaseException:
        program.send(signal.SIGKILL)
        await program.ended()
        raise
