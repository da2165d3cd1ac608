"""How to reach the server. The rule: what is handed out works from any process, at any length.

The kernel takes 107 bytes for the path of a socket. A longer folder is opened, kept open, and
named as `/proc/PID/fd/N`, which other processes of the same user can follow too.
"""

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from tradewind.platform.embedded.cluster import SUPERUSER, read_password
from tradewind.platform.embedded.errors import EmbeddedError, explain_os_error
from tradewind.platform.embedded.home import Home

PORT = 5432
_SOCKET_NAME = f".s.PGSQL.{PORT}"
_LONGEST_SOCKET_PATH_BYTES = 107
_ANSWER_SECONDS = 5.0


class ConnectArguments(TypedDict):
    """Keyword arguments of `asyncpg.connect` and `asyncpg.create_pool`."""

    host: str
    port: int
    user: str
    password: str
    database: str
    ssl: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server answers and who may do everything there.

    `socket_directory` is what asyncpg takes as `host`, valid for as long as the process that made
    this lives. `port` only names the socket file: PostgreSQL listens on no TCP port.
    """

    socket_directory: str
    port: int
    superuser: str
    password: str = field(repr=False)

    def connect_arguments(
        self, user: str | None = None, password: str | None = None, database: str = "postgres"
    ) -> ConnectArguments:
        """Return the arguments to connect as `user`, or as the superuser where none is given."""
        return {
            "host": self.socket_directory,
            "port": self.port,
            "user": self.superuser if user is None else user,
            "password": self.password if user is None else password or "",
            "database": database,
            # Never asked of a socket, whatever PGSSLMODE says.
            "ssl": False,
        }


def find_endpoint(home: Path) -> Endpoint:
    """Return where the running server of `home` answers, for a command in another terminal."""
    return _find(
        Home.at(home),
        f"not running in {home.resolve()}: start it with `make run` or `tradewind run`, "
        "or set TRADEWIND_HOME",
    )


def find_replica_endpoint(home: Path) -> Endpoint:
    """Return where the running replica of `home` answers; roles and passwords are the server's."""
    return _find(
        Home.replica_at(home),
        f"no replica runs in {home.resolve()}: start one with `make run-split`, "
        "or set TRADEWIND_HOME",
    )


def _find(place: Home, advice: str) -> Endpoint:
    not_running = EmbeddedError(advice)
    try:
        place.socket.stat()
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_ANSWER_SECONDS)
            probe.connect(f"{_reachable(place.socket)}/{_SOCKET_NAME}")
        return make_endpoint(place)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise not_running from None
    except OSError as error:
        raise explain_os_error(error, place.base) from error


def make_endpoint(home: Home) -> Endpoint:
    """Return where a server of `home` answers once it runs."""
    return Endpoint(_reachable(home.socket), PORT, SUPERUSER, read_password(home))


# Kept open for the life of the process: connections may be made at any time.
_opened: dict[str, int] = {}


def _reachable(folder: Path) -> str:
    path = str(folder)
    if len(os.fsencode(f"{path}/{_SOCKET_NAME}")) <= _LONGEST_SOCKET_PATH_BYTES:
        return path
    descriptor = _opened.get(path)
    if descriptor is None or not os.path.samestat(os.fstat(descriptor), folder.stat()):
        if descriptor is not None:
            os.close(descriptor)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _opened[path] = descriptor
    by_number = f"/proc/{os.getpid()}/fd/{descriptor}"
    if not Path(by_number).is_dir():
        raise EmbeddedError(
            f"the path of {path} is too long for a socket: set TRADEWIND_HOME to a shorter one"
        )
    return by_number
